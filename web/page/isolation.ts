/*
 * SharedArrayBuffer for this page, and the page for a visit without its server: both by the service worker.
 *
 * Theory of operation
 *
 *   isolated by the server's headers ─▶ go on; register later, for offline starts
 *   not isolated ─▶ register, wait until it is active, mark the tab, reload ─▶ isolated: the mark goes
 *                                                                    └─▶ still not: say so; never reload again
 *
 * The mark is in sessionStorage: a tab reloads once and, while the mark is there, not a second time. Where it cannot be kept
 * (storage is forbidden) there is no reload at all.
 */
// Made by vite, which the linter does not know.
// oxlint-disable-next-line import/default
import serviceWorkerUrl from '../service/worker.ts?worker&url';

const MARK = 'portside.isolating';
/** longest wait for a service worker to become active: one that the browser keeps from starting says nothing, in `ms` */
const ACTIVE_MS = 8000;

/** Why SharedArrayBuffer cannot be had, a sentence; null when it is here; 'reloading' when the page is about to go. */
export async function isolate(): Promise<'reloading' | string | null> {
  if (globalThis.crossOriginIsolated) {
    mark(false);
    return null;
  }
  if (!('serviceWorker' in navigator)) {
    return globalThis.isSecureContext ? 'This browser allows no service worker here that could add them.' : 'A service worker could add them, but only at https:// or localhost.';
  }
  if (window.top !== window) return 'In a frame, the page around it must be isolated as well.';
  if (isMarked()) {
    mark(false);
    return 'Our service worker added them, and the browser still does not isolate this page.';
  }
  const problem = await register();
  if (problem !== null) return `Our service worker could not be installed: ${problem}`;
  if (!mark(true)) return 'This browser keeps no data for this site, so the page cannot be reloaded safely.';
  location.reload();
  return 'reloading';
}

/** Installs it, for the headers and for offline starts; resolves when it is active, with null or with what is wrong. */
export async function register(): Promise<string | null> {
  // vite's dev server sends the headers itself, and what it serves changes all the time.
  if (import.meta.env.DEV || !('serviceWorker' in navigator)) return 'not here';
  try {
    await navigator.serviceWorker.register(new URL(serviceWorkerUrl, location.href), { updateViaCache: 'none' });
    const late = new Promise<null>((resolve) => { setTimeout(() => resolve(null), ACTIVE_MS); });
    return await Promise.race([navigator.serviceWorker.ready, late]) === null ? 'it did not start in time' : null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * The folder that the service worker answers for, when it is active: also on a page outside of it, into which portside.js was built.
 * Rejects with what is wrong.
 */
export async function serviceFolder(): Promise<string> {
  if (import.meta.env.DEV) throw new Error('There is no service worker in development: build the page.');
  if (!('serviceWorker' in navigator)) throw new Error('Frames of the container need a service worker: https:// or localhost.');
  const registration = await navigator.serviceWorker.register(new URL(serviceWorkerUrl, location.href), { updateViaCache: 'none' });
  const coming = registration.installing ?? registration.waiting;
  if (registration.active === null && coming !== null) {
    await new Promise<void>((resolve, reject) => {
      setTimeout(() => reject(new Error('The service worker did not start in time.')), ACTIVE_MS);
      coming.addEventListener('statechange', () => {
        if (coming.state === 'activated') resolve();
        else if (coming.state === 'redundant') reject(new Error('The service worker could not be installed.'));
      });
    });
  }
  return registration.scope;
}

/** Who isolates this page, for About. Asks the server, whose own headers only a response that passes untouched shows. */
export async function isolatedBy(): Promise<string> {
  if (!globalThis.crossOriginIsolated) return 'nobody';
  try {
    const { headers } = await fetch(document.baseURI, { method: 'HEAD', cache: 'no-store' });
    return headers.has('Cross-Origin-Embedder-Policy') ? 'the server’s headers' : 'our service worker, as the server sends no COOP and COEP headers';
  } catch {
    return 'our service worker: the server cannot be reached';
  }
}

function isMarked(): boolean {
  try {
    return sessionStorage.getItem(MARK) !== null;
  } catch {
    return false;
  }
}

/** False when nothing can be kept here. */
function mark(on: boolean): boolean {
  try {
    if (on) sessionStorage.setItem(MARK, '1');
    else sessionStorage.removeItem(MARK);
    return true;
  } catch {
    return false;
  }
}
