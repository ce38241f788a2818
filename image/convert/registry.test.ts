/*
 * Registries: Debian's docker-registry on this computer, open and with a token server of our own making in front; and a server that
 * does what a registry shouldn't. Needs docker-registry, skopeo and openssl (says so where they are missing).
 */
import { execFile, execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { ImageBuildError } from '../image-error.ts';
import { BlobShelf, INDEX, MANIFEST, tarOf } from './fixture.ts';
import { openRegistry, parseReference, type RegistryOptions } from './registry.ts';
import type { ContainerImage } from './oci.ts';

const RISCV = { os: 'linux', architecture: 'riscv64', variant: null };
const LAYER = tarOf([{ path: 'a', data: 'hello' }, { path: 'noise', data: createHash('sha512').update('x').digest('hex').repeat(2000) }]);
const missing = [['docker-registry', '--version'], ['skopeo', '--version'], ['openssl', 'version']].filter(([tool, flag]) => spawnSync(tool, [flag]).error !== undefined).map(([tool]) => tool);
if (missing.length > 0) console.warn(`registries are tested only in part: no ${missing.join(', ')}`);

let dir: string;
let blobDir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'portside-registry-'));
  blobDir = join(dir, 'blobs');
});
afterEach(() => rmSync(blobDir, { recursive: true, force: true }));
afterAll(() => rmSync(dir, { recursive: true }));

const open = (reference: string, options: Partial<RegistryOptions> = {}): Promise<ContainerImage> =>
  openRegistry(parseReference(reference), { platform: RISCV, plainHttp: false, credentials: null, blobDir, maxBytes: 1e8, report: () => undefined, ...options });

/** All layers, read and compared with the digests of the manifest. */
async function readAll(reference: string, options: Partial<RegistryOptions> = {}): Promise<Buffer[]> {
  const image = await open(reference, options);
  const layers: Buffer[] = [];
  for (const layer of image.layers) layers.push(Buffer.from(await layer.read()));
  await image.forget!();
  return layers;
}

