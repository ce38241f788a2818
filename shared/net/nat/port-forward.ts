/** Ports of the host that lead into guests. */
import { RelayError } from '../../relay-error.ts';
import type { Containment } from '../stack/containment.ts';
import type { Ipv4, UnicastIpv4 } from '../wire/addr.ts';
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
  readonly #containment: Containment;
  readonly #forwards = new Set<Forward>();
  #isClosed = false;

  constructor(hostNet: HostNet, containment: Containment, tcp: TcpNat, udp: UdpNat) {
    this.#hostNet = hostNet;
    this.#containment = containment;
    this.#tcp = tcp;
    this.#udp = udp;
  }

  list(): readonly Forward[] {
    return [...this.#forwards];
  }

  async add(spec: Required<ForwardSpec> & { guestIp: UnicastIpv4 }): Promise<Forward> {
    if (this.#forwards.size >= FORWARDS_MAX) throw new RelayError('RELAY_LIMIT', `no more than ${FORWARDS_MAX} forwards`);
    const { guestIp, guestPort } = spec;
    let listener: HostListener;
    let udp: (HostUdp & HostListener) | null = null;
    /** before it is a forward, a socket may hear datagrams and errors already */
    let isBroken = false;
    let close = (): void => void (isBroken = true);
    if (spec.protocol === 'tcp') {
      listener = await this.#hostNet.listenTcp(spec.hostIp, spec.hostPort, (socket) => this.#tcp.forward(socket, guestIp, guestPort));
    } else {
      udp = await this.#hostNet.bindUdp(spec.hostIp, spec.hostPort, {
        onMessage: (bytes, srcIp, srcPort) => { if (udp !== null && typeof srcIp === 'number') this.#udp.onForwarded(udp, guestIp, guestPort, srcIp, srcPort, bytes); },
        // What could not be sent to one peer is his loss.
        onError: (_error, toIp) => { if (toIp === undefined) close(); },
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
    close = () => forward.close();
    if (this.#isClosed || isBroken) forward.close();
    return forward;
  }

  close(): void {
    this.#isClosed = true;
    for (const forward of this.#forwards) this.#containment.run('call', () => forward.close());
  }
}
