import { expect, test } from 'vitest';
import { SeededRandom } from '../stack/fixture/virtual-clock.ts';
import { IdleList, type Idler } from './idle-list.ts';

class Owner implements Idler {
  older: Idler | null = null;
  newer: Idler | null = null;
}

test('against an array: added, touched and removed in any order, the oldest is the oldest', () => {
  const chance = new SeededRandom(3);
  const list = new IdleList<Owner>();
  const owners: Owner[] = [];
  for (let i = 0; i < 3000; i++) {
    const at = owners.length === 0 ? 0 : chance.u32() % owners.length;
    const what = chance.u32() % 4;
    if (what === 0 || owners.length === 0) {
      owners.push(new Owner());
      list.add(owners.at(-1)!);
    } else if (what === 1 && owners.length > 1) {
      const [gone] = owners.splice(at, 1);
      list.remove(gone);
      expect([gone.older, gone.newer]).toEqual([null, null]);
    } else {
      const [heard] = owners.splice(at, 1);
      owners.push(heard);
      list.touch(heard);
    }
    expect(list.oldest).toBe(owners[0] ?? null);
  }
  while (owners.length > 0) {
    expect(list.oldest).toBe(owners[0]);
    list.remove(owners.shift()!);
  }
  expect(list.oldest).toBeNull();
});
