/*
 * The one catch of a session, stretched over everything that calls into its network.
 *
 * A VirtualNetwork is entered from three sides: frames from the link (session.ts calls it), timers and host sockets. The last
 * two come from Node's event loop, where an exception of ours would end the process and with it every other session. So a
 * session hands its network a Clock and a HostNet of its own, whose callbacks all run inside its guard. A HostTcp of the
 * network's is wrapped, as its `handlers` may be set at any time; the wrapper adds one call per operation and no copy.
 */
import type { HostListener, HostNet, HostResolver, HostResolverOptions, HostTcp, HostTcpHandlers, HostUdp, HostUdpHandlers, NameCache, NameForwarder } from '../shared/net/nat/host-net.ts';
import type { Clock, ClockTimer } from '../shared/net/stack/clock.ts';
import type { Stack } from '../shared/net/stack/stack.ts';
import type { Ipv4 } from '../shared/net/wire/addr.ts';
import type { IpAddress } from '../shared/net/wire/addr6.ts';

/** Runs `fn` now; what it throws is our bug and ends the session, not the process. */
export type Guard = (fn: () => void) => void;

export class GuardedClock implements Clock {
  readonly #clock: Clock;
  readonly #guard: Guard;

  constructor(clock: Clock, guard: Guard) {
    this.#clock = clock;
    this.#guard = guard;
  }

  nowMs(): number { return this.#clock.nowMs(); }
  wallMs(): number { return this.#clock.wallMs(); }

  startTimer(delayMs: number, fn: () => void): ClockTimer {
    return this.#clock.startTimer(delayMs, () => this.#guard(fn));
  }

  soon(fn: () => void): void {
    this.#clock.soon(() => this.#guard(fn));
  }
}

export class GuardedHostNet implements HostNet {
  readonly #hostNet: HostNet;
  readonly #guard: Guard;

  constructor(hostNet: HostNet, guard: Guard) {
    this.#hostNet = hostNet;
    this.#guard = guard;
  }

  connectTcp(ip: IpAddress, port: number, handlers: HostTcpHandlers, zone?: string): HostTcp {
    const shell = new GuardedHandlers(handlers, this.#guard);
    return new GuardedTcp(this.#hostNet.connectTcp(ip, port, shell, zone), shell);
  }

  listenTcp(ip: Ipv4, port: number, onAccept: (socket: HostTcp) => void): Promise<HostListener> {
    return this.#hostNet.listenTcp(ip, port, (socket) => this.#guard(() => onAccept(guardTcp(socket, this.#guard))));
  }

  connectUdp(ip: IpAddress, port: number, handlers: HostUdpHandlers, zone?: string): HostUdp {
    return this.#hostNet.connectUdp(ip, port, this.guardUdp(handlers), zone);
  }

  bindUdp(ip: Ipv4, port: number, handlers: HostUdpHandlers): Promise<HostUdp & HostListener> {
    return this.#hostNet.bindUdp(ip, port, this.guardUdp(handlers));
  }

  guardUdp(handlers: HostUdpHandlers): HostUdpHandlers {
    const guard = this.#guard;
    return {
      onMessage: (bytes, srcIp, srcPort) => guard(() => handlers.onMessage(bytes, srcIp, srcPort)),
      onError: (error) => guard(() => handlers.onError(error)),
    };
  }

  resolvers(): readonly HostResolver[] { return this.#hostNet.resolvers(); }
  resolverOptions(): HostResolverOptions { return this.#hostNet.resolverOptions(); }
  createForwarder(stack: Stack, hostNet: HostNet, cache: NameCache): NameForwarder { return this.#hostNet.createForwarder(stack, hostNet, cache); }
  hasIpv6(): boolean { return this.#hostNet.hasIpv6(); }
  ping(ip: IpAddress, payloadLen: number, ttl: number): Promise<number | null> { return this.#hostNet.ping(ip, payloadLen, ttl); }
}

/** A socket that was accepted outside, made ready to be handed into a guarded network. */
export function guardTcp(socket: HostTcp, guard: Guard): HostTcp {
  const shell = new GuardedHandlers(NO_HANDLERS, guard);
  socket.handlers = shell;
  return new GuardedTcp(socket, shell);
}

const NO_HANDLERS: HostTcpHandlers = { onData: () => {}, onEnd: () => {}, onTaken: () => {}, onClose: () => {} };

class GuardedHandlers implements HostTcpHandlers {
  handlers: HostTcpHandlers;
  readonly #guard: Guard;

  constructor(handlers: HostTcpHandlers, guard: Guard) {
    this.handlers = handlers;
    this.#guard = guard;
  }

  onConnect(): void { this.#guard(() => this.handlers.onConnect?.()); }
  onData(bytes: Uint8Array): void { this.#guard(() => this.handlers.onData(bytes)); }
  onEnd(): void { this.#guard(() => this.handlers.onEnd()); }
  onTaken(): void { this.#guard(() => this.handlers.onTaken()); }
  onClose(error: string | null): void { this.#guard(() => this.handlers.onClose(error)); }
}

class GuardedTcp implements HostTcp {
  readonly #socket: HostTcp;
  readonly #shell: GuardedHandlers;

  constructor(socket: HostTcp, shell: GuardedHandlers) {
    this.#socket = socket;
    this.#shell = shell;
  }

  get handlers(): HostTcpHandlers { return this.#shell.handlers; }
  set handlers(handlers: HostTcpHandlers) { this.#shell.handlers = handlers; }
  get pendingBytes(): number { return this.#socket.pendingBytes; }
  get peer(): string | undefined { return this.#socket.peer; }
  write(bytes: Uint8Array): boolean { return this.#socket.write(bytes); }
  cork(): void { this.#socket.cork(); }
  uncork(): void { this.#socket.uncork(); }
  end(): void { this.#socket.end(); }
  reset(): void { this.#socket.reset(); }
  pause(): void { this.#socket.pause(); }
  resume(): void { this.#socket.resume(); }
}
