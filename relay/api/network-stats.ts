/** A network's counters: gvproxy's names where it has the same number, all of ours under `Portside`. */
import type { NetworkStats } from '../../shared/net/services/network.ts';

/** Seen from the gateway, as gvproxy counts: sent is what went to guests. */
export function gvproxyStats(stats: NetworkStats): object {
  const dropped = Object.entries(stats).reduce((sum, [name, value]) => sum + (name.startsWith('drop:') ? value : 0), 0);
  return {
    BytesSent: stats['bytesToGuest'],
    BytesReceived: stats['bytesFromGuest'],
    DroppedPackets: dropped,
    NICs: {
      Rx: { Bytes: stats['bytesFromGuest'], Packets: stats['framesFromGuest'] },
      Tx: { Bytes: stats['bytesToGuest'], Packets: stats['framesToGuest'] },
    },
    TCP: {
      CurrentConnected: stats['tcpFlowsOpen'],
      ResetsSent: stats['tcpResetsSent'],
      Retransmits: stats['tcpRetransmits'],
      Timeouts: stats['tcpTimeouts'],
    },
    Portside: stats,
  };
}
