import { expect, test } from 'vitest';
import { MAX_CONTROL_CHARS, MAX_FORWARDS, parseClientMessage, parseRelayMessage, parseSessionGrant } from './tunnel.ts';

const HELLO = { type: 'hello', version: 1, session: 'abcdefgh', token: 'x'.repeat(32) };
const FORWARD = { host: '127.0.0.1:8000', guest: 80 };
const GRANT = { session: 'abcdefgh', token: 'x'.repeat(32), link: '/link', mtu: 1500, forwards: [FORWARD] };

test('what is right is read, and only what is known is kept', () => {
  expect(parseClientMessage(JSON.stringify({ ...HELLO, mtu: 9000, extra: 1, __proto__: {} }))).toEqual({ ...HELLO, mtu: 9000 });
  expect(parseClientMessage('{"type":"bye","x":1}')).toEqual({ type: 'bye' });
  expect(parseRelayMessage(JSON.stringify({ type: 'hello', version: 1, mtu: 1500, resumed: false, forwards: [{ ...FORWARD, protocol: 'udp', x: 1 }] })))
    .toEqual({ type: 'hello', version: 1, mtu: 1500, resumed: false, forwards: [{ ...FORWARD, protocol: 'udp' }] });
  expect(parseRelayMessage('{"type":"forwards"}')).toEqual({ type: 'forwards', forwards: [] });
  expect(parseSessionGrant(JSON.stringify({ ...GRANT, more: true }))).toEqual(GRANT);
});

test.each([
  ['', 'tunnel-not-json'], ['{', 'tunnel-not-json'], ['\0', 'tunnel-not-json'],
  [undefined, 'tunnel-not-json'], [null, 'tunnel-not-json'], [7, 'tunnel-not-json'], [{}, 'tunnel-not-json'],
  ['null', 'tunnel-bad-shape'], ['7', 'tunnel-bad-shape'], ['"hello"', 'tunnel-bad-shape'], ['[]', 'tunnel-bad-shape'],
  ['{}', 'tunnel-bad-shape'], ['{"type":7}', 'tunnel-bad-shape'], ['{"type":"later"}', 'tunnel-unknown-type'],
  ['{"type":"__proto__"}', 'tunnel-unknown-type'],
  [`{"type":"${'x'.repeat(MAX_CONTROL_CHARS)}"}`, 'tunnel-too-long'],
  ['['.repeat(10_000), 'tunnel-not-json'],
])('neither side takes %j', (data, drop) => {
  expect([parseClientMessage(data), parseRelayMessage(data)]).toEqual([drop, drop]);
  expect(parseSessionGrant(data)).toBe(drop === 'tunnel-unknown-type' ? 'tunnel-bad-shape' : drop);
});

test.each([
  [{ version: 2 }, 'tunnel-bad-version'], [{ version: '1' }, 'tunnel-bad-version'],
  [{ session: 'short' }, 'tunnel-bad-shape'], [{ session: 7 }, 'tunnel-bad-shape'], [{ session: ['abcdefgh'] }, 'tunnel-bad-shape'],
  [{ session: 'abcdefg\n' }, 'tunnel-bad-shape'], [{ session: 'x'.repeat(65) }, 'tunnel-bad-shape'],
  [{ token: 'x'.repeat(129) }, 'tunnel-bad-shape'], [{ token: null }, 'tunnel-bad-shape'],
  [{ mtu: 1.5 }, 'tunnel-bad-shape'], [{ mtu: 575 }, 'tunnel-bad-shape'], [{ mtu: 65_521 }, 'tunnel-bad-shape'],
  [{ mtu: '1500' }, 'tunnel-bad-shape'], [{ mtu: null }, 'tunnel-bad-shape'],
])('a hello with %j is refused', (change, drop) => {
  expect(parseClientMessage(JSON.stringify({ ...HELLO, ...change }))).toBe(drop);
});

test.each([
  [7], ['x'], [null], [[7]], [[null]], [[{}]], [[{ ...FORWARD, guest: 0 }]], [[{ ...FORWARD, guest: 65_536 }]], [[{ ...FORWARD, guest: 8.5 }]],
  [[{ ...FORWARD, host: 'x'.repeat(81) }]], [[{ ...FORWARD, protocol: 'sctp' }]], [Array.from({ length: MAX_FORWARDS + 1 }, () => FORWARD)],
])('forwards %j are refused', (forwards) => {
  expect(parseRelayMessage(JSON.stringify({ type: 'forwards', forwards }))).toMatch(/bad-shape|too-long/);
  expect(parseSessionGrant(JSON.stringify({ ...GRANT, forwards }))).toMatch(/bad-shape|too-long/);
});
