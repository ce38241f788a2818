/**
 * A copy of `bytes[start, end)`. Never `bytes.slice`: what comes from Node is a Buffer, whose `slice` is a view of the same
 * memory, so that what was meant to be kept would change under us.
 */
export function copyOf(bytes: Uint8Array, start = 0, end = bytes.length): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(bytes.subarray(start, end));
  return copy;
}
