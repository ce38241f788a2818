/** Ports of the host that lead into guests. */
import { RelayError } from '../../relay-error.ts';
import type { Ipv4 } from '../wire/addr.ts';
import type { HostListener, HostNet, HostUdp } from './host-net.ts';
import type { TcpNat } from './tcp-nat.ts';
import type { UdpNat } from './udp-flow.ts';

export interface ForwardSpec {
  protocol: 'tcp' | 'udp';
  hostIp: Ipv4;
  /** 0: any free port */
  hostPort: number;
  guestPort: number;
  /** absent: the network's `defaultGuestIp` */
  guestIp?: Ipv4;
}

export interface Forward extends Required<ForwardSpec> {
  /** Idempotent. TCP connections that exist live on. */
  close(): void;
}

const FORWARDS_MAX = 1024;

export class PortForwards {
  readonly #hostNet: HostNet;
  readonly #tcp: TcpNat;
  readonly #udp: UdpNat;
  readonly #forwards = new Set<Forward>();
  #isClosed = false;

  constructor(hostNet: HostNet, tcp: TcpNat, udp: UdpNat) {
    this.#hostNet = hostNet;
    this.#tcp = tcp;
    this.#udp = udp;
  }

  list(): readonly Forward[] {
    return [...this.#forwards];
  }

  async add(spec: Required<ForwardSpec>): Promise<Forward> {
    if (this.#forwards.size >= FORWARDS_MAX) throw new RelayError('RELAY_LIMIT', `no more than ${FORWARDS_MAX} forwards`);
    const { guestIp, guestPort } = spec;
    let listener: HostListener;
    let udp: (HostUdp & HostListener) | null = null;
    if (spec.protocol === 'tcp') {
      listener = await this.#hostNet.listenTcp(spec.hostIp, spec.hostPort, (socket) => this.#tcp.forward(socket, guestIp, guestPort));
    } else {
      udp = await this.#hostNet.bindUdp(spec.hostIp, spec.hostPort, {
        onMessage: (bytes, srcIp, srcPort) => { if (typeof srcIp === 'number') this.#udp.onForwarded(udp!, guestIp, guestPort, srcIp, srcPort, bytes); },
        // What could not be sent to one peer is his loss.
        onError: (_error, toIp) => { if (toIp === undefined) forward.close(); },
      });
      listener = udp;
    }
    const forward: Forward = {
      ...spec,
      hostPort: listener.port,
      close: () => {
        if (!this.#forwards.delete(forward)) return;
        listener.close();
        if (udp !== null) this.#udp.closeForwarded(udp);
      },
    };
    this.#forwards.add(forward);
    if (this.#isClosed) forward.close();
    return forward;
  }

  close(): void {
    this.#isClosed = true;
    for (const forward of this.#forwards) forward.close();
  }
}
