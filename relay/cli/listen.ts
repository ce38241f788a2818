/** `portside listen`: a network without a page, for QEMU and whoever else speaks its framing, until a signal comes. */
import { MTU_MAX, MTU_MIN } from '../../shared/link/tunnel.ts';
import type { ForwardSpec } from '../../shared/net/services/network.ts';
import { DEFAULT_NETWORK_CONFIG, type NetworkConfig } from '../../shared/net/services/network-config.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { listen as openNetwork, parseForward, type ListenOptions } from '../listen.ts';
import { withCapture } from './capture.ts';
import type { CliContext } from './context.ts';
import { firstWord, parseFlags, parseNumber } from './flags.ts';

const FLAGS = {
  'publish': { type: 'string', short: 'p', multiple: true },
  'mtu': { type: 'string' },
  'pcap': { type: 'string' },
  'verbose': { type: 'boolean' },
} as const;

export interface ListenCommand {
  spec: string;
  config: Partial<NetworkConfig>;
  forwards: ForwardSpec[];
  /** file for what passes, or null */
  pcap: string | null;
  verbose: boolean;
}

export async function listen(args: string[], context: CliContext): Promise<number> {
  const { spec, config, forwards, pcap, verbose } = parseListen(args);
  const stopped = context.stopped();
  const options: ListenOptions = { config, forwards };
  if (verbose) options.log = (line) => context.warn(line);
  return withCapture(pcap, context, async (capture) => {
    if (capture !== null) options.createNetwork = capture.createNetwork;
    const listening = await openNetwork(spec, options);
    context.onStatsWanted(() => context.warn(JSON.stringify(listening.network.stats())));
    context.warn(`listening on ${listening.spec}`);
    await stopped;
    await listening.close();
    return 0;
  });
}

/** The command line as options. Throws RELAY_BAD_FLAG. */
export function parseListen(args: string[]): ListenCommand {
  const at = firstWord(args, FLAGS);
  if (at === args.length) throw new RelayError('RELAY_BAD_FLAG', 'name a socket: tcp:HOST:PORT or unix:PATH');
  const flags = parseFlags(args.toSpliced(at, 1), FLAGS);
  return {
    spec: args[at],
    config: {
      mtu: flags.mtu === undefined ? DEFAULT_NETWORK_CONFIG.mtu : parseNumber('--mtu', flags.mtu, MTU_MIN, MTU_MAX),
      // Whoever comes first gets .3, whatever its MAC: -p leads there.
      staticLeases: new Map(),
      poolStart: DEFAULT_NETWORK_CONFIG.defaultGuestIp,
    },
    forwards: (flags.publish ?? []).map(parseForward),
    pcap: flags.pcap ?? null,
    verbose: flags.verbose ?? false,
  };
}
