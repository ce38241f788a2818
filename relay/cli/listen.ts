/** `portside listen`: a network without a page, for QEMU and whoever else speaks its framing, until a signal comes. */
import { MTU_MAX, MTU_MIN } from '../../shared/link/tunnel.ts';
import type { ForwardSpec, VirtualNetwork } from '../../shared/net/services/network.ts';
import { networkForGuest, type NetworkConfig } from '../../shared/net/services/network-config.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { listen as openNetwork, parseForward, type ListenOptions } from '../listen.ts';
import { Descriptors } from '../descriptors.ts';
import { Log } from '../log.ts';
import { networkParts } from '../network-parts.ts';
import { withCapture } from './capture.ts';
import { LISTEN_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { firstWord, parseFlags, parseNumber } from './flags.ts';
import { parseServices, Services, type ServicesCommand } from './services.ts';

export interface ListenCommand extends ServicesCommand {
  spec: string;
  /** what a configuration file may overrule */
  defaults: Partial<NetworkConfig>;
  /** said on the command line: the last word */
  given: Partial<NetworkConfig>;
  forwards: ForwardSpec[];
  /** file for what passes, or null */
  pcap: string | null;
  verbose: boolean;
}

export async function listen(args: string[], context: CliContext): Promise<number> {
  const command = parseListen(args);
  return attend(command, context, async (options, log) => {
    const listening = await openNetwork(command.spec, options);
    return { ...listening, onServed: () => log.info(`listening on ${listening.spec}`, { spec: listening.spec }) };
  });
}

interface Attended {
  network: VirtualNetwork;
  /** the API listens too, and nothing can fail any more */
  onServed?: () => void;
  close(): Promise<void>;
}

/** Opens a network with the services that the command line asks for, and closes it when a signal comes. */
export async function attend(command: ListenCommand, context: CliContext, open: (options: ListenOptions, log: Log) => Promise<Attended>): Promise<number> {
  const { defaults, given, forwards, pcap, verbose } = command;
  const log = new Log((line) => context.warn(line), { verbose, format: command.logFormat });
  let hear = (error: unknown): void => log.bugOnce('an exception that nobody caught', error);
  context.onStray((error) => hear(error));
  const descriptors = Descriptors.ofProcess();
  const services = new Services(command, log, descriptors);
  const options: ListenOptions = { ...services.configure({ config: defaults, forwards }, given), parts: networkParts(log, descriptors, true), descriptors };
  if (verbose) options.log = (line) => log.debug(line);
  const stopped = context.stopped();
  return withCapture(pcap, context, async (capture) => {
    if (capture !== null) options.createNetwork = capture.createNetwork;
    const listening = await services.watching(() => open(options, log));
    // Counted where the others are.
    hear = (error) => listening.network.caught('call', error);
    try {
      await services.open(listening.network);
      context.onStatsWanted(() => context.warn(JSON.stringify(listening.network.stats())));
      for (const at of services.specs) log.info(`services on ${at}`, { spec: at });
      listening.onServed?.();
      await stopped;
    } finally {
      await listening.close();
      await services.close();
    }
    return 0;
  });
}

/** The command line as options. Throws RELAY_BAD_FLAG. */
export function parseListen(args: string[]): ListenCommand {
  return parseNetwork(args, LISTEN_FLAGS, 'name a socket: tcp:HOST:PORT or unix:PATH');
}

/** What `listen` and `connect` have in common, which is all but what the word that is no flag means. `missing` is said when there is none. */
export function parseNetwork(args: string[], table: typeof LISTEN_FLAGS, missing: string): ListenCommand {
  const at = firstWord(args, table);
  if (at === args.length) throw new RelayError('RELAY_BAD_FLAG', missing);
  const flags = parseFlags(args.toSpliced(at, 1), table);
  return {
    ...parseServices(flags),
    spec: args[at],
    given: flags.mtu === undefined ? {} : { mtu: parseNumber('--mtu', flags.mtu, MTU_MIN, MTU_MAX) },
    defaults: {
      ...networkForGuest(null),
    },
    forwards: (flags.publish ?? []).map(parseForward),
    pcap: flags.pcap ?? null,
    verbose: flags.verbose ?? false,
  };
}
