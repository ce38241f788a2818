import { describe, expect, it } from 'vitest';
import { containerWords, forwardUrl, forwardWords, netPeer, netTrouble, netWords } from './status-words.ts';

const RELAY = { kind: 'relay' } as const;

it('says what the container does', () => {
  expect(containerWords('running', undefined)).toBe('Running');
  expect(containerWords('exited', 7)).toBe('Exited (7)');
  expect(containerWords('exited', 0)).toBe('Exited (0)');
});

describe('the network', () => {
  it('has a word for each state', () => {
    expect(netWords({ state: 'off' }, { kind: 'none' }, 0)).toBe('No network');
    expect(netWords({ state: 'off' }, RELAY, 0)).toBe('Offline');
    expect(netWords({ state: 'connecting' }, RELAY, 0)).toBe('Connecting…');
    expect(netWords({ state: 'up' }, RELAY, 0)).toBe('Online');
    expect(netWords({ state: 'refused' }, RELAY, 0)).toBe('Refused');
    expect(netWords({ state: 'down' }, RELAY, 0)).toBe('Offline');
  });

  it('counts down to the next attempt, and never below 0', () => {
    const down = { state: 'down', retryAtMs: 10_000 } as const;
    expect(netWords(down, RELAY, 5_500)).toBe('Retry in 5 s');
    expect(netWords(down, RELAY, 11_000)).toBe('Retry in 0 s');
    expect(netTrouble(down, RELAY, 6_000)).toBe('The relay does not answer. The container keeps running. Trying again in 4 s.');
  });

  it('has trouble only when it is down or refused', () => {
    for (const state of ['off', 'connecting', 'up'] as const) expect(netTrouble({ state }, RELAY, 0)).toBeNull();
    expect(netTrouble({ state: 'refused', detail: 'Wrong token.' }, RELAY, 0)).toBe('Wrong token. The container keeps running without it.');
    expect(netTrouble({ state: 'down' }, { kind: 'delegate', url: 'ws://x:1/' }, 0)).toMatch(/^The network server/);
  });

  it('names its peer', () => {
    expect(netPeer(RELAY, 'localhost:8080')).toBe('relay at localhost:8080');
    expect(netPeer({ kind: 'delegate', url: 'ws://127.0.0.1:8888/x' }, 'h')).toBe('127.0.0.1:8888');
  });
});

describe('forwards', () => {
  it('are shown as a browser reaches them', () => {
    expect(forwardWords({ host: '127.0.0.1:8000', guest: 80 })).toBe('localhost:8000 → 80');
    expect(forwardWords({ host: '0.0.0.0:53', guest: 53, protocol: 'udp' })).toBe('localhost:53 → 53/udp');
    expect(forwardWords({ host: '192.168.1.5:8000', guest: 80 })).toBe('192.168.1.5:8000 → 80');
    expect(forwardWords({ host: '[::]:8000', guest: 80 })).toBe('localhost:8000 → 80');
  });

  it('become links only when they are nothing but host and port', () => {
    expect(forwardUrl({ host: '127.0.0.1:8000', guest: 80 })).toBe('http://localhost:8000/');
    expect(forwardUrl({ host: '127.0.0.1:8000', guest: 80, protocol: 'udp' })).toBeNull();
    for (const host of ['a b:1', 'x:99999', 'u:p@x:1', 'x:1/path', 'x:1?q', '']) expect(forwardUrl({ host, guest: 1 }), host).toBeNull();
  });
});
