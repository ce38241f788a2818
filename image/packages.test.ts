/* From configuration and index to verified files: against mirrors on the loopback that are slow to please. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { configuredMirrors, proxyFor } from './apt-config.ts';
import { compareVersions, parseStanzas } from './control-file.ts';
import { ImageBuildError } from './image-error.ts';
import { downloadPackages, packageFile, PackagesGone, readPackage, type Lock, type LockedPackage } from './packages.ts';
import { PackageIndex } from './resolve.ts';

describe('sources of apt', () => {
  const dir = mkdtempSync(join(tmpdir(), 'portside-apt-'));
  mkdirSync(join(dir, 'sources.list.d'));
  writeFileSync(join(dir, 'sources.list'), '# deb http://commented.example/debian trixie main\ndeb [arch=amd64 signed-by=/k.gpg] http://one.example/debian bookworm main\ndeb-src http://src.example/ trixie main\n');
  writeFileSync(join(dir, 'sources.list.d/a.sources'), 'Types: deb\n# a comment\nURIs: http://sec.example/debian-security\nSuites: bookworm-security\nComponents: main\n\nTypes: deb deb-src\nURIs: http://two.example/debian/ http://one.example/debian\nSuites: trixie trixie-updates\nSigned-By: /two.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://off.example/debian\nSuites: trixie\n');
  writeFileSync(join(dir, 'sources.list.d/vendor.list'), 'deb https://vendor.example/apt nodistro main\n');
  writeFileSync(join(dir, 'sources.list.d/cd.list'), 'deb cdrom:[x]/ trixie main\n');

  test('both forms, Debian\'s suites only, security last, nothing twice', () => {
    expect(configuredMirrors(dir, {})).toEqual([
      { base: 'http://one.example/debian/', keyring: '/k.gpg', security: false },
      { base: 'http://two.example/debian/', keyring: '/two.gpg', security: false },
      { base: 'http://sec.example/debian-security/', keyring: null, security: true },
    ]);
    expect(configuredMirrors(dir, { PORTSIDE_MIRROR: 'http://own.example/d' })[0].base).toBe('http://own.example/d/');
    expect(configuredMirrors('/nonexistent', {})).toEqual([]);
  });

  test('proxies of the environment', async () => {
    const env = { http_proxy: 'http://user:pw@proxy.example:3128', no_proxy: 'inside.example, .local' };
    expect((await proxyFor(new URL('http://x.example/'), env))?.host).toBe('proxy.example:3128');
    expect(await proxyFor(new URL('http://a.inside.example/'), env)).toBeNull();
    expect(await proxyFor(new URL('http://b.local/'), env)).toBeNull();
  });
});

test('versions in the order of deb-version(7)', () => {
  const ordered = ['1.0~rc1-1', '1.0-1', '1.0-1+b1', '1.0-1+b10', '1.0a-1', '1.0+dfsg-1', '1.2-1', '1.10-1', '1:0.1-1', '2:0~'];
  for (let i = 1; i < ordered.length; i++) {
    expect(compareVersions(ordered[i - 1], ordered[i]), `${ordered[i - 1]} < ${ordered[i]}`).toBeLessThan(0);
    expect(compareVersions(ordered[i], ordered[i - 1])).toBeGreaterThan(0);
  }
  expect(compareVersions('1.0-1', '1.0-1')).toBe(0);
});

describe('closure', () => {
  const index = new PackageIndex([
    'Package: a\nVersion: 1\nDepends: b (>= 1) | c, virtual\nPre-Depends: d', 'Package: b\nVersion: 1', 'Package: c\nVersion: 1\nDepends: a', 'Package: d\nVersion: 1:1\nDepends: a',
    'Package: p1\nVersion: 1\nProvides: virtual (= 2)', 'Package: p2\nVersion: 1\nProvides: virtual', 'Package: d\nVersion: 9\nDepends: nothing-like-it', 'Package: broken\nVersion: 1\nDepends: none | never', 'Package: e\nVersion: 1\nEssential: yes',
  ].join('\n\n'));

  test('dependencies, cycles, the first alternative, a provider; the newest of two versions', () => {
    expect(index.closure(['a'])).toEqual(['a', 'b', 'd', 'p1']);
    expect(index.essential()).toEqual(['e']);
  });

  test('what is asked for settles alternatives, whenever it comes', () => {
    expect(index.closure(['a', 'c', 'p2'])).toEqual(['a', 'c', 'd', 'p2']);
  });

  test('what is missing is named', () => {
    expect(() => index.closure(['broken'])).toThrow(/broken needs none or never/);
    expect(() => index.closure(['absent'])).toThrow(/no package absent/);
  });

  test('continuation lines and comments', () => {
    expect([...parseStanzas('A: 1\n two\n# no\n three\n\n\nB:2\n')].map((stanza) => [...stanza])).toEqual([[['a', '1\ntwo\nthree']], [['b', '2']]]);
  });
});

describe('downloads', () => {
  const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) & 0xff));
  let locked: LockedPackage;
  let lock: Lock;
  const servers: Server[] = [];

  beforeEach(() => {
    // A file of its own for each test: the store is the project's.
    const own = Buffer.concat([bytes, Buffer.from(String(Math.random()))]);
    locked = { version: '1', path: 'pool/x.deb', size: own.length, sha256: createHash('sha256').update(own).digest('hex') };
    lock = { version: 1, suite: 's', architecture: 'a', groups: { kernel: [], busybox: [], debian: [], repository: [], python: [] }, packages: { x: locked } };
    contents = own;
  });
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
    rmSync(packageFile(locked), { force: true });
    rmSync(`${packageFile(locked)}.part`, { force: true });
  });
  let contents: Buffer;

  async function mirror(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<{ base: string; keyring: null; security: false }> {
    const server = createServer(answer);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, keyring: null, security: false };
  }

  test('a connection that breaks is continued where it broke', async () => {
    const ranges: Array<string | undefined> = [];
    const flaky = await mirror((request, response) => {
      ranges.push(request.headers.range);
      const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      response.writeHead(from > 0 ? 206 : 200, { 'content-length': contents.length - from });
      if (ranges.length === 1) response.write(contents.subarray(0, 200_000), () => setTimeout(() => response.destroy(), 20));
      else response.end(contents.subarray(from));
    });
    let done = 0;
    await downloadPackages(lock, ['x'], (count) => (done = count), [flaky]);
    expect(Buffer.compare(await readPackage(locked), contents)).toBe(0);
    expect(ranges[0]).toBeUndefined();
    expect(ranges[1]).toMatch(/^bytes=[1-9]\d*-$/);
    expect(done).toBe(contents.length);
  });

  test('404 here, found there; 404 everywhere is "gone"', async () => {
    const empty = await mirror((_request, response) => response.writeHead(404).end());
    const full = await mirror((_request, response) => response.end(contents));
    await expect(downloadPackages(lock, ['x'], () => undefined, [empty])).rejects.toThrow(PackagesGone);
    await downloadPackages(lock, ['x'], () => undefined, [empty, full]);
    expect(readFileSync(packageFile(locked)).equals(contents)).toBe(true);
  });

  test('other contents, too many of them, a mirror that is not there, no mirror at all: one message each, with what works without', async () => {
    const liar = await mirror((_request, response) => response.end(Buffer.alloc(contents.length)));
    const flood = await mirror((_request, response) => response.end(Buffer.concat([contents, contents])));
    const gone = { base: 'http://127.0.0.1:9/', keyring: null, security: false };
    for (const [mirrors, reason] of [[[liar], /other contents/], [[flood], /longer than it should be/], [[gone], /127\.0\.0\.1:9/], [[], /apt is not configured/]] as const) {
      const error = await downloadPackages(lock, ['x'], () => undefined, [...mirrors]).then(() => null, (failure: unknown) => failure);
      expect(error).toBeInstanceOf(ImageBuildError);
      expect((error as Error).message).toMatch(reason);
      expect((error as Error).message).toContain('--image FILE|URL');
    }
  });

  test('a damaged file in the store is noticed and removed', async () => {
    mkdirSync(join(packageFile(locked), '..'), { recursive: true });
    writeFileSync(packageFile(locked), 'x');
    await expect(readPackage(locked)).rejects.toThrow(/damaged/);
    await expect(readPackage(locked)).rejects.toThrow(/ENOENT/);
  });
});
