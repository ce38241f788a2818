/** `GET /api/health`: is it up, which version, how busy. Names no session: their ids are half of a secret. */
import type { ServerResponse } from 'node:http';
import { replyJson } from '../reply.ts';
import type { Sessions } from '../sessions.ts';

export interface Health {
  status: 'ok';
  version: string;
  /** in `s` */
  uptime: number;
  sessions: { open: number; linked: number; broken: number; unclaimed: number; made: number };
  links: number;
  /** bytes that clients have not read yet */
  queuedBytes: number;
  /** sums over the sessions that are open, in bytes */
  fromGuestBytes: number;
  toGuestBytes: number;
  /** images in the manifest */
  images: number;
  /** origins for frames of the page, on this computer's loopback; the star is a frame's name */
  frames: string | null;
}

export function getHealth(
  relay: { version: string; startedMs: number; sessions: Sessions; links: ReadonlySet<{ queuedBytes: number }>; nowMs: number; frames: string | null },
  images: number,
  response: ServerResponse,
): void {
  const stats = relay.sessions.stats();
  const inState = (state: string): number => stats.filter((session) => session.state === state).length;
  const health: Health = {
    status: 'ok',
    version: relay.version,
    uptime: Math.round((relay.nowMs - relay.startedMs) / 1000),
    sessions: { open: stats.length, linked: inState('linked'), broken: inState('broken'), unclaimed: inState('unclaimed'), made: relay.sessions.made },
    links: relay.links.size,
    queuedBytes: sum([...relay.links].map((link) => link.queuedBytes)),
    fromGuestBytes: sum(stats.map((session) => session.fromGuestBytes)),
    toGuestBytes: sum(stats.map((session) => session.toGuestBytes)),
    images,
    frames: relay.frames,
  };
  replyJson(response, 200, health);
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
