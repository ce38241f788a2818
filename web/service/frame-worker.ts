/*
 * The service worker of a frame origin: a port of a container, at the root of an origin of its own, with its scripts.
 *
 *   the container's page ─▶ fetch event ─▶ PortCall to the bootstrap page around it ─ MessagePort ─▶ the page ─▶ link worker ─▶ the guest
 *
 * What is never asked for there: the three files of the bootstrap itself, which come from the server. Another origin is refused
 * here as well as by the policy that each response carries: what a container serves reaches that container, and nothing else.
 * This worker keeps nothing, as ports.ts does.
 */
/// <reference lib="webworker" />
import type { PortCall } from '../port-protocol.ts';
import { forward, type PortSite } from './port-exchange.ts';

declare const self: ServiceWorkerGlobalScope;

const BOOTSTRAP = '/portside-frame.html';
const OWN = /^\/portside-frame(-worker)?\.(html|js)$/;
/** request fields that are the connection's, or another's to say */
const KEPT = new Set(['connection', 'content-length', 'cookie', 'host', 'keep-alive', 'origin', 'referer', 'te', 'transfer-encoding', 'upgrade']);
/** response fields that would change what this origin is, or end it */
const HELD_BACK = /^(content-(encoding|security-policy.*)|cross-origin-.*|x-frame-options|clear-site-data|service-worker-allowed|strict-transport-security|origin-agent-cluster|set-cookie2?|report-to|reporting-endpoints|nel)$/;
const SANDBOX = 'sandbox allow-scripts allow-same-origin allow-forms allow-popups allow-downloads';
const POLICY = `${SANDBOX}; default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; form-action 'self'`;

const SITE: PortSite = {
  port: Number(/^\d+/.exec(self.location.hostname)?.[0] ?? 80),
  call: { type: 'portside-port', session: '' } satisfies PortCall,
  windows: async () => {
    const all = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
    return all.filter(({ url }) => new URL(url).pathname === BOOTSTRAP);
  },
  passesOn: (name) => !KEPT.has(name),
  passesBack: (name) => !HELD_BACK.test(name),
  locate: (port, path) => (port === SITE.port ? path : null),
  setOurs: (headers) => {
    headers.set('Content-Security-Policy', POLICY);
    headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
    headers.set('Cross-Origin-Resource-Policy', 'cross-origin');
  },
};

self.addEventListener('install', () => void self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  const url = new URL(event.request.url);
  if (url.origin !== self.location.origin) event.respondWith(Response.error());
  else if (!OWN.test(url.pathname)) event.respondWith(forward(event.request, `${url.pathname}${url.search}`, SITE));
});