describe.skipIf(missing.length > 0)('docker-registry', () => {
  const started: ChildProcess[] = [];
  let tokens: Server;
  let openHost: string;
  let closedHost: string;
  let asked: string[];

  beforeAll(async () => {
    const layout = join(dir, 'layout');
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
    const shelf = new BlobShelf();
    const riscv64 = shelf.addImage({}, [LAYER], gzipSync, '+gzip');
    const amd64 = shelf.addImage({ architecture: 'amd64' }, [tarOf([{ path: 'b' }])], gzipSync, '+gzip');
    const both = shelf.addJson({ schemaVersion: 2, mediaType: INDEX, manifests: [{ ...amd64, platform: { os: 'linux', architecture: 'amd64' } }, { ...riscv64, platform: { os: 'linux', architecture: 'riscv64' } }] }, INDEX);
    for (const [digest, bytes] of shelf.blobs) writeFileSync(join(layout, 'blobs', digest.replace(':', '/')), bytes);
    const ref = (name: string): object => ({ annotations: { 'org.opencontainers.image.ref.name': name } });
    writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [{ ...riscv64, ...ref('one') }, { ...amd64, ...ref('amd64') }, { ...both, ...ref('both') }] }));
    writeFileSync(join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');

    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=portside-test', '-keyout', join(dir, 'key.pem'), '-out', join(dir, 'cert.pem')], { stdio: 'ignore' });
    asked = [];
    tokens = createServer((request, response) => answerToken(request, response));
    tokens.listen(0, '127.0.0.1');
    await once(tokens, 'listening');
    const storage = `storage:\n  filesystem:\n    rootdirectory: ${join(dir, 'storage')}\n`;
    openHost = await startRegistry(storage);
    closedHost = await startRegistry(`${storage}auth:\n  token:\n    realm: http://127.0.0.1:${(tokens.address() as AddressInfo).port}/token?x=1\n    service: "portside test"\n    issuer: portside-test\n    rootcertbundle: ${join(dir, 'cert.pem')}\n`);
    for (const tag of ['one', 'amd64', 'both']) {
      await promisify(execFile)('skopeo', ['--insecure-policy', 'copy', '--quiet', '--all', '--dest-tls-verify=false', `oci:${layout}:${tag}`, `docker://${openHost}/team/app:${tag}`]);
    }
  });
  afterAll(async () => {
    for (const child of started) {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    tokens.close();
  });

  async function startRegistry(config: string): Promise<string> {
    const probe = createTcpServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    const file = join(dir, `registry-${port}.yml`);
    writeFileSync(file, `version: 0.1\nlog:\n  accesslog:\n    disabled: true\n${config}http:\n  addr: 127.0.0.1:${port}\n`);
    const child = spawn('docker-registry', ['serve', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    started.push(child);
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await vi.waitFor(async () => {
      if (child.exitCode !== null) throw new Error(`docker-registry ended: ${said}`);
      await fetch(`http://127.0.0.1:${port}/v2/`);
    }, { timeout: 20_000 });
    return `127.0.0.1:${port}`;
  }

  /** Distribution's token server: a JWT for what was asked, for those who know the password. */
  function answerToken(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url!, 'http://x');
    asked.push(`${url.searchParams.get('service')} ${url.searchParams.get('scope')} ${request.headers.authorization === undefined ? 'nobody' : 'somebody'}`);
    if (request.headers.authorization !== `Basic ${Buffer.from('me:secret').toString('base64')}`) {
      response.writeHead(401).end();
      return;
    }
    const [type, name, actions] = url.searchParams.get('scope')!.split(':');
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const nowS = Math.floor(Date.now() / 1000);
    const certificate = new X509Certificate(readFileSync(join(dir, 'cert.pem')));
    const payload = `${encode({ typ: 'JWT', alg: 'RS256', x5c: [certificate.raw.toString('base64')] })}.${encode({ iss: 'portside-test', sub: 'me', aud: 'portside test', exp: nowS + 60, nbf: nowS - 10, iat: nowS, jti: randomUUID(), access: [{ type, name, actions: actions.split(',') }] })}`;
    const signature = sign('sha256', Buffer.from(payload), createPrivateKey(readFileSync(join(dir, 'key.pem')))).toString('base64url');
    response.end(JSON.stringify({ access_token: `${payload}.${signature}`, expires_in: 60 }));
  }

  test('a tag, a digest, one of an index; nothing is left in the store of blobs', async () => {
    const [layer] = await readAll(`${openHost}/team/app:one`);
    expect(layer.equals(gzipSync(LAYER))).toBe(true);
    expect(await readAll(`${openHost}/team/app:both`)).toEqual([layer]);
    const head = await fetch(`http://${openHost}/v2/team/app/manifests/one`, { headers: { accept: MANIFEST } });
    expect(await readAll(`${openHost}/team/app@${head.headers.get('docker-content-digest')}`)).toEqual([layer]);
    expect(readdirSync(blobDir)).toEqual([]);
  });

  test('amd64 only, no such tag, no such image', async () => {
    await expect(open(`${openHost}/team/app:amd64`)).rejects.toThrow(/made for linux\/amd64.*Choose a tag/);
    await expect(open(`${openHost}/team/app:none`)).rejects.toThrow(/there is no such image or tag \(manifest unknown\)/);
    await expect(open(`${openHost}/team/none`)).rejects.toThrow(/there is no such image or tag/);
  });

  test('with a token server: its challenge is answered, with credentials; without, it says what is missing', async () => {
    const [layer] = await readAll(`${closedHost}/team/app:both`, { credentials: 'me:secret' });
    expect(layer.equals(gzipSync(LAYER))).toBe(true);
    expect(asked).toEqual(['portside test repository:team/app:pull somebody']);
    await expect(open(`${closedHost}/team/app:both`)).rejects.toThrow(/answers 401: --creds USER:PASSWORD/);
    await expect(open(`${closedHost}/team/app:both`, { credentials: 'me:wrong' })).rejects.toThrow(/answers 401/);
  });

  test('a download that broke goes on where it was; a part that is something else is replaced', async () => {
    const image = await open(`${openHost}/team/app:one`);
    const whole = gzipSync(LAYER);
    const file = join(blobDir, `sha256-${createHash('sha256').update(whole).digest('hex')}.part`);
    const read = async (part: Uint8Array): Promise<number[]> => {
      const progress: number[] = [];
      const again = await open(`${openHost}/team/app:one`, { report: (_text, done) => { if (done !== undefined) progress.push(done); } });
      writeFileSync(file, part);
      const bytes = await again.layers[0].read();
      expect(Buffer.compare(bytes, whole)).toBe(0);
      await again.forget!();
      return progress;
    };
    expect(image.layers).toHaveLength(1);
    // The first report is of more than what was there: nothing of it came twice.
    expect((await read(whole.subarray(0, whole.length >> 1)))[0]).toBeGreaterThan(whole.length >> 1);
    await read(whole);
    await read(Buffer.alloc(10, 'x'));
    await read(Buffer.alloc(whole.length, 'x'));
    await read(Buffer.alloc(whole.length + 100, 'x'));
  });
});

