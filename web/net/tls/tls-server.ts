/*
 * TLS 1.3 as a server (RFC 8446), for what containers send to port 443: the page is the proxy that sees HTTP in it.
 *
 * Theory of operation
 *
 *   client                                   here
 *   ClientHello ───────────────────────────▶ choose: cipher, group, certificate by the name that is asked for
 *        ◀──────────────── HelloRetryRequest │ where the group that we want came without a key
 *   ClientHello ───────────────────────────▶ │
 *        ◀── ServerHello, [ChangeCipherSpec] │ from here on with the handshake's keys
 *        ◀── EncryptedExtensions, Certificate, CertificateVerify, Finished
 *   [ChangeCipherSpec], Finished ──────────▶ verified; from here on with the application's keys
 *   application data ◀────────────────────▶ TlsStream
 *
 * One of each: TLS_AES_128_GCM_SHA256, which every client must have; X25519 where this browser has it, or P-256; a certificate with
 * ECDSA on P-256. Left out: TLS 1.2, resumption, early data, client certificates. What a client wants beyond that ends with an alert that
 * names it.
 *
 * The client is a guest. Each message has a limit, an order and an alert for its breach; a record that does not open ends the connection.
 * Records are sealed one behind the other, whoever sends: `#sending` is the queue.
 */
import { getU16, setU16 } from '../../../shared/bytes.ts';
import { ConnectionLost, type ByteStream } from '../page-socket.ts';
import { ProtocolError, type ByteReader } from '../byte-reader.ts';
import type { ServerCertificate } from './authority.ts';
import { GROUP_P256, GROUP_X25519, parseClientHello, type ClientHello } from './client-hello.ts';
import { concat, signatureOf } from './der.ts';
import type { Bytes } from './key-schedule.ts';
import { finishedOf, KeySchedule, Protection, RECORD_HEADER_LEN, sha256, TAG_LEN } from './key-schedule.ts';

const CONTENT_CHANGE_CIPHER_SPEC = 20;
const CONTENT_ALERT = 21;
const CONTENT_HANDSHAKE = 22;
const CONTENT_DATA = 23;

const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;
const ENCRYPTED_EXTENSIONS = 8;
const CERTIFICATE = 11;
const CERTIFICATE_VERIFY = 15;
const FINISHED = 20;
const KEY_UPDATE = 24;
const MESSAGE_HASH = 254;

const TLS_1_3 = 0x0304;
const AES_128_GCM_SHA256 = 0x1301;
const ECDSA_P256_SHA256 = 0x0403;

/** RFC 8446 §6 */
const ALERTS = {
  close_notify: 0, unexpected_message: 10, bad_record_mac: 20, record_overflow: 22, handshake_failure: 40, illegal_parameter: 47, decode_error: 50,
  decrypt_error: 51, protocol_version: 70, internal_error: 80, missing_extension: 109, no_application_protocol: 120,
} as const;

/** RFC 8446 §4.1.3: what ServerHello carries for its random when it is a HelloRetryRequest. */
const RETRY_RANDOM = Uint8Array.of(
  0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
);

/** longest handshake message that is read, in `bytes` */
const MESSAGE_MAX = 16_384;
const PLAIN_MAX = 16_384;
/** RFC 8446 §5.2 */
const SEALED_MAX = PLAIN_MAX + 256;
/** key updates and empty records in a row, after which nothing was said for too long */
const IDLE_RECORDS_MAX = 32;

type AlertName = keyof typeof ALERTS;

class TlsAlert extends ProtocolError {
  readonly alert: AlertName;

  constructor(alert: AlertName, why: string) {
    super(why);
    this.alert = alert;
  }
}

/**
 * Speaks the handshake; resolves with the stream of what is in the records. `reader` reads `stream`. `certificateFor` gets the name that the
 * client asks for, or null. Rejects when it came to nothing, after an alert.
 */
export async function acceptTls(stream: ByteStream, reader: ByteReader, certificateFor: (serverName: string | null) => Promise<ServerCertificate>): Promise<ByteStream> {
  const connection = new Connection(stream, reader);
  try {
    await handshake(connection, certificateFor);
    return new TlsStream(connection);
  } catch (error) {
    await connection.fail(error);
    throw error;
  }
}

// ---- handshake ----

interface Choice {
  readonly group: number;
  readonly share: Uint8Array;
}

