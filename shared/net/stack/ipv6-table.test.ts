import { expect, test } from 'vitest';
import { isUnicast, parseIpv4 } from '../wire/addr.ts';
import type { Ipv6 } from '../wire/addr6.ts';
import { formatIpv6, parseIpv6 } from '../wire/addr6.ts';
import { ip } from './fixture/frames.ts';
import { SeededRandom } from './fixture/virtual-clock.ts';
import type { Ipv6Handle } from './ipv6-table.ts';
import { asV4, asV6, Ipv6Table, isV6 } from './ipv6-table.ts';

const A = parseIpv6('fd70:6f72:7473::3')!;

test('an address keeps its handle while somebody holds it, and no longer', () => {
  const table = new Ipv6Table(new SeededRandom(1));
  const handle = table.acquireAddress(A)!;
  expect([isV6(handle), table.acquireAddress(A), table.size, table.holdersOf(handle), table.addressOf(handle)]).toEqual([true, handle, 1, 2, A]);
  expect([table.retainIf(handle, ...A), table.retainIf(handle, 1, 2, 3, 4), table.retainIf((handle + 1) as Ipv6Handle, ...A)]).toEqual([true, false, false]);
  for (let i = 0; i < 3; i++) table.release(handle);
  expect([table.size, table.retainIf(handle, ...A), table.retainIf(handle, 0, 0, 0, 0)]).toEqual([0, false, false]);
  expect(table.acquire(9, 9, 9, 9)).toBe(handle);
});

test('IPv4 addresses pass through', () => {
  const table = new Ipv6Table(new SeededRandom(1));
  const v4 = ip('192.168.127.3');
  table.retain(v4);
  table.release(v4);
  expect([table.size, table.checksumWordOf(v4), table.identityOf(v4), isV6(v4)]).toEqual([0, v4, v4, false]);
});

test('no address that flows know is taken for a handle, and families are not mixed', () => {
  const table = new Ipv6Table(new SeededRandom(1));
  const handle = table.acquireAddress(A)!;
  for (const text of ['1.0.0.0', '126.255.255.255', '128.0.0.0', '223.255.255.255']) expect([isUnicast(ip(text)), isV6(ip(text))]).toEqual([true, false]);
  for (const text of ['0.0.0.0', '0.255.255.255', '127.0.0.1', '224.0.0.0', '239.255.255.255', '240.0.0.0', '240.255.255.255', '255.255.255.255']) expect(isUnicast(parseIpv4(text)!)).toBe(false);
  expect([asV6(handle), asV4(ip('10.0.0.1'))]).toEqual([handle, ip('10.0.0.1')]);
  expect(() => asV4(handle)).toThrow('an IPv6 address beside an IPv4 one');
  expect(() => asV6(ip('10.0.0.1'))).toThrow('an IPv4 address beside an IPv6 one');
});

test('the cap', () => {
  const table = new Ipv6Table(new SeededRandom(1), 100);
  const handles = Array.from({ length: 100 }, (_, i) => table.acquire(1, 2, 3, i)!);
  expect([new Set(handles).size, table.acquire(1, 2, 3, 100), table.acquire(1, 2, 3, 50)]).toEqual([100, null, handles[50]]);
  table.release(handles[7]);
  expect([table.acquire(1, 2, 3, 100), table.acquire(1, 2, 3, 101)]).toEqual([handles[7], null]);
});

test('a long life against a map: growth, chains, reuse', () => {
  const chance = new SeededRandom(3);
  const table = new Ipv6Table(new SeededRandom(2));
  const held = new Map<string, { handle: Ipv6Handle; count: number; ip: Ipv6 }>();
  for (let step = 0; step < 60_000; step++) {
    const address = [0xfd000000, chance.u32() % 3, 0x80000000, chance.u32() % 400] as const;
    const key = formatIpv6(address);
    const known = held.get(key);
    if (chance.u32() % 5 < (step < 30_000 ? 3 : 2)) {
      const handle = table.acquireAddress(address)!;
      if (known === undefined) held.set(key, { handle, count: 1, ip: address });
      else {
        expect(handle).toBe(known.handle);
        known.count++;
      }
    } else if (known !== undefined) {
      table.release(known.handle);
      if (--known.count === 0) held.delete(key);
    }
  }
  expect([table.size, held.size > 200, new Set([...held.values()].map(({ handle }) => handle)).size]).toEqual([held.size, true, held.size]);
  for (const { handle, ip: address, count } of held.values()) expect([table.addressOf(handle), table.holdersOf(handle)]).toEqual([address, count]);
});
