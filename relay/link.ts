/*
 * One WebSocket of a guest: the tunnel's control messages, the byte stream, its life and its end.
 *
 * Three kinds. `tunnel` (portside.v1): the first message must be a hello that claims a session; shared/link/tunnel.ts draws the
 * exchange. `stream`: c2w-net's way, the stream starts at once in a session that server.ts made for it. `frames`: v86's way, as
 * `stream`, but each message is one frame; its length is put in front when it comes and left out when it goes, so that the session
 * sees the same stream, with the same limits.
 *
 * Batches. The network hands over batches that are framed already; each leaves as one message (or its frames as one each, the last of
 * them answers for all) and is given back in ws's callback: ws writes a server's payload without copying or masking it. Backpressure towards the guest: beyond highWaterBytes
 * `sendBatch` says false, the network holds its traffic back, and at lowWaterBytes it hears onDrain. Backpressure from the
 * guest is TCP's window, which the stack closes; whatever else comes is answered or dropped before the next message is read.
 *
 * A dead peer (a laptop that sleeps, a cable) says nothing: a link that was silent for heartbeatMs gets a ping, and is cut when
 * as long again passes without a byte. Then the session's grace time begins.
 */
import type { RawData, WebSocket } from 'ws';
import { getU32 } from '../shared/bytes.ts';
import { emitFrameLength, QEMU_LENGTH_LEN } from '../shared/link/qemu-framing.ts';
import {
  CLOSE_HELLO_TIMEOUT, CLOSE_MALFORMED, CLOSE_NORMAL, CLOSE_UNAUTHORIZED, parseClientMessage, type ClientHello, type Forward, type RelayHello,
} from '../shared/link/tunnel.ts';
import type { FrameBatch } from '../shared/net/stack/link-port.ts';
import type { Limits } from './config.ts';
import type { Log } from './log.ts';
import type { Session, SessionLink } from './session.ts';

/** RFC 6455 §5.5: a control frame carries at most 125 bytes, two of them the code */
const MAX_REASON_CHARS = 120;
const BINARY = { binary: true } as const;

export type LinkKind = 'tunnel' | 'stream' | 'frames';

export interface LinkEnv {
  limits: Limits;
  log: Log;
  forwards: () => Forward[];
  claim: (id: string, token: string) => Session | null;
  onClosed: (link: Link) => void;
}

export class Link implements SessionLink {
  readonly #env: LinkEnv;
  readonly #ws: WebSocket;
  readonly #address: string;
  readonly #kind: LinkKind;
  /** `frames` only: the length of the frame that came */
  readonly #length = new Uint8Array(QEMU_LENGTH_LEN);
  #session: Session | null = null;
  #closed = false;
  #full = false;
  #heard = true;
  #pinged = false;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #helloTimer: NodeJS.Timeout | null = null;
  /** a client that does not answer our close frame is cut */
  #closeTimer: NodeJS.Timeout | null = null;

