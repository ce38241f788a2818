/*
 * One port of a guest, and the port of the host that stands for it (RFC 4787).
 *
 *   guest's ip:port ── flow per destination ──┬── the mapping's socket, for everybody's answers
 *                                             └── a twin on the same port, connected to one destination
 *
 * Every destination sees the same port (REQ-1, endpoint-independent mapping). An answer is let in from every port of an address that the
 * guest has sent to (REQ-8, address-dependent filtering): TFTP answers from another port, while nobody on the host's network gets at a
 * guest that has not spoken to him. What comes from such a port becomes a flow of its own.
 *
 * Only a connected socket is told of ICMP errors. So the destinations that were spoken to last, TWINS_MAX of them, have a twin; the kernel
 * gives it what comes from there. It is only of use until an answer has come, so those without one make room.
 */
import type { FlowIp } from '../stack/ipv6-table.ts';
import type { IpAddress } from '../wire/addr6.ts';
import type { HostListener, HostUdp } from './host-net.ts';
import type { UdpFlow } from './udp-flow.ts';

const TWINS_MAX = 4;

type Key = number | string;

export class UdpMapping {
  readonly guestIp: FlowIp;
  readonly guestPort: number;
  socket!: HostUdp & HostListener;
  /** the socket's, in hops */
  ttl: number;
  readonly #peers = new Map<Key, UdpFlow>();
  /** how many flows lead to an address, and which address the guest calls it by */
  readonly #hosts = new Map<Key, { readonly remoteIp: FlowIp; flows: number }>();
  #twins: UdpFlow[] = [];

  constructor(guestIp: FlowIp, guestPort: number, ttl: number) {
    this.guestIp = guestIp;
    this.guestPort = guestPort;
    this.ttl = ttl;
  }

  get isUnused(): boolean {
    return this.#peers.size === 0;
  }

  flows(): UdpFlow[] {
    return [...this.#peers.values()];
  }

  flowOf(ip: IpAddress, port: number): UdpFlow | null {
    return this.#peers.get(peerKey(ip, port)) ?? null;
  }

  /** What the guest calls an address that it has sent to; null for others. */
  nameOf(ip: IpAddress): FlowIp | null {
    return this.#hosts.get(hostKey(ip))?.remoteIp ?? null;
  }

  add(flow: UdpFlow, ip: IpAddress, port: number): void {
    this.#peers.set(peerKey(ip, port), flow);
    const host = this.#hosts.get(hostKey(ip));
    if (host === undefined) this.#hosts.set(hostKey(ip), { remoteIp: flow.remoteIp, flows: 1 });
    else host.flows++;
  }

  remove(flow: UdpFlow, ip: IpAddress, port: number): void {
    if (this.#peers.get(peerKey(ip, port)) === flow) this.#peers.delete(peerKey(ip, port));
    const host = this.#hosts.get(hostKey(ip));
    if (host !== undefined && --host.flows === 0) this.#hosts.delete(hostKey(ip));
    this.#twins = this.#twins.filter((twin) => twin !== flow);
  }

  /** Whether one more flow may have a twin: the oldest without an answer loses its own for it. */
  takeTwin(flow: UdpFlow): boolean {
    if (this.#twins.length >= TWINS_MAX) {
      const idle = this.#twins.find((twin) => !twin.hasAnswer);
      if (idle === undefined) return false;
      idle.dropOwnSocket();
      this.#twins = this.#twins.filter((twin) => twin !== idle);
    }
    this.#twins.push(flow);
    return true;
  }
}

function hostKey(ip: IpAddress): Key {
  return typeof ip === 'number' ? ip : ip.join();
}

function peerKey(ip: IpAddress, port: number): Key {
  return typeof ip === 'number' ? ip * 0x10000 + port : `${ip.join()},${port}`;
}
