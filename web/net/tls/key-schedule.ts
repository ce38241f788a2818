/** The key schedule of TLS 1.3 (RFC 8446 §7) for TLS_AES_128_GCM_SHA256, and its record protection (§5.2). */
import { setU16, setU32 } from '../../../shared/bytes.ts';
import { concat } from './der.ts';

export type Bytes = Uint8Array<ArrayBuffer>;

export const HASH_LEN = 32;
const KEY_LEN = 16;
const IV_LEN = 12;
export const TAG_LEN = 16;
export const RECORD_HEADER_LEN = 5;
const NOTHING: Bytes = new Uint8Array(0);
const ZEROS: Bytes = new Uint8Array(HASH_LEN);

export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
}

export async function hmac(key: Bytes, data: Bytes): Promise<Bytes> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, data));
}

/** §7.1. `length` is at most one block. */
export async function expandLabel(secret: Bytes, label: string, context: Bytes, length: number): Promise<Bytes> {
  const name = new TextEncoder().encode(`tls13 ${label}`);
  const info = concat(Uint8Array.of(0, length, name.length), name, Uint8Array.of(context.length), context, Uint8Array.of(1));
  return (await hmac(secret, info)).slice(0, length);
}

export interface Secrets {
  readonly client: Bytes;
  readonly server: Bytes;
}

/** From the shared secret to the secrets of the handshake and of what follows; `transcript` is a hash each. */
export class KeySchedule {
  readonly #handshake: Bytes;

  private constructor(handshake: Bytes) {
    this.#handshake = handshake;
  }

  static async start(shared: Bytes): Promise<KeySchedule> {
    const early = await hmac(ZEROS, ZEROS);
    return new KeySchedule(await hmac(await derived(early), shared));
  }

  handshake(transcript: Bytes): Promise<Secrets> {
    return traffic(this.#handshake, 'hs', transcript);
  }

  async application(transcript: Bytes): Promise<Secrets> {
    return traffic(await hmac(await derived(this.#handshake), ZEROS), 'ap', transcript);
  }
}

async function derived(secret: Bytes): Promise<Bytes> {
  return expandLabel(secret, 'derived', await sha256(NOTHING), HASH_LEN);
}

async function traffic(secret: Bytes, phase: string, transcript: Bytes): Promise<Secrets> {
  return {
    client: await expandLabel(secret, `c ${phase} traffic`, transcript, HASH_LEN),
    server: await expandLabel(secret, `s ${phase} traffic`, transcript, HASH_LEN),
  };
}

/** §4.4.4 */
export async function finishedOf(secret: Bytes, transcript: Bytes): Promise<Bytes> {
  return hmac(await expandLabel(secret, 'finished', NOTHING, HASH_LEN), transcript);
}

/** One direction of protected records. */
export class Protection {
  readonly #secret: Bytes;
  readonly #key: CryptoKey;
  readonly #iv: Bytes;
  #sequence = 0;

  private constructor(secret: Bytes, key: CryptoKey, iv: Bytes) {
    this.#secret = secret;
    this.#key = key;
    this.#iv = iv;
  }

  static async from(secret: Bytes): Promise<Protection> {
    const key = await crypto.subtle.importKey('raw', await expandLabel(secret, 'key', NOTHING, KEY_LEN), 'AES-GCM', false, ['encrypt', 'decrypt']);
    return new Protection(secret, key, await expandLabel(secret, 'iv', NOTHING, IV_LEN));
  }

  /** §7.2 */
  async updated(): Promise<Protection> {
    return Protection.from(await expandLabel(this.#secret, 'traffic upd', NOTHING, HASH_LEN));
  }

  /** A whole record, header included. */
  async seal(type: number, content: Uint8Array): Promise<Bytes> {
    const header = Uint8Array.of(23, 3, 3, 0, 0);
    setU16(header, 3, content.length + 1 + TAG_LEN);
    const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: this.#nonce(), additionalData: header }, this.#key, concat(content, Uint8Array.of(type)));
    return concat(header, new Uint8Array(sealed));
  }

  /** Type and content of a record; null when it was not made with this key. */
  async open(header: Bytes, sealed: Bytes): Promise<{ type: number; content: Bytes } | null> {
    let inner: Bytes;
    try {
      inner = new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: this.#nonce(), additionalData: header }, this.#key, sealed));
    } catch {
      return null;
    }
    // §5.4: zeros behind the type are padding.
    let end = inner.length;
    while (end > 0 && inner[end - 1] === 0) end--;
    return end === 0 ? null : { type: inner[end - 1], content: inner.subarray(0, end - 1) };
  }

  /** §5.3 */
  #nonce(): Bytes {
    const nonce = Uint8Array.from(this.#iv);
    const sequence = new Uint8Array(8);
    setU32(sequence, 0, Math.floor(this.#sequence / 2 ** 32));
    setU32(sequence, 4, this.#sequence >>> 0);
    this.#sequence++;
    for (let i = 0; i < 8; i++) nonce[4 + i] ^= sequence[i];
    return nonce;
  }
}