async function handshake(connection: Connection, certificateFor: (serverName: string | null) => Promise<ServerCertificate>): Promise<void> {
  const transcript: Bytes[] = [];
  const read = async (type: number): Promise<Bytes> => {
    const heard = await connection.message();
    if (heard[0] !== type) throw new TlsAlert('unexpected_message', `message ${heard[0]} instead of ${type}`);
    transcript.push(heard);
    return heard;
  };
  const send = async (said: Bytes): Promise<void> => {
    transcript.push(said);
    await connection.sendHandshake(said);
  };
  const hash = (): Promise<Bytes> => sha256(concat(...transcript));

  let hello = judge(await read(CLIENT_HELLO));
  const isCompatible = hello.sessionId.length > 0;
  let choice = await choose(hello);
  if (choice.share.length === 0) {
    // §4.4.1: the first ClientHello counts by its hash.
    transcript.splice(0, 1, message(MESSAGE_HASH, await hash()));
    await send(serverHello(hello, RETRY_RANDOM, extension(51, u16(choice.group))));
    if (isCompatible) await connection.sendPlain(CONTENT_CHANGE_CIPHER_SPEC, Uint8Array.of(1));
    const wanted = choice.group;
    hello = judge(await read(CLIENT_HELLO));
    choice = { group: wanted, share: hello.shares.get(wanted) ?? new Uint8Array(0) };
    if (choice.share.length === 0) throw new TlsAlert('illegal_parameter', 'no key of the group that was asked for');
  } else if (isCompatible) connection.wantsChangeCipherSpec = true;

  const { publicKey, shared } = await agree(choice);
  const protocol = protocolOf(hello);
  const certificate = await certificateFor(hello.serverName);
  await send(serverHello(hello, crypto.getRandomValues(new Uint8Array(32)), extension(51, u16(choice.group), vector(2, publicKey))));
  await connection.changeCipherSpecOnce();
  const schedule = await KeySchedule.start(shared);
  const secrets = await schedule.handshake(await hash());
  connection.writing = await Protection.from(secrets.server);
  connection.reading = await Protection.from(secrets.client);
  connection.recordMax = hello.recordMax;
  await send(message(ENCRYPTED_EXTENSIONS, vector(2, protocol === null ? new Uint8Array(0) : extension(16, vector(2, vector(1, new TextEncoder().encode(protocol)))))));
  await send(message(CERTIFICATE, Uint8Array.of(0), vector(3, ...certificate.chain.map((der) => concat(vector(3, der), u16(0))))));
  const signed = concat(new Uint8Array(64).fill(0x20), new TextEncoder().encode('TLS 1.3, server CertificateVerify'), Uint8Array.of(0), await hash());
  const signature = signatureOf(new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, certificate.key, signed)));
  await send(message(CERTIFICATE_VERIFY, u16(ECDSA_P256_SHA256), vector(2, signature)));
  await send(message(FINISHED, await finishedOf(secrets.server, await hash())));
  const application = await schedule.application(await hash());
  const expected = await finishedOf(secrets.client, await hash());
  connection.writing = await Protection.from(application.server);
  const finished = await read(FINISHED);
  if (!isSame(finished.subarray(4), expected)) throw new TlsAlert('decrypt_error', 'a wrong Finished');
  connection.reading = await Protection.from(application.client);
}

function judge(bytes: Bytes): ClientHello {
  const hello = parseClientHello(bytes.subarray(4));
  if (typeof hello === 'string') throw new TlsAlert('decode_error', hello);
  if (!hello.versions.includes(TLS_1_3)) throw new TlsAlert('protocol_version', 'the client has no TLS 1.3');
  if (!hello.ciphers.includes(AES_128_GCM_SHA256)) throw new TlsAlert('handshake_failure', 'the client has no AES-128-GCM');
  if (!hello.signatures.includes(ECDSA_P256_SHA256)) throw new TlsAlert('handshake_failure', 'the client takes no ECDSA on P-256');
  return hello;
}

let x25519: Promise<boolean> | null = null;

/** Not all browsers have it. */
function hasX25519(): Promise<boolean> {
  x25519 ??= crypto.subtle.generateKey('X25519', false, ['deriveBits']).then(() => true, () => false);
  return x25519;
}

/** A group that both have, one that came with a key if there is one; else `share` is empty. */
async function choose(hello: ClientHello): Promise<Choice> {
  const groups = [...await hasX25519() ? [GROUP_X25519] : [], GROUP_P256].filter((group) => hello.groups.includes(group));
  const group = groups.find((known) => hello.shares.has(known)) ?? groups[0];
  if (group === undefined) throw new TlsAlert('handshake_failure', 'no group that both have');
  return { group, share: hello.shares.get(group) ?? new Uint8Array(0) };
}

async function agree({ group, share }: Choice): Promise<{ publicKey: Bytes; shared: Bytes }> {
  const algorithm = group === GROUP_X25519 ? { name: 'X25519' } : { name: 'ECDH', namedCurve: 'P-256' };
  const own = await crypto.subtle.generateKey(algorithm, false, ['deriveBits']) as CryptoKeyPair;
  let shared: ArrayBuffer;
  try {
    const theirs = await crypto.subtle.importKey('raw', concat(share), algorithm, false, []);
    shared = await crypto.subtle.deriveBits({ name: algorithm.name, public: theirs }, own.privateKey, 256);
  } catch {
    throw new TlsAlert('illegal_parameter', 'a key that is none');
  }
  return { publicKey: new Uint8Array(await crypto.subtle.exportKey('raw', own.publicKey)), shared: new Uint8Array(shared) };
}

