import { afterEach, describe, expect, test, vi } from 'vitest';
import { settleNet } from './relay-probe.ts';

afterEach(() => { vi.unstubAllGlobals(); });

const answer = (fn: () => Promise<Response>): void => { vi.stubGlobal('fetch', fn); };
const usual = { kind: 'relay', orBrowser: true } as const;

describe('the network of a page that does not say', () => {
  test.each([
    ['a relay', () => Response.json({ status: 'ok' }), 'relay'], ['one that is away for now', () => new Response('', { status: 503 }), 'relay'],
    ['one that does not know the host', () => new Response('', { status: 403 }), 'relay'], ['a static server', () => new Response('', { status: 404 }), 'browser'],
    ['one that knows no such methods', () => new Response('', { status: 501 }), 'browser'],
    ['one that answers everything with its page', () => new Response('<!doctype html>'), 'browser'], ['another API', () => Response.json({ status: 'fine' }), 'browser'],
  ])('%s', async (_name, response, kind) => {
    answer(() => Promise.resolve(response()));
    expect((await settleNet(usual, 'http://x.test')).kind).toBe(kind);
  });

  test('no answer: a relay may come back', async () => {
    answer(() => Promise.reject(new TypeError('Failed to fetch')));
    expect(await settleNet(usual, 'http://x.test')).toEqual({ kind: 'relay' });
    expect(await settleNet({ ...usual, mtu: 9000 }, 'http://x.test')).toEqual({ kind: 'relay', mtu: 9000 });
  });
});

test('a page that says asks nobody', async () => {
  answer(() => Promise.reject(new Error('asked')));
  for (const choice of [{ kind: 'relay' }, { kind: 'none' }, { kind: 'browser' }, { kind: 'relay', origin: 'http://r.test' }] as const) expect(await settleNet(choice, 'http://x.test')).toEqual(choice);
});
