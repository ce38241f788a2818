/*
 * Ports of this page's container in frames with scripts: each frame has an origin of its own, which is neither ours nor that of another frame.
 *
 * Theory of operation
 *
 *   open(port) ─▶ http://80-6f0c….localhost:PORT/portside-frame.html, a URL for a frame of this page
 *   the frame says hello ─▶ it gets a MessagePort ─▶ what comes by that is served by one port of the container
 *
 * Which origins there are the page says (`<meta name="portside-frame-origin" content="https://*.frames.example">`), or its relay, which has one for
 * localhost (relay/frame-server.ts). The star is a name that nobody can guess, new for each frame: it makes the origin, so storage of one
 * container is never another's, and it is how a hello is told from anybody's message. A frame that says nothing in time has failed: there is no such server.
 * One whose browser keeps service workers out of frames says so.
 */
import type { FrameHello, FrameStart, FromFrame, ToFrame } from '../frame-protocol.ts';
import { FRAME_FILE } from '../frame-protocol.ts';

const META = 'meta[name="portside-frame-origin"]';
const PATTERN = /^https?:\/\/\*\.[\w.-]+(:\d{1,5})?$/;
/** for a frame to load, in `ms` */
const HELLO_MS = 10_000;
const PATH_MAX = 2000;

/** The origins for frames, with a star for the name of one; null where there are none. */
export async function frameOrigins(): Promise<string | null> {
  const said = document.querySelector(META)?.getAttribute('content')?.trim() ?? await relayFrames();
  return said !== null && PATTERN.test(said) ? said : null;
}

/** A relay's are on its own computer's loopback: of use to a page that came from there. */
async function relayFrames(): Promise<string | null> {
  if (!/^(localhost|127\.0\.0\.1)$/.test(location.hostname)) return null;
  try {
    const health: unknown = await (await fetch('/api/health', { cache: 'no-store' })).json();
    return typeof health === 'object' && health !== null && 'frames' in health && typeof health.frames === 'string' ? health.frames : null;
  } catch {
    return null;
  }
}

export class ScriptedFrames {
  readonly #serve: (port: MessagePort, guestPort: number) => void;
  readonly #frames = new Map<string, ScriptedFrame>();

  /** `serve` takes a MessagePort for good: a request for a port of the container, from nobody who can be trusted. */
  constructor(serve: (port: MessagePort, guestPort: number) => void) {
    this.#serve = serve;
    addEventListener('message', this.#onMessage);
  }

  /** `origins` as of frameOrigins. */
  open(port: number, origins: string): ScriptedFrame {
    const origin = origins.replace('*', `${port}-${crypto.randomUUID()}`);
    const frame = new ScriptedFrame(origin, (one) => this.#serve(one, port), () => this.#frames.delete(origin));
    this.#frames.set(origin, frame);
    return frame;
  }

  close(): void {
    removeEventListener('message', this.#onMessage);
    for (const frame of this.#frames.values()) frame.close();
  }

  readonly #onMessage = ({ data, origin, source }: MessageEvent<Partial<FrameHello> | null>): void => {
    if (data?.type === 'portside-frame' && source !== null) this.#frames.get(origin)?.onHello(source as Window, data);
  };
}

export class ScriptedFrame {
  /** for a frame of this page; the path that it begins with goes with the hello */
  readonly url: string;
  isClosed = false;
  /** what it shows first */
  path = '/';
  /** where links have led */
  onPath: ((path: string) => void) | null = null;
  readonly #origin: string;
  readonly #serve: (port: MessagePort) => void;
  readonly #onClose: () => void;
  readonly #started: Promise<string | null>;
  #settle: (problem: string | null) => void = () => {};
  #port: MessagePort | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(origin: string, serve: (port: MessagePort) => void, onClose: () => void) {
    this.url = `${origin}/${FRAME_FILE}`;
    this.#started = new Promise((resolve) => { this.#settle = resolve; });
    this.#origin = origin;
    this.#serve = serve;
    this.#onClose = onClose;
  }

  /** Once it is being loaded: resolves with null when it shows the container, or with a sentence: why it can't. */
  begun(): Promise<string | null> {
    this.#timer = setTimeout(() => this.#settle('The origin for frames does not answer.'), HELLO_MS);
    return this.#started;
  }

  show(path: string): void {
    this.path = path;
    this.#port?.postMessage({ type: 'show', path } satisfies ToFrame);
  }

  /** `source` has the frame's origin; a frame that was loaded anew says hello again. */
  onHello(source: Window, { isReady, problem }: Partial<FrameHello>): void {
    clearTimeout(this.#timer);
    if (typeof problem === 'string') return this.#settle(problem.slice(0, 200));
    if (isReady !== true) return;
    const { port1, port2 } = new MessageChannel();
    this.#port?.close();
    this.#port = port1;
    port1.onmessage = ({ data, ports }: MessageEvent<Partial<FromFrame> | null>) => {
      if (data?.type === 'call' && ports.length === 1) this.#serve(ports[0]);
      else if (data?.type === 'at' && typeof data.path === 'string' && data.path.startsWith('/')) this.onPath?.(data.path.slice(0, PATH_MAX));
    };
    source.postMessage({ type: 'portside-frame', path: this.path } satisfies FrameStart, this.#origin, [port2]);
    this.#settle(null);
  }

  /** Nothing of it is served any more. Idempotent. */
  close(): void {
    this.isClosed = true;
    this.#settle('It was closed.');
    this.#port?.close();
    this.#port = null;
    this.#onClose();
  }
}
