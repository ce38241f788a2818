/*
 * One virtual network for several tabs of an origin.
 *
 * Theory of operation
 *
 *   tab A (gateway)                                       tab B (member)
 *   guest ─ pump ─┐                                       guest ─ pump
 *                 BrowserNetwork ─ MemberLink ◀─ channel "NAME ID" ─▶ TabMember
 *   frames of others ─┘                 control: channel "NAME": leader, join
 *
 * Who is the gateway. The tab that has the lock "gateway NAME": the browser gives it to one, and to the next in line when that tab goes
 * away, however it goes. The new gateway says `leader`, and everyone joins anew. Addresses follow from the tabs' seats (seats.ts), so a new
 * gateway gives everyone the address that he had, and connections between tabs live on; those that went through the old one are reset.
 *
 * Who is there. A member holds the lock "member NAME ID". The gateway waits for it: it gets it when the member is gone.
 *
 * Flow control. A channel takes everything, so each side counts what the other has not acknowledged. The member acknowledges when the
 * guest's ring has room, the gateway when the stack has seen the frames.
 *
 * Requests for a member's ports are answered by the gateway, whose stack it is: their messages (port-protocol.ts) travel as they are.
 *
 * Other tabs of the origin run our code, and what they send is trusted to be messages; the frames in them are guests', and are not.
 */
import type { FromLink, ToLink } from '../port-protocol.ts';
import type { FrameBatch, FrameSink, LinkPort } from '../../shared/net/stack/link-port.ts';
import { receiveFrames, seatIp, type BrowserNetwork, type GuestEnd } from './browser-network.ts';
import { PortServer, type CallPort } from './port-server.ts';

/** the part of navigator.locks that is used here */
export interface LockSource {
  request(name: string, options: { signal?: AbortSignal; ifAvailable?: boolean }, callback: (lock: unknown) => Promise<unknown>): Promise<unknown>;
}

type Control =
  /** a tab has become the gateway */
  | { readonly type: 'leader' }
  | { readonly type: 'join'; readonly id: string; readonly seat: number };

type ToGateway =
  | { readonly type: 'frames'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: 'ack'; readonly bytes: number }
  | { readonly type: 'call'; readonly call: number; readonly message: ToLink };

type ToMember =
  | { readonly type: 'welcome' }
  | { readonly type: 'frames'; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly type: 'ack'; readonly bytes: number }
  | { readonly type: 'call'; readonly call: number; readonly message: FromLink };

/** bytes on their way to a tab above which the network holds back */
const UNACKNOWLEDGED_MAX = 1 << 20;
/** requests for ports of one member under way */
const CALLS_MAX = 256;
/** time between two looks at a ring that was too full, in `ms` */
const RECHECK_MS = 2;

const channelName = (network: string, id = ''): string => `portside-net ${network} ${id}`;
const gatewayLock = (network: string): string => `portside gateway ${network}`;
const memberLock = (network: string, id: string): string => `portside member ${network} ${id}`;

/** Holds a lock until `release`. `granted` is told when we have it. */
export function holdLock(locks: LockSource, name: string, granted: () => void): { release(): void } {
  const abort = new AbortController();
  let release = (): void => abort.abort();
  void locks.request(name, { signal: abort.signal }, () => new Promise<void>((resolve) => {
    release = resolve;
    // Given up in the meantime.
    if (abort.signal.aborted) resolve();
    else granted();
  })).catch(() => undefined);
  return { release: () => release() };
}

/** Calls `lead` once, when this tab is to be the gateway. */
export function standForGateway(locks: LockSource, network: string, lead: () => void): { release(): void } {
  return holdLock(locks, gatewayLock(network), lead);
}

/** The gateway's end: takes members in, and lets them go. */
export class TabGateway {
  readonly #name: string;
  readonly #network: BrowserNetwork;
  readonly #locks: LockSource;
  readonly #control: BroadcastChannel;
  readonly #members = new Map<string, MemberLink>();

  constructor(name: string, network: BrowserNetwork, locks: LockSource) {
    this.#name = name;
    this.#network = network;
    this.#locks = locks;
    this.#control = new BroadcastChannel(channelName(name));
    this.#control.onmessage = ({ data }: MessageEvent<Control>) => { if (data.type === 'join') this.#onJoin(data.id, data.seat); };
    this.#control.postMessage({ type: 'leader' } satisfies Control);
  }

  get memberCount(): number {
    return this.#members.size;
  }

