/*
 * One guest: its right to a link, and the network behind it.
 *
 * Theory of operation
 *
 *   POST /api/session ──▶ unclaimed ──hello──▶ linked ──link breaks──▶ broken ──hello──▶ linked …
 *                            │ claimMs           │ bye, bug              │ graceMs
 *                            ▼                   ▼                       ▼
 *                          closed              closed                  closed
 *
 * - The network is made by the first hello, which is when its MTU is known; an unclaimed session costs a few hundred bytes.
 * - A link is a byte stream: FrameDecoder → port.receive, then one port.flush per message, so the stack answers in batches.
 *   What the network sends comes as batches too, already framed, and leaves as one message each (link.ts).
 * - A broken link leaves network, flows and leases alive. The next link gets a new decoder and a new port; frames in between
 *   are lost, which TCP repairs. A second link of the same session replaces the first: the page was reloaded before the relay
 *   noticed, and the newer one is the one that somebody looks at.
 * - A session without the tunnel (c2w-net's way) has nothing to resume with: it ends with its link.
 *
 * What throws inside the network costs one frame, flow, timer or call (shared/net/stack/containment.ts). What throws outside of it, between
 * link and port, is our bug as well: it ends this session with close code 1011 and touches no other. `close` is idempotent and frees everything; the
 * table of sessions (sessions.ts) owns us.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { CLOSE_INTERNAL, CLOSE_REPLACED } from '../shared/link/tunnel.ts';
import { FrameDecoder, maxFrameLen } from '../shared/link/qemu-framing.ts';
import type { HostNet, HostTcp } from '../shared/net/nat/host-net.ts';
import { networkForGuest } from '../shared/net/services/network-config.ts';
import type { NetworkOptions, NetworkStats, VirtualNetwork } from '../shared/net/services/network.ts';
import { RelayError } from '../shared/relay-error.ts';
import type { Clock, ClockTimer, RandomSource } from '../shared/net/stack/clock.ts';
import type { FrameSink, LinkPort } from '../shared/net/stack/link-port.ts';
import type { Ipv4 } from '../shared/net/wire/addr.ts';
import { NetworkApi, type ApiNetwork, type NetworkApiOptions } from './api/network-api.ts';
import type { Limits } from './config.ts';
import type { Descriptors } from './descriptors.ts';
import { networkParts, sizedFor } from './network-parts.ts';
import type { Log } from './log.ts';

const ID_BYTES = 12;
/** 192 bits */
const TOKEN_BYTES = 24;

/** What a session uses of its network. */
export type SessionNetwork = Pick<VirtualNetwork, 'attach' | 'close'> & ApiNetwork;

/** What a session needs of the relay around it. */
export interface SessionEnv {
  limits: Limits;
  log: Log;
  clock: Clock;
  random: RandomSource;
  createNetwork: (options: NetworkOptions) => SessionNetwork;
  hostNetFor: (session: Session) => HostNet;
  /** shared by the networks of all sessions; absent: no bounds */
  descriptors?: Descriptors | null;
  /** makes a connection of the HTTP server one of the host's network */
  adopt: NetworkApiOptions['adopt'];
  /** host ports whose datagrams a new network takes part in */
  udpForwards: () => { hostIp: Ipv4; hostPort: number; guestPort: number }[];
  /** called once, when the session is gone */
  onClosed: (session: Session) => void;
}

/** A session's end of a link; link.ts implements it over a WebSocket. */
export interface SessionLink extends FrameSink {
  /** The session took this link: sent before any frame. */
  welcome(mtu: number, resumed: boolean): void;
  /** Idempotent. */
  close(code: number, reason: string): void;
}

export interface SessionStats {
  state: SessionState;
  ageMs: number;
  /** links that it had, the current one included */
  links: number;
  /** bytes of the streams, lengths of frames included */
  fromGuestBytes: number;
  toGuestBytes: number;
  network: NetworkStats;
}

