import type { NetMode, NetStatus } from '../protocol.ts';
import type { Forward } from '../../shared/link/tunnel.ts';
import { formatSeconds } from './figures.ts';

/** States as the bar and the panels say them. Time is an argument. */

export type PageState = 'loading' | 'starting' | 'running' | 'exited' | 'stopped' | 'failed';

export function containerWords(state: PageState, exitCode: number | undefined): string {
  switch (state) {
    case 'loading': return 'Loading';
    case 'starting': return 'Starting';
    case 'running': return 'Running';
    case 'exited': return `Exited (${exitCode ?? '?'})`;
    case 'stopped': return 'Stopped';
    case 'failed': return 'Failed';
  }
}

export function netWords(status: NetStatus, net: NetMode, nowMs: number): string {
  switch (status.state) {
    case 'off': return net.kind === 'none' ? 'No network' : 'Offline';
    case 'connecting': return 'Connecting…';
    case 'up': return net.kind === 'browser' ? 'Browser only' : 'Online';
    case 'refused': return 'Refused';
    case 'down': return status.retryAtMs === undefined ? 'Offline' : `Retry in ${formatSeconds(status.retryAtMs - nowMs)}`;
  }
}

/** A sentence about a network that is not there; null while nothing is wrong. */
export function netTrouble(status: NetStatus, net: NetMode, nowMs: number): string | null {
  if (status.state === 'down') {
    const who = net.kind === 'delegate' ? 'The network server does not answer.' : 'The relay does not answer.';
    const wait = status.retryAtMs === undefined ? '' : ` Trying again in ${formatSeconds(status.retryAtMs - nowMs)}.`;
    return `${who} The container keeps running.${wait}`;
  }
  if (status.state === 'refused') return `${status.detail ?? 'The network was refused.'} The container keeps running without it.`;
  return null;
}

/** Who is at the other end. */
export function netPeer(net: NetMode, pageHost: string): string {
  switch (net.kind) {
    case 'none': return 'nothing';
    case 'relay': return `relay at ${net.origin === undefined ? pageHost : new URL(net.origin).host}`;
    case 'delegate': return new URL(net.url).host;
    case 'browser': return 'this browser';
  }
}

/** `127.0.0.1:8000` is what a browser calls localhost:8000; all interfaces are reached by it as well. */
export function forwardWords(forward: Forward): string {
  const protocol = forward.protocol === 'udp' ? '/udp' : '';
  return `${forwardHost(forward)} → ${forward.guest}${protocol}`;
}

/** Where a browser finds the forwarded port; null where it can't be one. */
export function forwardUrl(forward: Forward): string | null {
  if (forward.protocol === 'udp') return null;
  const text = `http://${forwardHost(forward)}/`;
  try {
    const url = new URL(text);
    return url.pathname === '/' && url.username === '' && url.search === '' && url.hash === '' ? url.href : null;
  } catch {
    return null;
  }
}

function forwardHost(forward: Forward): string {
  return forward.host.replace(/^(127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|):/, 'localhost:');
}
