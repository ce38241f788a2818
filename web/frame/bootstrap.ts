/*
 * The page of a frame origin: portside-frame.html. Installs the service worker there, takes one MessagePort from the page around it, and shows the
 * container's page in a frame of its own, whose requests the service worker hands to us, and we to that port.
 *
 *   our page ─ frame ─▶ this one ─ frame ─▶ the container's page ─ fetch ─▶ service worker ─ MessagePort ─▶ this one ─▶ our page
 *
 * Who may be around it its server says: `frame-ancestors` in the Content-Security-Policy of this very file. The browser obeys it, and we read it once more:
 * without it, or with anything but origins, nobody is served. It needs no secrets: the container's scripts are of this origin, and may do
 * here what they like to themselves.
 */
import type { FrameHello, FrameStart, FromFrame, ToFrame } from '../frame-protocol.ts';
import type { PortCall } from '../port-protocol.ts';

/** longest wait for the service worker, in `ms` */
const ACTIVE_MS = 20_000;

const workers = navigator.serviceWorker as ServiceWorkerContainer | undefined;
const frame = document.createElement('iframe');
/** to the page; null until it has given one */
let page: MessagePort | null = null;

hello(false, null);
void begin().then(() => hello(true, null), (error: unknown) => hello(false, error instanceof Error ? error.message : String(error)));

/** Anybody may know. */
function hello(isReady: boolean, problem: string | null): void {
  if (parent !== window) parent.postMessage({ type: 'portside-frame', isReady, problem } satisfies FrameHello, '*');
  if (problem !== null) document.body.textContent = problem;
}

async function begin(): Promise<void> {
  if (parent === window) throw new Error('Portside shows ports of containers here, in frames of its page.');
  if (workers === undefined) throw new Error('This browser has no service workers in a frame of another site.');
  const origins = await pageOrigins();
  addEventListener('message', ({ data, origin, source, ports }: MessageEvent<Partial<FrameStart> | null>) => {
    if (data?.type === 'portside-frame' && source === parent && origins.includes(origin) && ports.length === 1) take(ports[0], String(data.path));
  });
  const registration = await workers.register('portside-frame-worker.js', { updateViaCache: 'none' });
  // The origin belongs to this frame alone.
  addEventListener('pagehide', ({ persisted }) => { if (!persisted) void registration.unregister(); });
  workers.onmessage = ({ data, ports }: MessageEvent<Partial<PortCall> | null>) => {
    if (data?.type === 'portside-port' && ports.length === 1) tell({ type: 'call' }, [...ports]);
  };
  const late = new Promise<null>((resolve) => { setTimeout(() => resolve(null), ACTIVE_MS); });
  if (await Promise.race([workers.ready, late]) === null) throw new Error('The service worker did not start in time.');
}

/** The origins that our server lets be around us. */
async function pageOrigins(): Promise<string[]> {
  const policy = (await fetch(location.pathname, { method: 'HEAD' })).headers.get('Content-Security-Policy') ?? '';
  const listed = /(?:^|[;,])\s*frame-ancestors\s+([^;,]*)/i.exec(policy)?.[1].trim().split(/\s+/) ?? [];
  const origins = listed.filter((source) => /^https?:\/\/[^*/]+$/.test(source));
  if (origins.length === 0 || origins.length < listed.length) throw new Error('The server of this frame does not say which page it is for: Content-Security-Policy, frame-ancestors.');
  return origins;
}

/** The first one is the one. */
function take(port: MessagePort, path: string): void {
  if (page !== null) return;
  page = port;
  port.onmessage = ({ data }: MessageEvent<ToFrame>) => show(data.path);
  frame.addEventListener('load', () => {
    try {
      const { pathname, search, hash } = frame.contentWindow!.location;
      tell({ type: 'at', path: `${pathname}${search}${hash}` });
    } catch {
      // An error page of the browser's.
    }
  });
  show(path);
  document.body.append(frame);
}

/** A path of this origin, and no other address. */
function show(path: string): void {
  const url = new URL(path, location.origin);
  if (url.origin !== location.origin) return;
  if (frame.contentWindow === null) frame.src = url.href;
  else frame.contentWindow.location.replace(url.href);
}

function tell(message: FromFrame, transfer: Transferable[] = []): void {
  page?.postMessage(message, transfer);
}
