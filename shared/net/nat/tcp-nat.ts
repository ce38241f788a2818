/** TCP between guests and the host: which SYN is dialled where, which host socket is joined to which guest port. */
import type { Stack } from '../stack/stack.ts';
import type { PendingConnection } from '../stack/tcp/pending.ts';
import type { UnicastIpv4 } from '../wire/addr.ts';
import { ICMP_ADMIN_PROHIBITED } from '../wire/icmp.ts';
import type { FlowInfo } from './flow-list.ts';
import type { HostAliases } from './host-aliases.ts';
import type { HostNet, HostTcp } from './host-net.ts';
import type { Policy } from './policy.ts';
import { isAllowed } from './policy.ts';
import { TcpFlow } from './tcp-flow.ts';

const EPHEMERAL_FIRST = 32_768;
const EPHEMERAL_LAST = 65_535;
/** of a SYN, in hops: traceroute's last one, and less than any system sends with */
const PROBE_TTL_MAX = 30;

export class TcpNat {
  readonly #stack: Stack;
  readonly #hostNet: HostNet;
  readonly #policy: Policy;
  readonly #aliases: HostAliases;
  readonly #flows = new Set<TcpFlow>();
  readonly #onOver = (flow: TcpFlow): void => void this.#flows.delete(flow);
  #nextPort: number;

  constructor(stack: Stack, hostNet: HostNet, policy: Policy, aliases: HostAliases) {
    this.#stack = stack;
    this.#hostNet = hostNet;
    this.#policy = policy;
    this.#aliases = aliases;
    this.#nextPort = EPHEMERAL_FIRST + (stack.random.u32() % (EPHEMERAL_LAST - EPHEMERAL_FIRST));
  }

  /** flows of which at least one side is still open */
  get flowCount(): number {
    return this.#flows.size;
  }

  /** Those whose guest is still there. */
  *flows(nowMs: number): Iterable<FlowInfo> {
    for (const flow of this.#flows) {
      const info = flow.info(nowMs, this.#stack.addresses);
      if (info !== null) yield info;
    }
  }

  onSyn(pending: PendingConnection): void {
    // A SYN of traceroute's. How far it may go can't be told to a host socket, so nobody answers for the hops between.
    if (pending.ttl <= PROBE_TTL_MAX && !this.#aliases.isAlias(pending.remoteIp)) {
      this.#stack.counters.drop('tcp-low-ttl');
      return pending.ignore();
    }
    const hostIp = this.#aliases.hostAddress(pending.remoteIp);
    if (!isAllowed(this.#policy, 'tcp', hostIp, pending.remotePort)) return pending.unreachable(ICMP_ADMIN_PROHIBITED);
    const second = this.#aliases.secondAddress(pending.remoteIp);
    const isSecondAllowed = second !== null && isAllowed(this.#policy, 'tcp', second, pending.remotePort);
    this.#keep(TcpFlow.dial(this.#stack, this.#hostNet, pending, hostIp, isSecondAllowed ? second : null, pending.remotePort, this.#onOver));
  }

  /** Joins an accepted host socket to a port of a guest, which sees the gateway as its peer. */
  forward(host: HostTcp, guestIp: UnicastIpv4, guestPort: number): void {
    // Until the guest's address is resolved somebody must hear the socket's end.
    let isGone = false;
    host.handlers = { onData() {}, onEnd() {}, onTaken() {}, onClose: () => (isGone = true) };
    this.#stack.neighbors.resolve(guestIp, (isFound) => {
      if (isGone) return;
      if (!isFound) return host.reset();
      const { gatewayIp } = this.#stack.config;
      const flow = TcpFlow.accepted(
        this.#stack,
        host,
        (handler) => this.#stack.tcp.connect(guestIp, guestPort, gatewayIp, this.#freePort(guestIp, guestPort, gatewayIp), handler),
        this.#onOver,
      );
      this.#keep(flow);
    });
  }

  #keep(flow: TcpFlow): void {
    if (!flow.isOver) this.#flows.add(flow);
  }

  #freePort(guestIp: UnicastIpv4, guestPort: number, gatewayIp: UnicastIpv4): number {
    for (let tries = EPHEMERAL_FIRST; tries <= EPHEMERAL_LAST; tries++) {
      this.#nextPort = this.#nextPort >= EPHEMERAL_LAST ? EPHEMERAL_FIRST : this.#nextPort + 1;
      if (!this.#stack.tcp.isTaken(guestIp, guestPort, gatewayIp, this.#nextPort)) break;
    }
    return this.#nextPort;
  }

  close(): void {
    for (const flow of this.#flows) this.#stack.containment.run('call', () => flow.close());
  }
}
