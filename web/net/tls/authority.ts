/*
 * Certificates for whatever servers a container names, by an authority that only containers of this page know (RFC 5280).
 *
 * The authority's key cannot be taken out of WebCrypto. It signs for any name, so nobody but the container may trust it: its certificate
 * goes into the container's environment and nowhere else. One key serves all servers.
 */
import { parseIpv4 } from '../../../shared/net/wire/addr.ts';
import { setIpv4 } from '../../../shared/net/wire/addr.ts';
import { bits, concat, integer, octets, oid, pem, sequence, signatureOf, time, tlv, truth, utf8 } from './der.ts';

const DAY_MS = 86_400_000;
/** of the authority; the servers' are as long */
const VALID_MS = 90 * DAY_MS;
/** certificates that are kept */
const LEAVES_MAX = 256;
const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGN = { name: 'ECDSA', hash: 'SHA-256' } as const;
const ECDSA_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

/** What is kept between pages; CryptoKeys can be, in IndexedDB. */
export interface StoredAuthority {
  readonly keys: CryptoKeyPair;
  readonly certificate: Uint8Array<ArrayBuffer>;
  readonly untilMs: number;
}

export interface ServerCertificate {
  /** the server's own, then the authority's */
  readonly chain: readonly Uint8Array[];
  readonly key: CryptoKey;
}

export async function makeAuthority(nowMs: number): Promise<StoredAuthority> {
  const keys = await crypto.subtle.generateKey(P256, false, ['sign', 'verify']);
  const name = nameOf('Portside, in this browser');
  const untilMs = nowMs + VALID_MS;
  const certificate = await sign(keys.privateKey, {
    issuer: name, subject: name, nowMs, untilMs, spki: await spkiOf(keys.publicKey),
    extensions: [
      // basicConstraints: an authority, of servers only.
      extension('2.5.29.19', true, sequence(truth(), integer(Uint8Array.of(0)))),
      // keyUsage: keyCertSign, cRLSign
      extension('2.5.29.15', true, bits(Uint8Array.of(0x06), 1)),
      extension('2.5.29.14', false, octets(await keyIdOf(keys.publicKey))),
    ],
  });
  return { keys, certificate, untilMs };
}

export class Authority {
  readonly #stored: StoredAuthority;
  #serverKeys: Promise<CryptoKeyPair> | null = null;
  /** by name; the one made first makes room */
  readonly #made = new Map<string, Promise<ServerCertificate>>();

  constructor(stored: StoredAuthority) {
    this.#stored = stored;
  }

  /** The certificate that a container has to trust. */
  get pem(): string {
    return pem('CERTIFICATE', this.#stored.certificate);
  }

  /** `host` is a name, or an IPv4 address. */
  certificateFor(host: string): Promise<ServerCertificate> {
    const known = this.#made.get(host);
    if (known !== undefined) return known;
    if (this.#made.size >= LEAVES_MAX) this.#made.delete(this.#made.keys().next().value!);
    const made = this.#make(host);
    this.#made.set(host, made);
    return made;
  }

  async #make(host: string): Promise<ServerCertificate> {
    this.#serverKeys ??= crypto.subtle.generateKey(P256, false, ['sign', 'verify']);
    const { keys, certificate, untilMs } = this.#stored;
    const server = await this.#serverKeys;
    const own = await sign(keys.privateKey, {
      issuer: nameOf('Portside, in this browser'), subject: nameOf(host.slice(0, 64)), nowMs: untilMs - VALID_MS, untilMs, spki: await spkiOf(server.publicKey),
      extensions: [
        extension('2.5.29.19', true, sequence()),
        // keyUsage: digitalSignature
        extension('2.5.29.15', true, bits(Uint8Array.of(0x80), 7)),
        // extKeyUsage: serverAuth
        extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
        extension('2.5.29.17', true, sequence(alternativeName(host))),
        extension('2.5.29.14', false, octets(await keyIdOf(server.publicKey))),
        extension('2.5.29.35', false, sequence(tlv(0x80, await keyIdOf(keys.publicKey)))),
      ],
    });
    return { chain: [own, certificate], key: server.privateKey };
  }
}

interface ToBeSigned {
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly nowMs: number;
  readonly untilMs: number;
  readonly spki: Uint8Array;
  readonly extensions: readonly Uint8Array[];
}

async function sign(key: CryptoKey, { issuer, subject, nowMs, untilMs, spki, extensions }: ToBeSigned): Promise<Uint8Array<ArrayBuffer>> {
  const serial = crypto.getRandomValues(new Uint8Array(16));
  serial[0] = (serial[0] & 0x7f) | 0x40;
  const body = sequence(
    // Version 3.
    tlv(0xa0, integer(Uint8Array.of(2))), integer(serial), ECDSA_SHA256, issuer,
    // A guest's clock may be a little behind.
    sequence(time(nowMs - DAY_MS), time(untilMs)), subject, spki, tlv(0xa3, sequence(...extensions)),
  );
  const signature = new Uint8Array(await crypto.subtle.sign(SIGN, key, body));
  return sequence(body, ECDSA_SHA256, bits(signatureOf(signature)));
}

function nameOf(commonName: string): Uint8Array {
  return sequence(tlv(0x31, sequence(oid('2.5.4.3'), utf8(commonName))));
}

function extension(id: string, isCritical: boolean, value: Uint8Array): Uint8Array {
  return sequence(oid(id), ...(isCritical ? [truth()] : []), octets(value));
}

function alternativeName(host: string): Uint8Array {
  const ip = parseIpv4(host);
  if (ip === null) return tlv(0x82, new TextEncoder().encode(host));
  const bytes = new Uint8Array(4);
  setIpv4(bytes, 0, ip);
  return tlv(0x87, bytes);
}

async function spkiOf(key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.exportKey('spki', key));
}

/** RFC 5280 §4.2.1.2, method 1. */
async function keyIdOf(key: CryptoKey): Promise<Uint8Array<ArrayBuffer>> {
  return concat(new Uint8Array(await crypto.subtle.digest('SHA-1', await crypto.subtle.exportKey('raw', key))));
}