  /** `bare` is the session of a client without the tunnel, null where hello will name one. */
  constructor(env: LinkEnv, ws: WebSocket, address: string, kind: LinkKind, bare: Session | null) {
    this.#env = env;
    this.#ws = ws;
    this.#address = address;
    this.#kind = kind;
    ws.on('message', (data, isBinary) => this.#onMessage(data, isBinary));
    ws.on('ping', () => { this.#heard = true; });
    ws.on('pong', () => { this.#heard = true; });
    // What ws finds wrong (masks, lengths, UTF-8, too much at once) it answers with a close code itself; `close` follows.
    ws.on('error', (error) => env.log.debug(`link of ${address}: ${error.message}`, { address }));
    ws.on('close', () => this.#onClosed());
    this.#heartbeat = setInterval(() => this.#beat(), env.limits.heartbeatMs);
    if (bare !== null) this.#take(bare, undefined);
    else this.#helloTimer = setTimeout(() => this.close(CLOSE_HELLO_TIMEOUT, 'no hello in time'), env.limits.helloMs);
  }

  /** waits for its hello */
  get pending(): boolean { return this.#kind === 'tunnel' && this.#session === null && !this.#closed; }

  /** bytes that the client has not read yet, beyond the kernel's buffers */
  get queuedBytes(): number { return this.#ws.bufferedAmount; }

  welcome(mtu: number, resumed: boolean): void {
    if (this.#kind !== 'tunnel') return;
    const hello: RelayHello = { type: 'hello', version: 1, mtu, resumed, forwards: this.#env.forwards() };
    this.#ws.send(JSON.stringify(hello));
  }

  sendBatch(batch: FrameBatch): boolean {
    if (this.#closed || this.#ws.readyState !== this.#ws.OPEN) {
      batch.release();
      return true;
    }
    const { limits } = this.#env;
    const onSent = (): void => {
      batch.release();
      if (!this.#full || this.#closed || this.#ws.bufferedAmount > limits.lowWaterBytes) return;
      this.#full = false;
      this.#session?.onDrain(this);
    };
    if (this.#kind === 'frames') this.#sendFrames(batch, onSent);
    else this.#ws.send(batch.bytes.subarray(0, batch.end), BINARY, onSent);
    this.#full = this.#ws.bufferedAmount >= limits.highWaterBytes;
    return !this.#full;
  }

  /** ws writes in order: when the last frame has left, all have. */
  #sendFrames({ bytes, end }: FrameBatch, onSent: () => void): void {
    for (let at = 0; at < end;) {
      const start = at + QEMU_LENGTH_LEN;
      at = start + getU32(bytes, at);
      this.#ws.send(bytes.subarray(start, at), BINARY, at < end ? undefined : onSent);
    }
  }

  close(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ws.close(code, reason.slice(0, MAX_REASON_CHARS));
    this.#release();
    this.#closeTimer = setTimeout(() => this.terminate(), this.#env.limits.closeMs);
  }

  /** Ends at once, without a closing handshake. */
  terminate(): void {
    this.#ws.terminate();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#heard = true;
    if (this.#closed) return;
    if (!isBinary) return this.#onText(data);
    if (this.#session === null) return this.close(CLOSE_MALFORMED, 'the first message must be a hello');
    // binaryType is ws's default, so this is one Buffer.
    const bytes = data as Buffer;
    const malformed = this.#kind === 'frames' ? this.#receiveFrame(this.#session, bytes) : this.#session.receive(this, bytes);
    if (malformed === null) return;
    this.#env.log.once('frame', this.#address, `closed a link of ${this.#address}: ${malformed}`);
    this.close(CLOSE_MALFORMED, malformed);
  }

  #receiveFrame(session: Session, frame: Uint8Array): string | null {
    emitFrameLength(this.#length, 0, frame.length);
    return session.receive(this, this.#length) ?? session.receive(this, frame);
  }

  #onText(data: RawData): void {
    if (this.#kind !== 'tunnel') return this.close(CLOSE_MALFORMED, 'text on a link without the portside.v1 subprotocol');
    const message = parseClientMessage((data as Buffer).toString());
    if (message === 'tunnel-unknown-type') return;
    if (typeof message === 'string') return this.close(CLOSE_MALFORMED, message);
    if (message.type === 'bye') {
      const session = this.#session;
      this.close(CLOSE_NORMAL, 'bye');
      session?.close('the client said bye');
    } else if (this.#session !== null) {
      this.close(CLOSE_MALFORMED, 'a second hello');
    } else {
      this.#onHello(message);
    }
  }

  #onHello(hello: ClientHello): void {
    const session = this.#env.claim(hello.session, hello.token);
    if (session === null) {
      this.#env.log.once('token', this.#address, `refused a link of ${this.#address}: wrong token or unknown session`);
      return this.close(CLOSE_UNAUTHORIZED, 'wrong token or unknown session');
    }
    if (this.#helloTimer !== null) clearTimeout(this.#helloTimer);
    this.#take(session, hello.mtu);
  }

  #take(session: Session, wish: number | undefined): void {
    this.#session = session;
    session.takeLink(this, wish);
  }

  #beat(): void {
    if (this.#heard) {
      this.#heard = false;
      this.#pinged = false;
    } else if (this.#pinged) {
      this.#env.log.debug(`link of ${this.#address}: silent, cut`, { address: this.#address });
      this.terminate();
    } else {
      this.#pinged = true;
      this.#ws.ping();
    }
  }

  #onClosed(): void {
    this.#closed = true;
    this.#release();
    if (this.#closeTimer !== null) clearTimeout(this.#closeTimer);
    this.#env.onClosed(this);
  }

  /** What must not wait for the closing handshake. Idempotent. */
  #release(): void {
    clearInterval(this.#heartbeat);
    if (this.#helloTimer !== null) clearTimeout(this.#helloTimer);
    this.#session?.onLinkBroken(this);
    this.#session = null;
  }
}
