/** What a flow between a guest and the host looks like from outside: for people, made when somebody asks. */
import type { TcpState } from '../stack/tcp/connection.ts';
import type { IpAddress } from '../wire/addr6.ts';

export interface FlowInfo {
  readonly protocol: 'tcp' | 'udp';
  /** who began: the guest, or a peer of a forwarded port */
  readonly from: 'guest' | 'host';
  readonly guestIp: IpAddress;
  readonly guestPort: number;
  /** whom the guest takes its peer to be */
  readonly remoteIp: IpAddress;
  readonly remotePort: number;
  /** the peer on the host's side, as `ADDRESS:PORT`: what was dialled, or who came; empty where that has no name */
  readonly host: string;
  readonly bytesFromGuest: number;
  readonly bytesToGuest: number;
  readonly ageMs: number;
  /** since the guest was heard, for UDP since either side was */
  readonly idleMs: number;
  /** `dialing`: the guest's SYN waits for the host's socket */
  readonly state: 'dialing' | TcpState | 'unanswered' | 'answered';
}
