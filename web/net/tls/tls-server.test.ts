import { execFile, spawn } from 'node:child_process';
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ByteReader } from '../byte-reader.ts';
import type { ByteStream } from '../page-socket.ts';
import { Authority, makeAuthority } from './authority.ts';
import { acceptTls } from './tls-server.ts';

const run = promisify(execFile);
const dir = mkdtempSync(join(tmpdir(), 'portside-tls-'));
const caFile = join(dir, 'ca.pem');
let authority: Authority;
let server: Server;
/** why handshakes came to nothing */
let failures: string[] = [];
/** server names that clients asked for */
let asked: (string | null)[] = [];

/** A socket of Node's as the page's protocols take it. */
function streamOf(socket: Socket): ByteStream {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  return {
    read: async () => {
      const { done, value } = await chunks.next();
      return done === true ? null : Uint8Array.from(value);
    },
    send: (bytes) => new Promise((resolve, reject) => { socket.write(bytes, (error) => (error === null || error === undefined ? resolve() : reject(error))); }),
    finish: () => { socket.end(); },
    abort: () => { socket.destroy(); },
    closed: new Promise((resolve) => { socket.once('close', () => resolve()); }),
  };
}

/** A request line gives back the hash of what follows it up to the end, `GET` a page of HTTP, all else its echo. */
async function serve(stream: ByteStream): Promise<void> {
  const first = await stream.read();
  if (first === null) return stream.finish();
  const start = String.fromCharCode(first[0]);
  if (start === 'G') {
    await stream.send(new TextEncoder().encode('HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n'));
    await stream.send(new Uint8Array(300_000).fill(0x61));
  } else if (start === 'H') {
    const hash = createHash('sha256').update(first);
    for (let bytes = await stream.read(); bytes !== null; bytes = await stream.read()) hash.update(bytes);
    await stream.send(new TextEncoder().encode(hash.digest('hex')));
  } else {
    for (let bytes: Uint8Array | null = first; bytes !== null; bytes = await stream.read()) await stream.send(bytes);
  }
  stream.finish();
}

beforeAll(async () => {
  authority = new Authority(await makeAuthority(Date.now()));
  writeFileSync(caFile, authority.pem);
  server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    const stream = streamOf(socket);
    void acceptTls(stream, new ByteReader(stream), (name) => {
      asked.push(name);
      return authority.certificateFor(name ?? '127.0.0.1');
    }).then(serve).catch((error: unknown) => failures.push((error as Error).message));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});
const port = (): number => (server.address() as AddressInfo).port;

function tls(options: object): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: port(), ca: authority.pem, servername: 'www.example.test', ...options }, () => resolve(socket));
    socket.on('error', reject);
  });
}

async function text(socket: TLSSocket): Promise<string> {
  let all = '';
  for await (const chunk of socket) all += (chunk as Buffer).toString('latin1');
  return all;
}

