/** Mutations of bytes that know nothing of what they mean. */
import type { Chance } from './chance.ts';

/** Longer inputs are cut: what matters fits, and runs stay short. */
export const INPUT_MAX = 64 * 1024;

/** A mutation of `input`, which stays as it is; `other` lends pieces. */
export function mutateBytes(input: Uint8Array, other: Uint8Array, chance: Chance): Uint8Array {
  let bytes = Uint8Array.from(input);
  for (let count = 1 + chance.below(chance.oneIn(4) ? 12 : 3); count > 0; count--) bytes = mutateOnce(bytes, other, chance);
  return bytes.subarray(0, INPUT_MAX);
}

function mutateOnce(bytes: Uint8Array<ArrayBuffer>, other: Uint8Array, chance: Chance): Uint8Array<ArrayBuffer> {
  const at = chance.below(bytes.length + 1);
  const len = chance.below(Math.min(bytes.length - at, chance.pick([1, 4, 16, 64])) + 1);
  switch (chance.below(9)) {
    case 0: if (at < bytes.length) bytes[at] ^= 1 << chance.below(8); return bytes;
    case 1: if (at < bytes.length) bytes[at] = chance.edge(1); return bytes;
    case 2: return putNumber(bytes, at, 2, chance.edge(2));
    case 3: return putNumber(bytes, at, 4, chance.edge(4));
    case 4: return bytes.slice(0, at);
    case 5: return splice(bytes, at, len, new Uint8Array(0));
    case 6: return splice(bytes, at, 0, bytes.subarray(at, at + len));
    case 7: return splice(bytes, at, 0, chance.bytes(chance.pick([1, 2, 4, 20, 64])));
    default: {
      const from = chance.below(other.length + 1);
      return splice(bytes, at, chance.oneIn(2) ? len : 0, other.subarray(from, from + chance.pick([1, 4, 20, 100])));
    }
  }
}

/** big-endian, as far as there is room */
function putNumber(bytes: Uint8Array<ArrayBuffer>, at: number, size: number, value: number): Uint8Array<ArrayBuffer> {
  for (let i = 0; i < size && at + i < bytes.length; i++) bytes[at + i] = Math.floor(value / 2 ** (8 * (size - 1 - i)));
  return bytes;
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length - remove + insert.length);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(bytes.subarray(at + remove), at + insert.length);
  return out;
}