describe('a server that means harm', () => {
  let server: Server;
  let other: Server;
  let host: string;
  let handle: (request: IncomingMessage, response: ServerResponse) => void;
  let seenByOther: Array<string | undefined>;
  const shelf = new BlobShelf();
  const manifest = shelf.addImage({}, [LAYER]);
  const layerDigest = [...shelf.blobs].find(([, bytes]) => bytes.equals(LAYER))![0];

  beforeAll(async () => {
    server = createServer((request, response) => handle(request, response)).listen(0, '127.0.0.1');
    other = createServer((request, response) => {
      seenByOther.push(request.headers.authorization);
      response.end(LAYER);
    }).listen(0, '127.0.0.1');
    await Promise.all([once(server, 'listening'), once(other, 'listening')]);
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.close();
    other.close();
  });

  /** A registry as it should be, but for what `special` answers itself (it returns true then). */
  const serve = (special: (path: string, response: ServerResponse, request: IncomingMessage) => boolean): void => {
    seenByOther = [];
    handle = (request, response) => {
      const path = request.url!.replace('/v2/x/', '');
      if (special(path, response, request)) return;
      const bytes = path === 'manifests/latest' ? shelf.blobs.get(manifest.digest) : shelf.blobs.get(path.split('/')[1]);
      if (bytes === undefined) response.writeHead(404).end('not json');
      else response.end(bytes);
    };
  };
  const blob = `blobs/${layerDigest}`;
  const fails = (text: RegExp): Promise<void> => expect(readAll(`${host}/x`)).rejects.toThrow(text);

  test('the server is good when it is good', async () => {
    serve(() => false);
    expect((await readAll(`${host}/x`))[0].equals(LAYER)).toBe(true);
  });

  test('another blob, a longer one, one without an end, one that ends early', async () => {
    serve((path, response) => path === blob && (response.end(Buffer.from(LAYER).fill('y')), true));
    await fails(/another digest/);
    serve((path, response) => path === blob && (response.end(Buffer.concat([LAYER, LAYER])), true));
    await fails(/longer than the manifest says/);
    serve((path, response) => path === blob && (response.end(LAYER.subarray(0, 1000)), true));
    await fails(/ends early|another range/);
    serve((path, response) => path === blob && (response.writeHead(200, { 'content-length': LAYER.length }), response.write(LAYER.subarray(0, 9)), setImmediate(() => response.destroy()), true));
    await expect(readAll(`${host}/x`)).rejects.toThrow(Error);
  });

  test('a range that was not asked for is not appended', async () => {
    const file = join(blobDir, `${layerDigest.replace(':', '-')}.part`);
    mkdirSync(blobDir, { recursive: true });
    writeFileSync(file, LAYER.subarray(0, 100));
    let ranges = 0;
    serve((path, response, request) => {
      if (path !== blob || request.headers.range === undefined) return false;
      ranges++;
      response.writeHead(206, { 'content-range': `bytes 0-${LAYER.length - 1}/${LAYER.length}` }).end(LAYER);
      return true;
    });
    expect((await readAll(`${host}/x`))[0].equals(LAYER)).toBe(true);
    expect(ranges).toBe(1);
  });

  test('a manifest without an end, garbage, one with another digest than the server says', async () => {
    serve((path, response) => path.startsWith('manifests') && (response.end(Buffer.alloc(5e6, ' ')), true));
    await fails(/too large/);
    serve((path, response) => path.startsWith('manifests') && (response.end('<html>'), true));
    await fails(/not JSON/);
    serve((path, response) => { if (path.startsWith('manifests')) response.setHeader('docker-content-digest', layerDigest); return false; });
    await fails(/does not have the digest/);
  });

  test('redirects: to another host without our token; in circles; to other protocols', async () => {
    const elsewhere = `http://127.0.0.1:${(other.address() as AddressInfo).port}/blob`;
    serve((path, response, request) => {
      if (request.headers.authorization === undefined) return (response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(), true);
      return path === blob && (response.writeHead(307, { location: elsewhere }).end(), true);
    });
    expect((await readAll(`${host}/x`, { credentials: 'me:secret' }))[0].equals(LAYER)).toBe(true);
    expect(seenByOther).toEqual([undefined]);
    await expect(readAll(`${host}/x`)).rejects.toThrow(/wants credentials/);
    serve((path, response, request) => path === blob && (response.writeHead(302, { location: request.url }).end(), true));
    await fails(/too many redirects/);
    for (const location of ['file:///etc/passwd', 'ftp://x/', 'http://[', 'data:,x']) {
      serve((path, response) => path === blob && (response.writeHead(302, { location }).end(), true));
      await fails(/redirects (from|to nowhere)/);
    }
  });

  test('token servers that are not asked; answers that are no token; challenges without end', async () => {
    const challenge = (value: string) => (_path: string, response: ServerResponse): boolean => (response.writeHead(401, { 'www-authenticate': value }).end(), true);
    for (const realm of ['http://token.example/', 'file:///etc/passwd', 'x', '']) {
      serve(challenge(`Bearer realm="${realm}",service="s"`));
      await fails(/token server that is not asked/);
    }
    serve(challenge('Negotiate'));
    await fails(/not known here/);
    for (const body of ['', '[]', '{}', '{"token":1}', '{"token":"a\\nb"}', '{"token":""}']) {
      serve((path, response) => (path.startsWith('/token') ? (response.end(body), true) : challenge(`Bearer realm="http://${host}/token"`)(path, response)));
      await fails(/no token|not JSON|not an object/);
    }
    serve((path, response) => (path.startsWith('/token') ? (response.end('{"token":"t"}'), true) : challenge(`Bearer realm="http://${host}/token"`)(path, response)));
    await fails(/other credentials/);
  });

  test('text of the server comes without what a terminal would obey', async () => {
    serve((_path, response) => (response.writeHead(404).end(JSON.stringify({ errors: [{ message: 'a\u001b[2Jb\nc' }] })), true));
    await fails(/\(a\?\[2Jb\?c\)$/);
    await expect(open('127.0.0.1:1/x')).rejects.toThrow(Error);
  });

  test('a blob larger than is allowed is not asked for', async () => {
    serve(() => false);
    await expect(readAll(`${host}/x`, { maxBytes: 1000 })).rejects.toThrow(/--max-size/);
  });
});

test('HTTPS for others, HTTP for this computer', async () => {
  for (const [reference, expected] of [['localhost:1/x', 'localhost'], ['127.0.0.1:1/x', '127.0.0.1'], ['[::1]:1/a/b:t', '[::1]']]) expect(parseReference(reference).host).toContain(expected);
  for (const text of ['x', 'x/y', 'x.example', 'x.example/', 'x.example:port/y', 'x.example/..', 'x.example/a//..', 'a b.example/x']) expect(() => parseReference(text), text).toThrow(ImageBuildError);
});

describe('answers by a script', () => {
  const shelf = new BlobShelf();
  const manifest = shelf.addImage({}, [LAYER]);
  const digestOf = (url: URL): string => url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
  const answer = (statusCode: number, body: Readable, headers: Record<string, string> = {}): IncomingMessage => Object.assign(body, { statusCode, headers }) as unknown as IncomingMessage;
  const serve = (url: URL): IncomingMessage => answer(200, Readable.from([shelf.blobs.get(url.pathname.includes('/manifests/') ? manifest.digest : digestOf(url))!]));

  test('a blob that was damaged in the cache is fetched again', async () => {
    const send = async (url: URL): Promise<IncomingMessage> => serve(url);
    for (const [, bytes] of shelf.blobs) {
      mkdirSync(blobDir, { recursive: true });
      writeFileSync(join(blobDir, `sha256-${createHash('sha256').update(bytes).digest('hex')}`), Buffer.alloc(bytes.length, 'damaged'));
    }
    expect((await readAll('registry.example/x:1', { send })).map((layer) => layer.equals(LAYER))).toEqual([true]);
  });

  test('a server that ends after each byte is given up', async () => {
    let asked = 0;
    const send = async (url: URL): Promise<IncomingMessage> => {
      if (++asked > 50) throw new Error('it goes on');
      if (url.pathname.includes('/manifests/') || shelf.blobs.get(digestOf(url))!.length < 1000) return serve(url);
      const from = asked - 3;
      return answer(206, Readable.from([Buffer.from(LAYER.subarray(from, from + 1))]), { 'content-range': `bytes ${from}-${from}/${LAYER.length}` });
    };
    await expect(readAll('registry.example/x:1', { send })).rejects.toThrow(/blob sha256:[0-9a-f]+ ends early/);
    expect(asked).toBeLessThan(10);
  });

  test('the body of a redirect, or of a refusal to be asked without a token, is not read to an end that it may not have', async () => {
    const bodies: Readable[] = [];
    const endless = (): Readable => {
      const body = new Readable({ read() { setImmediate(() => this.push(Buffer.alloc(65_536))); } });
      bodies.push(body);
      return body;
    };
    const send = async (url: URL, headers: Record<string, string>): Promise<IncomingMessage> => {
      if (url.host === 'cdn.example') return serve(url);
      if (headers['authorization'] === undefined) return answer(401, endless(), { 'www-authenticate': 'Basic realm="x"' });
      if (url.pathname.includes('/manifests/')) return serve(url);
      return answer(307, endless(), { location: `https://cdn.example/${digestOf(url)}` });
    };
    expect(await readAll('registry.example/x:1', { send, credentials: 'a:b' })).toHaveLength(1);
    expect([bodies.length, bodies.every(({ destroyed }) => destroyed)]).toEqual([3, true]);
  });
});
