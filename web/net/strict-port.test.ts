import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { FromLink, ToLink } from '../port-protocol.ts';
import type { CallPort } from './port-server.ts';
import { strictPort } from './strict-port.ts';

const REQUEST = { type: 'request', port: 22, method: 'GET', path: '/a?b', fields: [['accept', '*/*']], hasBody: false };

let strange: CallPort;
let strict: CallPort;
let heard: ToLink[];
let sent: FromLink[];

beforeEach(() => {
  vi.useFakeTimers();
  heard = [];
  sent = [];
  strange = { onmessage: null, postMessage: (message) => void sent.push(message), close: () => void sent.push({ type: 'end' }) };
  strict = strictPort(strange, 80);
  strict.onmessage = ({ data }) => void heard.push(data);
});
afterEach(() => vi.useRealTimers());

function says(data: unknown): void {
  strange.onmessage!({ data } as MessageEvent<ToLink>);
}

test('a request goes to the port that the frame is for, whatever it says', () => {
  says(REQUEST);
  says({ type: 'pull' });
  expect(heard).toEqual([{ ...REQUEST, port: 80 }, { type: 'pull' }]);
});

test('a piece of a body for each that was asked for', () => {
  says({ ...REQUEST, method: 'POST', hasBody: true });
  strict.postMessage({ type: 'pull' });
  says({ type: 'data', bytes: Uint8Array.of(1) });
  strict.postMessage({ type: 'pull' });
  says({ type: 'end' });
  expect(heard.map(({ type }) => type)).toEqual(['request', 'data', 'end']);
  expect(sent).toEqual([{ type: 'pull' }, { type: 'pull' }]);
});

test.each([
  ['nothing', null], ['no object', 'request'], ['no type', {}], ['another type', { type: 'taken' }], ['an unasked piece', { type: 'data', bytes: Uint8Array.of(1) }], ['an unasked end', { type: 'end' }],
  ['a piece that is none', { type: 'data', bytes: 'text' }], ['a second request', REQUEST],
])('%s ends it, and what follows is not heard', (_what, data) => {
  says(REQUEST);
  says(data);
  says({ type: 'pull' });
  expect(heard.map(({ type }) => type)).toEqual(['request', 'cancel']);
});

test.each([
  ['method', 'GET / HTTP/1.1\r\nX:'], ['method', ''], ['method', 1], ['path', 'http://elsewhere/'], ['path', '/a b'], ['path', '/\r\n'], ['path', undefined], ['path', `/${'x'.repeat(70_000)}`],
  ['fields', null], ['fields', [['a']]], ['fields', [['a:', 'b']]], ['fields', [['a', 1]]], ['fields', [['a', 'x'.repeat(20_000)]]], ['fields', Array.from({ length: 129 }, () => ['a', 'b'])],
])('a request whose %s is %j is none', (name, value) => {
  says({ ...REQUEST, [name]: value });
  expect(heard).toEqual([{ type: 'cancel' }]);
});

test('one that never asks is given up, one that has asked is not', () => {
  vi.advanceTimersByTime(60_000);
  expect(heard).toEqual([{ type: 'cancel' }]);
  heard = [];
  strict = strictPort(strange, 80);
  strict.onmessage = ({ data }) => void heard.push(data);
  says(REQUEST);
  vi.advanceTimersByTime(60_000);
  expect(heard.map(({ type }) => type)).toEqual(['request']);
});