export type SessionState = 'unclaimed' | 'linked' | 'broken' | 'closed';

export class Session {
  readonly id = randomBytes(ID_BYTES).toString('base64url');
  /** of the client that asked for it */
  readonly address: string;
  readonly createdMs: number;
  /** when the current link came, by a counter that all sessions share; 0 without a link */
  linkOrder = 0;

  readonly #env: SessionEnv;
  readonly #tokenHash: Buffer;
  readonly #resumable: boolean;
  #state: SessionState = 'unclaimed';
  #network: SessionNetwork | null = null;
  #api: NetworkApi | null = null;
  /** of the network when it was closed */
  #lastStats: NetworkStats = {};
  #mtu = 0;
  #link: SessionLink | null = null;
  #port: LinkPort | null = null;
  #decoder: FrameDecoder | null = null;
  /** ends the session: while unclaimed, or in grace */
  #expiry: ClockTimer | null = null;
  #links = 0;
  #fromGuestBytes = 0;
  #toGuestBytes = 0;

  static #linkCounter = 0;

  /** `token` null makes a session that ends with its first link, and that no hello can claim. */
  constructor(env: SessionEnv, address: string, token: string | null) {
    this.#env = env;
    this.address = address;
    this.createdMs = env.clock.nowMs();
    this.#resumable = token !== null;
    this.#tokenHash = hashToken(token ?? newToken());
    this.#expireIn(env.limits.claimMs, 'nobody claimed it');
  }