  /** Idempotent. */
  close(): void {
    this.#control.close();
    for (const member of this.#members.values()) member.close();
    this.#members.clear();
  }

  #onJoin(id: string, seat: number): void {
    if (this.#members.has(id)) return;
    const member = new MemberLink(new BroadcastChannel(channelName(this.#name, id)), this.#network, seat);
    this.#members.set(id, member);
    const wait = holdLock(this.#locks, memberLock(this.#name, id), () => {
      wait.release();
      this.#members.delete(id);
      member.close();
    });
    member.onClose = () => wait.release();
  }
}

/** One member, as a link of the network. */
class MemberLink implements FrameSink {
  onClose: (() => void) | null = null;
  readonly #channel: BroadcastChannel;
  readonly #port: LinkPort;
  readonly #ports: PortServer;
  readonly #calls = new Map<number, CallPort>();
  #unacknowledged = 0;
  #isFull = false;
  #isClosed = false;

  constructor(channel: BroadcastChannel, network: BrowserNetwork, seat: number) {
    this.#channel = channel;
    this.#ports = new PortServer((port) => network.connect(seatIp(seat), port));
    this.#port = network.attach(this);
    channel.onmessage = ({ data }: MessageEvent<ToGateway>) => this.#onMessage(data);
    this.#send({ type: 'welcome' });
  }

  sendBatch(batch: FrameBatch): boolean {
    this.#unacknowledged += batch.end;
    this.#send({ type: 'frames', bytes: batch.bytes.slice(0, batch.end) as Uint8Array<ArrayBuffer> });
    batch.release();
    this.#isFull = this.#unacknowledged >= UNACKNOWLEDGED_MAX;
    return !this.#isFull;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#port.close();
    this.#channel.close();
    for (const call of this.#calls.values()) call.onmessage?.({ data: { type: 'cancel' } } as MessageEvent<ToLink>);
    this.#calls.clear();
    this.onClose?.();
  }

  #onMessage(message: ToGateway): void {
    switch (message.type) {
      case 'frames':
        receiveFrames(this.#port, message.bytes);
        return this.#send({ type: 'ack', bytes: message.bytes.length });
      case 'ack':
        this.#unacknowledged -= message.bytes;
        if (!this.#isFull || this.#unacknowledged >= UNACKNOWLEDGED_MAX / 2) return;
        this.#isFull = false;
        return this.#port.onDrain();
      case 'call': return this.#onCall(message.call, message.message);
    }
  }

  #onCall(call: number, message: ToLink): void {
    let port = this.#calls.get(call);
    if (port === undefined) {
      if (message.type !== 'request' || this.#calls.size >= CALLS_MAX) return;
      port = {
        onmessage: null,
        postMessage: (answer) => {
          // The member has said so.
          if (answer.type === 'taken') return;
          this.#send({ type: 'call', call, message: answer });
          if (answer.type === 'end' || answer.type === 'error') this.#calls.delete(call);
        },
        close: () => { this.#calls.delete(call); },
      };
      this.#calls.set(call, port);
      this.#ports.serve(port);
    }
    port.onmessage?.({ data: message } as MessageEvent<ToLink>);
  }

  #send(message: ToMember): void {
    if (!this.#isClosed) this.#channel.postMessage(message);
  }
}

/** What a member gets from its pump, and gives it. */
export interface MemberGuest extends GuestEnd {
  /** The network is there, for the first time or again. */
  onWelcome(): void;
}

/** A member's end: to the pump, a WebSocket. */
export class TabMember {
  readonly #id = crypto.randomUUID();
  readonly #seat: number;
  readonly #guest: MemberGuest;
  readonly #control: BroadcastChannel;
  readonly #channel: BroadcastChannel;
  readonly #alive: { release(): void };
  readonly #calls = new Map<number, CallPort>();
  #nextCall = 0;
  #unacknowledged = 0;
  /** bytes that the guest has not had room for yet, in the order in which they came */
  #owed = 0;
  #recheck: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;

  constructor(name: string, seat: number, guest: MemberGuest, locks: LockSource) {
    this.#seat = seat;
    this.#guest = guest;
    this.#control = new BroadcastChannel(channelName(name));
    this.#channel = new BroadcastChannel(channelName(name, this.#id));
    this.#channel.onmessage = ({ data }: MessageEvent<ToMember>) => this.#onMessage(data);
    this.#control.onmessage = ({ data }: MessageEvent<Control>) => { if (data.type === 'leader') this.#join(); };
    // Before anybody hears of us, so that nobody takes us for gone.
    this.#alive = holdLock(locks, memberLock(name, this.#id), () => this.#join());
  }

  get bufferedAmount(): number {
    return this.#unacknowledged;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    this.#unacknowledged += bytes.length;
    this.#post({ type: 'frames', bytes });
  }

  /** A request of a frame for a port of this tab's guest: the gateway answers it. */
  servePort(port: CallPort): void {
    if (this.#calls.size >= CALLS_MAX) return port.close();
    const call = this.#nextCall++;
    this.#calls.set(call, port);
    port.onmessage = ({ data }: MessageEvent<ToLink>) => {
      if (data.type === 'cancel') this.#calls.delete(call);
      this.#post({ type: 'call', call, message: data });
    };
    port.postMessage({ type: 'taken' } satisfies FromLink);
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#control.close();
    this.#channel.close();
    this.#alive.release();
    if (this.#recheck !== null) clearTimeout(this.#recheck);
    for (const port of this.#calls.values()) port.postMessage({ type: 'error', message: 'The network has another gateway now: try again.' } satisfies FromLink);
    this.#calls.clear();
  }

  #join(): void {
    if (!this.#isClosed) this.#control.postMessage({ type: 'join', id: this.#id, seat: this.#seat } satisfies Control);
  }

  #onMessage(message: ToMember): void {
    switch (message.type) {
      case 'welcome':
        // What the gateway before did not acknowledge is lost; TCP repairs it.
        this.#unacknowledged = 0;
        this.#owed = 0;
        return this.#guest.onWelcome();
      case 'frames':
        this.#guest.receive(message.bytes);
        this.#owed += message.bytes.length;
        return this.#acknowledge();
      case 'ack':
        this.#unacknowledged = Math.max(0, this.#unacknowledged - message.bytes);
        return;
      case 'call': {
        const port = this.#calls.get(message.call);
        port?.postMessage(message.message);
        if (message.message.type === 'end' || message.message.type === 'error') this.#calls.delete(message.call);
      }
    }
  }

  readonly #acknowledge = (): void => {
    if (this.#owed === 0) return;
    if (this.#guest.hasRoom) {
      this.#post({ type: 'ack', bytes: this.#owed });
      this.#owed = 0;
      return;
    }
    this.#recheck ??= setTimeout(() => {
      this.#recheck = null;
      this.#acknowledge();
    }, RECHECK_MS);
  };

  #post(message: ToGateway): void {
    if (!this.#isClosed) this.#channel.postMessage(message);
  }
}
