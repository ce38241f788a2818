/** What a network of this process gets beside clock, chance and host: who hears of its exceptions, and how many sockets it may hold. */
import { DEFAULT_NETWORK_CONFIG, type NetworkConfig } from '../shared/net/services/network-config.ts';
import type { NetworkOptions } from '../shared/net/services/network.ts';
import { udpFlowsOf } from './config.ts';
import type { Descriptors } from './descriptors.ts';
import type { Log, LogFields } from './log.ts';

export type NetworkParts = Pick<NetworkOptions, 'onBug' | 'onExhausted' | 'notice' | 'sockets'>;

/** `isAlone`: this network is the only one. `fields` say which it is. */
export function networkParts(log: Log, descriptors: Descriptors | null, isAlone: boolean, fields: LogFields = {}): NetworkParts {
  return {
    onBug: (place, error) => log.bugOnce(`an exception cost a guest one ${place}, and the network goes on`, error, fields),
    onExhausted: (error) => logExhausted(log, error),
    notice: (line) => log.once('network', line, fields['session'] === undefined ? line : `session ${String(fields['session'])}: ${line}`),
    ...(descriptors === null ? {} : { sockets: descriptors.share(isAlone) }),
  };
}

export function logExhausted(log: Log, error: string): void {
  log.once('host', error, `this computer has no descriptor, memory or port left for a guest's flow (${error}): such flows are refused until it has. More descriptors: ulimit -n`);
}

/** What of a network's configuration depends on the descriptors that there are. */
export function sizedFor(descriptors: Descriptors | null, isAlone: boolean): Partial<NetworkConfig> {
  return descriptors === null ? {} : { maxUdpFlows: udpFlowsOf(descriptors.shares, isAlone, DEFAULT_NETWORK_CONFIG.maxUdpFlows) };
}
