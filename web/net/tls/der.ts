/** DER (X.690) as far as certificates need it: values to bytes. */

export function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A tag, a length and what it holds. */
export function tlv(tag: number, ...content: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const value = concat(...content);
  const { length } = value;
  const head = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(tag, ...head), value);
}

export const sequence = (...content: readonly Uint8Array[]): Uint8Array<ArrayBuffer> => tlv(0x30, ...content);
export const octets = (content: Uint8Array): Uint8Array<ArrayBuffer> => tlv(0x04, content);
/** Whole bytes of bits. */
export const bits = (content: Uint8Array, unused = 0): Uint8Array<ArrayBuffer> => tlv(0x03, Uint8Array.of(unused), content);
export const truth = (): Uint8Array<ArrayBuffer> => tlv(0x01, Uint8Array.of(0xff));
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => tlv(0x0c, new TextEncoder().encode(text));

/** An unsigned number, most significant byte first. */
export function integer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const value = bytes.subarray(start);
  return tlv(0x02, value[0] >= 0x80 ? concat(Uint8Array.of(0), value) : value);
}

export function oid(text: string): Uint8Array<ArrayBuffer> {
  const [first, second, ...rest] = text.split('.').map(Number);
  const out = [40 * first + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) digits.unshift((left & 0x7f) | 0x80);
    out.push(...digits);
  }
  return tlv(0x06, Uint8Array.from(out));
}

/** RFC 5280 §4.1.2.5: two-digit years until 2049. */
export function time(ms: number): Uint8Array<ArrayBuffer> {
  const digits = `${new Date(ms).toISOString().replace(/\D/g, '').slice(0, 14)}Z`;
  const isShort = digits < '2050';
  return tlv(isShort ? 0x17 : 0x18, new TextEncoder().encode(isShort ? digits.slice(2) : digits));
}

/** A signature as WebCrypto gives it, two numbers side by side, as certificates and TLS want it. */
export function signatureOf(pair: Uint8Array): Uint8Array<ArrayBuffer> {
  return sequence(integer(pair.subarray(0, pair.length / 2)), integer(pair.subarray(pair.length / 2)));
}

export function pem(label: string, der: Uint8Array): string {
  const base64 = btoa(Array.from(der, (byte) => String.fromCharCode(byte)).join(''));
  return `-----BEGIN ${label}-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END ${label}-----\n`;
}