describe('real clients', () => {
  test('curl trusts the authority for the name that it asks for, and nobody else does', async () => {
    const resolve = `www.example.test:${port()}:127.0.0.1`;
    const { stdout } = await run('curl', ['-sS', '--cacert', caFile, '--resolve', resolve, `https://www.example.test:${port()}/`], { maxBuffer: 1 << 20 });
    expect(stdout).toBe('a'.repeat(300_000));
    expect((await run('curl', ['-sS', '--cacert', caFile, `https://127.0.0.1:${port()}/`], { maxBuffer: 1 << 20 })).stdout.length).toBe(300_000);
    await expect(run('curl', ['-sS', '--resolve', resolve, `https://www.example.test:${port()}/`])).rejects.toThrow(/certificate/i);
  });

  test.each([['X25519', 'X25519'], ['P-256', 'P-256'], ['X448:P-256', 'P-256'], ['P-521:X25519', 'X25519'], ['X25519:P-256', 'X25519']])('openssl with the groups %s, with a retry where the key is of another', async (groups, used) => {
    const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port()}`, '-servername', 'a.test', '-CAfile', caFile, '-verify_return_error', '-verify_hostname', 'a.test', '-groups', groups, '-tls1_3']);
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
    child.stderr.on('data', (chunk: Buffer) => { output += chunk.toString(); });
    await expect.poll(() => output).toContain('Verify return code: 0 (ok)');
    child.stdin.write('echo one\n');
    await expect.poll(() => output).toMatch(/\necho one\n/);
    // The client wants new keys, for both directions.
    child.stdin.write('K\n');
    await expect.poll(() => output).toContain('KEYUPDATE');
    child.stdin.write('echo two\n');
    await expect.poll(() => output).toMatch(/\necho two\n/);
    expect(output).toMatch(/TLS_AES_128_GCM_SHA256/);
    expect(output).toMatch(used === 'P-256' ? /(ECDH, prime256v1|P-256)/ : /X25519/);
    child.stdin.end();
    await new Promise((resolve) => { child.once('close', resolve); });
  });

  test('many bytes up, and an end without haste', async () => {
    const socket = await tls({ ALPNProtocols: ['h2', 'http/1.1'] });
    expect([socket.authorized, socket.alpnProtocol, socket.getProtocol()]).toEqual([true, 'http/1.1', 'TLSv1.3']);
    const bytes = Buffer.concat([Buffer.from('H'), randomBytes(3_000_001)]);
    socket.end(bytes);
    expect(await text(socket)).toBe(createHash('sha256').update(bytes).digest('hex'));
  });

  test('a name of any case, an address, and no name', async () => {
    asked = [];
    for (const servername of ['UPPER.Example', '']) (await tls({ servername, checkServerIdentity: () => undefined })).destroy();
    expect(asked).toEqual(['upper.example', null]);
  });
});

describe('clients that want what is not here', () => {
  test.each([
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }, /protocol version/, 'the client has no TLS 1.3'],
    ['HTTP/2 alone', { ALPNProtocols: ['h2'] }, /no application protocol/, 'only http/1.1 is spoken here'],
    ['another cipher', { ciphers: 'TLS_CHACHA20_POLY1305_SHA256', minVersion: 'TLSv1.3' }, /handshake failure/, 'the client has no AES-128-GCM'],
    ['RSA', { sigalgs: 'rsa_pss_rsae_sha256', minVersion: 'TLSv1.3' }, /handshake failure/, 'the client takes no ECDSA on P-256'],
    ['another curve', { ecdhCurve: 'P-384' }, /handshake failure/, 'no group that both have'],
  ])('%s', async (_name, options, alert, why) => {
    failures = [];
    await expect(tls(options)).rejects.toThrow(alert);
    await expect.poll(() => failures).toContain(why);
  });
});

describe('hostile bytes', () => {
  /** What comes back for these bytes, up to the end. */
  async function say(bytes: Uint8Array): Promise<Buffer> {
    const socket = connectTcp({ host: '127.0.0.1', port: port(), allowHalfOpen: true });
    socket.end(bytes);
    const parts: Buffer[] = [];
    try {
      for await (const part of socket) parts.push(part as Buffer);
    } catch {
      // A reset is an answer.
    }
    return Buffer.concat(parts);
  }

  test.each([
    ['a record that is too long', [22, 3, 1, 0x50, 0], 22], ['another version', [22, 2, 0, 0, 5, 1, 2, 3, 4, 5], 22],
    ['data before the handshake', [23, 3, 3, 0, 1, 0], 10], ['another message first', [22, 3, 3, 0, 4, 20, 0, 0, 0], 10],
    ['an empty handshake record', [22, 3, 3, 0, 0], 10], ['a message that is too long', [22, 3, 3, 0, 4, 1, 1, 0, 0], 50], ['a hello with nothing in it', [22, 3, 3, 0, 4, 1, 0, 0, 0], 50],
  ])('%s: an alert, and the end', async (_name, bytes, alert) => {
    const answer = await say(Uint8Array.from(bytes));
    expect([...answer]).toEqual([21, 3, 3, 0, 2, 2, alert]);
  });

  test('a hello that breaks off', async () => {
    failures = [];
    expect((await say(Uint8Array.of(22, 3, 3, 0, 2, 1, 0))).length).toBe(0);
    await expect.poll(() => failures).toContain('the connection ended within a handshake');
  });

  test('a record that was tampered with ends the connection', async () => {
    let isTampering = false;
    const proxy = createServer((socket) => {
      const up = connectTcp(port(), '127.0.0.1');
      socket.on('error', () => {}).on('data', (chunk: Buffer) => {
        if (isTampering) chunk[chunk.length - 1] ^= 1;
        up.write(chunk);
      });
      up.on('error', () => {}).pipe(socket);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const socket = await tls({ port: (proxy.address() as AddressInfo).port });
    isTampering = true;
    const failed = new Promise<string>((resolve) => { socket.once('error', ({ message }) => resolve(message)); });
    socket.write('secret');
    expect(await failed).toMatch(/bad record mac/);
    proxy.close();
  });
});

test('certificates are as others make them', async () => {
  const { chain } = await authority.certificateFor('www.example.test');
  const [own, ca] = chain.map((der) => new X509Certificate(der));
  expect([own.checkHost('www.example.test'), own.checkHost('other.test'), own.ca, ca.ca, own.verify(ca.publicKey), ca.verify(ca.publicKey), own.checkIssued(ca)])
    .toEqual(['www.example.test', undefined, false, true, true, true, true]);
  expect(new X509Certificate(authority.pem).fingerprint256).toBe(ca.fingerprint256);
  expect(new X509Certificate((await authority.certificateFor('192.0.2.1')).chain[0]).checkIP('192.0.2.1')).toBe('192.0.2.1');
  expect(await authority.certificateFor('www.example.test')).toBe(await authority.certificateFor('www.example.test'));
  const leaf = join(dir, 'leaf.pem');
  writeFileSync(leaf, own.toString());
  expect((await run('openssl', ['verify', '-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'www.example.test', '-CAfile', caFile, leaf])).stdout).toContain('OK');
});