function protocolOf(hello: ClientHello): string | null {
  if (hello.protocols === null) return null;
  if (!hello.protocols.includes('http/1.1')) throw new TlsAlert('no_application_protocol', 'only http/1.1 is spoken here');
  return 'http/1.1';
}

function serverHello(hello: ClientHello, random: Uint8Array, keyShare: Uint8Array): Bytes {
  return message(SERVER_HELLO, u16(0x0303), random, vector(1, hello.sessionId), u16(AES_128_GCM_SHA256), Uint8Array.of(0), vector(2, extension(43, u16(TLS_1_3)), keyShare));
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) difference |= a[i] ^ b[i];
  return difference === 0;
}

// ---- records ----

/** The records of one connection, in both directions, and the handshake messages in them. */
class Connection {
  reading: Protection | null = null;
  writing: Protection | null = null;
  recordMax = PLAIN_MAX;
  wantsChangeCipherSpec = false;
  readonly stream: ByteStream;
  readonly #reader: ByteReader;
  /** of handshake messages, not taken yet */
  #messages: Bytes = new Uint8Array(0);
  #sending: Promise<void> = Promise.resolve();

  constructor(stream: ByteStream, reader: ByteReader) {
    this.stream = stream;
    this.#reader = reader;
  }

  /** The next handshake message, header included. */
  async message(): Promise<Bytes> {
    for (;;) {
      const taken = this.takeMessage();
      if (taken !== null) return taken;
      const record = await this.record();
      if (record === null) throw new ProtocolError('the connection ended within a handshake');
      if (record.type === CONTENT_ALERT) throw new ProtocolError(`the client gave up (alert ${record.content[1]})`);
      if (record.type !== CONTENT_HANDSHAKE || record.content.length === 0) throw new TlsAlert('unexpected_message', `content ${record.type} within a handshake`);
      this.addHandshake(record.content);
    }
  }

  addHandshake(content: Bytes): void {
    this.#messages = concat(this.#messages, content);
    if (this.#messages.length > MESSAGE_MAX + 4) throw new TlsAlert('decode_error', 'a handshake message is too long');
  }

  /** Null: none has come in full. */
  takeMessage(): Bytes | null {
    const bytes = this.#messages;
    if (bytes.length < 4) return null;
    const end = 4 + (bytes[1] << 16 | getU16(bytes, 2));
    if (end > MESSAGE_MAX + 4) throw new TlsAlert('decode_error', 'a handshake message is too long');
    if (bytes.length < end) return null;
    this.#messages = bytes.slice(end);
    return bytes.slice(0, end);
  }

  /** Type and content of the next record, opened if it is sealed; null at the end. */
  async record(): Promise<{ type: number; content: Bytes } | null> {
    for (;;) {
      const header = await this.#reader.exactly(RECORD_HEADER_LEN);
      if (header === null) return null;
      const length = getU16(header, 3);
      if (header[1] !== 3 || length > (this.reading === null ? PLAIN_MAX : SEALED_MAX)) throw new TlsAlert('record_overflow', 'no record of TLS');
      const content = length === 0 ? new Uint8Array(0) : await this.#reader.exactly(length);
      if (content === null) throw new ProtocolError('the connection ended within a record');
      const type = header[0];
      // §5: middleboxes want to see it; it means nothing.
      if (type === CONTENT_CHANGE_CIPHER_SPEC && length === 1 && content[0] === 1) continue;
      if (this.reading === null) {
        if (type !== CONTENT_HANDSHAKE && type !== CONTENT_ALERT) throw new TlsAlert('unexpected_message', `a record of type ${type}`);
        return { type, content };
      }
      if (type !== CONTENT_DATA || length < TAG_LEN + 1) throw new TlsAlert('unexpected_message', 'a record that is not sealed');
      const opened = await this.reading.open(header, content);
      if (opened === null) throw new TlsAlert('bad_record_mac', 'a record that does not open');
      if (opened.content.length > PLAIN_MAX) throw new TlsAlert('record_overflow', 'a record is too long');
      return opened;
    }
  }

  sendPlain(type: number, content: Uint8Array): Promise<void> {
    return this.#queue(() => this.#write(type, content, null));
  }

  sendHandshake(content: Bytes): Promise<void> {
    return this.send(CONTENT_HANDSHAKE, content);
  }

  async changeCipherSpecOnce(): Promise<void> {
    if (!this.wantsChangeCipherSpec) return;
    this.wantsChangeCipherSpec = false;
    await this.sendPlain(CONTENT_CHANGE_CIPHER_SPEC, Uint8Array.of(1));
  }

  /** In as many records as it takes, with the keys of now. */
  send(type: number, content: Uint8Array): Promise<void> {
    return this.#queue(async () => {
      for (let at = 0; at < content.length; at += this.recordMax) await this.#write(type, content.subarray(at, at + this.recordMax), this.writing);
    });
  }

  /** New keys for what is sent from now on. */
  updateKeys(): Promise<void> {
    return this.#queue(async () => {
      await this.#write(CONTENT_HANDSHAKE, message(KEY_UPDATE, Uint8Array.of(0)), this.writing);
      this.writing = await this.writing!.updated();
    });
  }

  async sendAlert(name: AlertName): Promise<void> {
    await this.send(CONTENT_ALERT, Uint8Array.of(name === 'close_notify' ? 1 : 2, ALERTS[name])).catch(() => undefined);
  }

  /** Tells the client why, as far as it can be told, and ends. */
  async fail(error: unknown): Promise<void> {
    if (error instanceof TlsAlert) {
      await this.sendAlert(error.alert);
      this.stream.finish();
    } else {
      this.stream.abort();
    }
  }

  async #write(type: number, content: Uint8Array, protection: Protection | null): Promise<void> {
    if (protection !== null) return this.stream.send(await protection.seal(type, content));
    return this.stream.send(concat(Uint8Array.of(type, 3, 3), u16(content.length), content));
  }

  #queue(fn: () => Promise<void>): Promise<void> {
    const done = this.#sending.then(fn);
    this.#sending = done.catch(() => undefined);
    return done;
  }
}

