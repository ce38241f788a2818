/** `portside listen`: a network without a page, for QEMU and whoever else speaks its framing, until a signal comes. */
import { MTU_MAX, MTU_MIN } from '../../shared/link/tunnel.ts';
import type { ForwardSpec } from '../../shared/net/services/network.ts';
import { DEFAULT_NETWORK_CONFIG, type NetworkConfig } from '../../shared/net/services/network-config.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { listen as openNetwork, parseForward, type ListenOptions } from '../listen.ts';
import { Log } from '../log.ts';
import { withCapture } from './capture.ts';
import type { CliContext } from './context.ts';
import { firstWord, parseFlags, parseNumber } from './flags.ts';
import { parseServices, Services, SERVICES_FLAGS, type ServicesCommand } from './services.ts';

const FLAGS = {
  ...SERVICES_FLAGS,
  'publish': { type: 'string', short: 'p', multiple: true },
  'mtu': { type: 'string' },
  'pcap': { type: 'string' },
  'verbose': { type: 'boolean' },
} as const;

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
  const { spec, defaults, given, forwards, pcap, verbose } = command;
  const log = new Log((line) => context.warn(line), { verbose, format: command.logFormat });
  const services = new Services(command, log);
  const options: ListenOptions = services.configure({ config: defaults, forwards }, given);
  if (verbose) options.log = (line) => log.debug(line);
  const stopped = context.stopped();
  return withCapture(pcap, context, async (capture) => {
    if (capture !== null) options.createNetwork = capture.createNetwork;
    const listening = await services.watching(() => openNetwork(spec, options));
    try {
      await services.open(listening.network);
      context.onStatsWanted(() => context.warn(JSON.stringify(listening.network.stats())));
      for (const at of services.specs) log.info(`services on ${at}`, { spec: at });
      log.info(`listening on ${listening.spec}`, { spec: listening.spec });
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
  const at = firstWord(args, FLAGS);
  if (at === args.length) throw new RelayError('RELAY_BAD_FLAG', 'name a socket: tcp:HOST:PORT or unix:PATH');
  const flags = parseFlags(args.toSpliced(at, 1), FLAGS);
  return {
    ...parseServices(flags),
    spec: args[at],
    given: flags.mtu === undefined ? {} : { mtu: parseNumber('--mtu', flags.mtu, MTU_MIN, MTU_MAX) },
    defaults: {
      // Whoever comes first gets .3, whatever its MAC: -p leads there.
      staticLeases: new Map(),
      poolStart: DEFAULT_NETWORK_CONFIG.defaultGuestIp,
    },
    forwards: (flags.publish ?? []).map(parseForward),
    pcap: flags.pcap ?? null,
    verbose: flags.verbose ?? false,
  };
}
