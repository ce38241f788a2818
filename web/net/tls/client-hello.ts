/*
 * ClientHello (RFC 8446 §4.1.2), read as far as our server chooses by it. Never throws: a Drop, or a message in which what we do not know
 * is left out.
 */
import { getU16 } from '../../../shared/bytes.ts';
import { latin1 } from '../http1.ts';

export const GROUP_P256 = 0x0017;
export const GROUP_X25519 = 0x001d;

export interface ClientHello {
  readonly sessionId: Uint8Array;
  readonly ciphers: readonly number[];
  readonly versions: readonly number[];
  readonly groups: readonly number[];
  readonly signatures: readonly number[];
  /** public keys, by group */
  readonly shares: ReadonlyMap<number, Uint8Array>;
  /** lower case; null: none was named, or it is no name */
  readonly serverName: string | null;
  /** null: the client does not ask */
  readonly protocols: readonly string[] | null;
  /** largest record that it takes, without its type, in `bytes` */
  readonly recordMax: number;
}

const RECORD_MAX = 16_384;
const SERVER_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*$/;

/** Walks over bytes; the first step beyond the end makes everything wrong. */
class Cursor {
  ok = true;
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isEnd(): boolean {
    return !this.ok || this.#at >= this.#end;
  }

  u8(): number {
    return this.take(1)[0] ?? 0;
  }

  u16(): number {
    const bytes = this.take(2);
    return bytes.length === 2 ? getU16(bytes, 0) : 0;
  }

  take(length: number): Uint8Array {
    if (!this.ok || this.#at + length > this.#end) {
      this.ok = false;
      return new Uint8Array(0);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** What stands behind a length of one or two bytes. */
  vector(lengthBytes: 1 | 2): Cursor {
    const inner = new Cursor(this.take(lengthBytes === 1 ? this.u8() : this.u16()));
    inner.ok = this.ok;
    return inner;
  }

  bytes(lengthBytes: 1 | 2): Uint8Array {
    return this.take(lengthBytes === 1 ? this.u8() : this.u16());
  }

  /** All that is left, in words of two bytes. */
  words(): number[] {
    const words: number[] = [];
    while (!this.isEnd) words.push(this.u16());
    return this.ok ? words : [];
  }
}

/** `body` is the message without its type and length. */
export function parseClientHello(body: Uint8Array): ClientHello | 'tls-client-hello' {
  const hello = new Cursor(body);
  if (hello.u16() !== 0x0303) return 'tls-client-hello';
  hello.take(32);
  const sessionId = hello.bytes(1);
  const ciphers = hello.vector(2).words();
  hello.bytes(1);
  if (!hello.ok || sessionId.length > 32) return 'tls-client-hello';
  const found = {
    versions: [] as number[], groups: [] as number[], signatures: [] as number[], shares: new Map<number, Uint8Array>(),
    serverName: null as string | null, protocols: null as string[] | null, recordMax: RECORD_MAX,
  };
  const extensions = hello.isEnd ? new Cursor(body, body.length) : hello.vector(2);
  const seen = new Set<number>();
  while (!extensions.isEnd) {
    const type = extensions.u16();
    const data = extensions.vector(2);
    // §4.2: one of each kind.
    if (!extensions.ok || seen.has(type)) return 'tls-client-hello';
    seen.add(type);
    readExtension(type, data, found);
    if (!data.ok) return 'tls-client-hello';
  }
  return extensions.ok && hello.isEnd ? { sessionId, ciphers, ...found } : 'tls-client-hello';
}

function readExtension(type: number, data: Cursor, found: { -readonly [K in keyof Omit<ClientHello, 'sessionId' | 'ciphers'>]: ClientHello[K] } & { shares: Map<number, Uint8Array> }): void {
  switch (type) {
    case 0: {
      for (const names = data.vector(2); !names.isEnd;) {
        const kind = names.u8();
        const name = latin1(names.bytes(2)).toLowerCase();
        if (names.ok && kind === 0 && SERVER_NAME.test(name)) found.serverName ??= name;
      }
      return;
    }
    case 10: found.groups = data.vector(2).words(); return;
    case 13: found.signatures = data.vector(2).words(); return;
    case 16: {
      const protocols: string[] = [];
      for (const list = data.vector(2); !list.isEnd;) protocols.push(latin1(list.bytes(1)));
      found.protocols = protocols;
      return;
    }
    case 28: found.recordMax = Math.min(RECORD_MAX, Math.max(63, data.u16() - 1)); return;
    case 43: found.versions = data.vector(1).words(); return;
    case 51: {
      for (const list = data.vector(2); !list.isEnd;) {
        const group = list.u16();
        const key = list.bytes(2);
        if (list.ok && !found.shares.has(group)) found.shares.set(group, key);
      }
    }
  }
}