/** What is in the records. */
class TlsStream implements ByteStream {
  readonly closed: Promise<void>;
  readonly #connection: Connection;
  #isEnded = false;
  #isFinished = false;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.closed = connection.stream.closed;
  }

  async read(): Promise<Uint8Array | null> {
    try {
      for (let idle = 0; !this.#isEnded; idle++) {
        if (idle > IDLE_RECORDS_MAX) throw new TlsAlert('unexpected_message', 'records without anything in them');
        const record = await this.#connection.record();
        // Without close_notify it may have been cut off: HTTP's own lengths tell.
        if (record === null) break;
        if (record.type === CONTENT_DATA && record.content.length > 0) return record.content;
        await this.#onOther(record);
      }
    } catch (error) {
      await this.#connection.fail(error);
      throw error;
    }
    this.#isEnded = true;
    return null;
  }

  send(bytes: Uint8Array): Promise<void> {
    if (this.#isFinished) return Promise.reject(new ConnectionLost());
    return this.#connection.send(CONTENT_DATA, bytes);
  }

  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    void this.#connection.sendAlert('close_notify').then(() => this.#connection.stream.finish());
  }

  abort(): void {
    this.#connection.stream.abort();
  }

  async #onOther({ type, content }: { type: number; content: Bytes }): Promise<void> {
    if (type === CONTENT_ALERT) {
      if (content.length !== 2 || (content[1] !== ALERTS.close_notify && content[0] !== 1)) throw new ProtocolError(`alert ${content[1]} of the client`);
      this.#isEnded ||= content[1] === ALERTS.close_notify;
    } else if (type === CONTENT_HANDSHAKE) {
      this.#connection.addHandshake(content);
      for (let taken = this.#connection.takeMessage(); taken !== null; taken = this.#connection.takeMessage()) await this.#onKeyUpdate(taken);
    } else if (type !== CONTENT_DATA) {
      throw new TlsAlert('unexpected_message', `content ${type}`);
    }
  }

  /** RFC 8446 §4.6.3, the only message that a client may send now. */
  async #onKeyUpdate(update: Bytes): Promise<void> {
    if (update[0] !== KEY_UPDATE || update.length !== 5 || update[4] > 1) throw new TlsAlert('unexpected_message', `message ${update[0]} after the handshake`);
    this.#connection.reading = await this.#connection.reading!.updated();
    if (update[4] === 1) await this.#connection.updateKeys();
  }
}

// ---- bytes ----

function u16(value: number): Bytes {
  const out = new Uint8Array(2);
  setU16(out, 0, value);
  return out;
}

function vector(lengthBytes: 1 | 2 | 3, ...content: readonly Uint8Array[]): Bytes {
  const value = concat(...content);
  const head = Uint8Array.of(value.length >> 16, value.length >> 8, value.length).subarray(3 - lengthBytes);
  return concat(head, value);
}

function message(type: number, ...content: readonly Uint8Array[]): Bytes {
  return concat(Uint8Array.of(type), vector(3, ...content));
}

function extension(type: number, ...content: readonly Uint8Array[]): Bytes {
  return concat(u16(type), vector(2, ...content));
}
