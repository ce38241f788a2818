/**
 * Big-endian access at `off` in `bytes`.
 *
 * Bounds are the caller's: a View checks its length once, then reads freely. Offsets are absolute in `bytes`.
 */

export function getU16(bytes: Uint8Array, off: number): number {
  return (bytes[off] << 8) | bytes[off + 1];
}

/** An unsigned number, 0 to 2^32 - 1 */
export function getU32(bytes: Uint8Array, off: number): number {
  return ((bytes[off] << 24) | (bytes[off + 1] << 16) | (bytes[off + 2] << 8) | bytes[off + 3]) >>> 0;
}

export function setU16(bytes: Uint8Array, off: number, value: number): void {
  bytes[off] = value >>> 8;
  bytes[off + 1] = value;
}

export function setU32(bytes: Uint8Array, off: number, value: number): void {
  bytes[off] = value >>> 24;
  bytes[off + 1] = value >>> 16;
  bytes[off + 2] = value >>> 8;
  bytes[off + 3] = value;
}