  get state(): SessionState { return this.#state; }

  /** In constant time. */
  hasToken(token: string): boolean {
    return timingSafeEqual(hashToken(token), this.#tokenHash) && this.#resumable;
  }

  /** Gives the session this link, in place of the one that it may have. `wish` is the MTU that the client asks for. */
  takeLink(link: SessionLink, wish: number | undefined): void {
    this.#run(() => {
      const resumed = this.#network !== null;
      const network = this.#network ??= this.#makeNetwork(wish);
      const before = this.#link;
      this.#dropLink();
      before?.close(CLOSE_REPLACED, 'replaced by a newer link of the same session');
      this.#expiry?.cancel();
      this.#state = 'linked';
      this.linkOrder = ++Session.#linkCounter;
      this.#links++;
      this.#link = link;
      link.welcome(this.#mtu, resumed);
      const port = network.attach({
        sendBatch: (batch) => {
          this.#toGuestBytes += batch.end;
          return link.sendBatch(batch);
        },
      });
      this.#port = port;
      this.#decoder = new FrameDecoder(maxFrameLen(this.#mtu), (bytes, start, end) => port.receive(bytes, start, end));
    });
    if (this.#state === 'closed') link.close(CLOSE_INTERNAL, 'internal error of the relay');
  }

  /** Bytes of `link`'s stream. Returns null, or what is wrong with them: the caller closes the link. Borrowed. */
  receive(link: SessionLink, bytes: Uint8Array): string | null {
    const port = this.#port;
    const decoder = this.#decoder;
    if (link !== this.#link || port === null || decoder === null) return null;
    let malformed: string | null = null;
    this.#run(() => {
      this.#fromGuestBytes += bytes.length;
      malformed = decoder.push(bytes, 0, bytes.length);
      if (!port.closed) port.flush();
    });
    return malformed;
  }

  /** `link` has room again, after its `sendBatch` returned false. */
  onDrain(link: SessionLink): void {
    if (link === this.#link) this.#run(() => this.#port?.onDrain());
  }

  /** `link` is gone. Harmless if it was replaced before. */
  onLinkBroken(link: SessionLink): void {
    if (link !== this.#link) return;
    this.#dropLink();
    if (this.#state === 'closed') return;
    this.#state = 'broken';
    if (this.#resumable) this.#expireIn(this.#env.limits.graceMs, 'its link did not come back');
    else this.close('its link ended');
  }

  /** Leads an accepted connection of the host to the guest. */
  forwardTcp(socket: HostTcp, guestPort: number): void {
    this.#run(() => this.#network?.forwardTcp(socket, guestPort));
  }

  /** The API of this session's network, for whoever has its token; null before the first link. */
  get api(): NetworkApi | null {
    const network = this.#network;
    if (network === null) return null;
    const { limits, adopt } = this.#env;
    return this.#api ??= new NetworkApi(network, {
      adopt, maxForwards: limits.maxForwardsPerSession, loopbackOnly: true, regexps: false, maxBodyBytes: limits.maxBodyBytes,
    });
  }

  stats(): SessionStats {
    return {
      state: this.#state,
      ageMs: Math.round(this.#env.clock.nowMs() - this.createdMs),
      links: this.#links,
      fromGuestBytes: this.#fromGuestBytes,
      toGuestBytes: this.#toGuestBytes,
      network: this.#network?.stats() ?? this.#lastStats,
    };
  }

  /** Ends the session; a link that it has is closed with `code`. Idempotent. */
  close(why: string, code = 1000): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#expiry?.cancel();
    this.linkOrder = 0;
    const link = this.#link;
    // Not #run: an exception while closing must not close again.
    try {
      this.#dropLink();
      this.#lastStats = this.#network?.stats() ?? {};
      this.#network?.close();
    } catch (error) {
      this.#env.log.bug(`session ${this.id} could not be closed`, error, { session: this.id });
    }
    this.#network = null;
    this.#api = null;
    link?.close(code, why);
    this.#env.log.debug(`session ${this.id} ended: ${why} (${this.#fromGuestBytes} bytes from the guest, ${this.#toGuestBytes} to it)`, {
      session: this.id, why, fromGuestBytes: this.#fromGuestBytes, toGuestBytes: this.#toGuestBytes, links: this.#links, ageMs: Math.round(this.#env.clock.nowMs() - this.createdMs),
    });
    this.#env.onClosed(this);
  }

  #makeNetwork(wish: number | undefined): SessionNetwork {
    const { limits, log, clock, random } = this.#env;
    this.#mtu = Math.min(wish ?? limits.mtu, limits.maxMtu);
    const { descriptors = null } = this.#env;
    const options: NetworkOptions = {
      clock, random, hostNet: this.#env.hostNetFor(this), config: { ...networkForGuest(null), mtu: this.#mtu, ...sizedFor(descriptors, false) },
      ...networkParts(log, descriptors, false, { session: this.id }),
    };
    if (log.verbose) options.log = (line) => log.debug(`session ${this.id}: ${line}`, { session: this.id });
    const network = this.#env.createNetwork(options);
    for (const forward of this.#env.udpForwards()) {
      network.addForward({ protocol: 'udp', ...forward }).catch((error: unknown) => this.#onUdpForwardFailed(error));
    }
    return network;
  }

  /** A host without a descriptor for it leaves this session without that port; anything else is our bug. */
  #onUdpForwardFailed(error: unknown): void {
    if (!(error instanceof RelayError)) return this.#fail(error);
    this.#env.log.once('udp-forward', error.message, `session ${this.id} does without a forwarded UDP port: ${error.message}`);
  }

  #dropLink(): void {
    const port = this.#port;
    this.#link = null;
    this.#port = null;
    this.#decoder = null;
    this.linkOrder = 0;
    port?.close();
  }

  #expireIn(ms: number, why: string): void {
    this.#expiry?.cancel();
    this.#expiry = this.#env.clock.startTimer(ms, () => this.close(why));
  }

  #run(fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#env.log.bugOnce(`session ${this.id} is closed, the others live on`, error, { session: this.id });
    this.close('internal error of the relay', CLOSE_INTERNAL);
  }
}

export function newToken(): string {
  return randomBytes(TOKEN_BYTES).toString('base64url');
}

/** Hashed, so that values of any length compare in constant time, and no token lies in memory for longer than its request. */
function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
