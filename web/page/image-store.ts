/** The one store worker of this page (web/store/worker.ts): made with the first container, ended with the page. */

let worker: Worker | null | undefined;

/** A port for a container's worker to hand over what it fetched; null where this browser stores nothing. */
export function openStore(): MessagePort | null {
  worker ??= 'caches' in globalThis ? new Worker(new URL('../store/worker.ts', import.meta.url), { type: 'module', name: 'store' }) : null;
  if (worker === null) return null;
  const { port1, port2 } = new MessageChannel();
  worker.postMessage(port2, [port2]);
  return port1;
}
