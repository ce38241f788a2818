/*
 * The whole way: images made by umoci and copied by skopeo become wasm images by `portside convert`, and are run by `portside run`.
 * Each conversion boots a machine: there are few. Needs umoci, skopeo, tar and setfattr, and root for owners, devices and capabilities.
 */
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, chownSync, linkSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCustomSection } from '../wasm-section.ts';
import { makeDisk } from './convert.ts';
import { elfFor, pythonPackages, readBusybox, tarOf } from './fixture.ts';
import { openSource } from './source.ts';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const RISCV = { os: 'linux', architecture: 'riscv64', variant: null };
/** vfs_cap_data: revision 2, effective; permitted: CAP_SYS_ADMIN (bit 21) */
const CAPABILITY = '0x0100000200002000000000000000000000000000';
const missing = ['umoci', 'skopeo', 'setfattr'].filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
const canRun = missing.length === 0 && process.getuid?.() === 0;
if (!canRun) console.warn(`convert is not tested with real images: ${missing.length > 0 ? `no ${missing.join(', ')}` : 'not root'}`);

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-convert-')); });
afterAll(() => rmSync(dir, { recursive: true }));

interface Finished { status: number; stdout: string; stderr: string }

async function portside(...args: string[]): Promise<Finished> {
  return promisify(execFile)(process.execPath, [BIN, ...args], { cwd: dir, timeout: 240_000 }).then(
    ({ stdout, stderr }) => ({ status: 0, stdout: stdout.replaceAll('\r', ''), stderr }),
    (error: { code: number; stdout: string; stderr: string }) => ({ status: error.code, stdout: error.stdout.replaceAll('\r', ''), stderr: error.stderr }),
  );
}

const umoci = (...args: string[]): void => void execFileSync('umoci', args, { stdio: ['ignore', 'ignore', 'inherit'] });
const skopeo = (...args: string[]): void => void execFileSync('skopeo', ['--insecure-policy', 'copy', '--quiet', ...args], { stdio: ['ignore', 'ignore', 'inherit'] });

/** A busybox root with all that a file system can hold, then a layer that takes some of it away. */
async function makeLayers(): Promise<[lower: string, upper: string]> {
  const root = join(dir, 'root');
  const file = (path: string, data: string | Uint8Array, mode = 0o644): void => {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), data);
    chmodSync(join(root, path), mode);
  };
  const busybox = await readBusybox();
  file('bin/busybox', busybox, 0o755);
  file('capable/busybox', busybox, 0o755);
  for (const applet of ['sh', 'env', 'ls', 'cat', 'id', 'stat', 'pwd', 'httpd', 'hostname', 'readlink']) symlinkSync('busybox', join(root, 'bin', applet));
  file('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n');
  file('etc/group', 'root:x:0:\napp:x:1001:\nextra:x:2000:app\nmore:x:2001:other,app\n');
  file('www/index.html', '<h1>It works!</h1>\n');
  file('bin/show', '#!/bin/sh\necho "args:$#:$1:$2"\nid\npwd\necho "$GREETING|$HOME|$PATH"\n', 0o755);
  for (const path of ['gone', 'dir/gone', 'dir/kept', 'opaque/old', 'replaced/by-a-file']) file(path, 'lower');
  file('owned', 'o', 0o4755);
  file('one', 'linked');
  linkSync(join(root, 'one'), join(root, 'two'));
  execFileSync('setfattr', ['-n', 'security.capability', '-v', CAPABILITY, join(root, 'capable/busybox')]);
  execFileSync('mknod', ['-m', '640', join(root, 'device'), 'b', '7', '3']);
  chownSync(join(root, 'owned'), 1000, 70_000);
  chmodSync(join(root, 'owned'), 0o4755);
  const lower = join(dir, 'lower.tar');
  execFileSync('tar', ['--xattrs', '--xattrs-include=*', '--numeric-owner', '-C', root, '-cf', lower, '.']);
  const upper = join(dir, 'upper.tar');
  writeFileSync(upper, tarOf([{ path: '.wh.gone' }, { path: 'dir/.wh.gone' }, { path: 'opaque/new' }, { path: 'opaque/.wh..wh..opq' }, { path: 'replaced', data: 'file' }]));
  return [lower, upper];
}

describe.skipIf(!canRun)('an image of umoci\'s', () => {
  let layout: string;

  beforeAll(async () => {
    layout = join(dir, 'layout');
    const [lower, upper] = await makeLayers();
    umoci('init', '--layout', layout);
    umoci('new', '--image', `${layout}:app`);
    umoci('raw', 'add-layer', '--image', `${layout}:app`, lower);
    umoci('raw', 'add-layer', '--image', `${layout}:app`, upper);
    umoci('config', '--image', `${layout}:app`, '--os', 'linux', '--architecture', 'riscv64', '--config.entrypoint', 'show', '--config.cmd', 'a  b', '--config.cmd', "it's",
      '--config.env', 'GREETING=hello $HOME', '--config.env', 'PATH=/nowhere:/bin', '--config.env', 'odd.name=x', '--config.user', 'app', '--config.workingdir', '/work/here', '--config.volume', '/data', '--config.exposedports', '80/tcp', '--config.label', 'team=web');
    umoci('config', '--image', `${layout}:app`, '--tag', 'web', '--config.user', 'root', '--config.workingdir', '/', '--clear=config.entrypoint', '--clear=config.cmd', '--config.cmd', 'httpd', '--config.cmd=-f', '--config.cmd=-p', '--config.cmd', '80', '--config.cmd=-h', '--config.cmd', '/www');
    umoci('config', '--image', `${layout}:app`, '--tag', 'amd64', '--architecture', 'amd64');
  });

  test('every source gives the same disk', async () => {
    skopeo(`oci:${layout}:app`, `oci-archive:${join(dir, 'app.oci.tar')}:app`);
    skopeo(`oci:${layout}:app`, `docker-archive:${join(dir, 'app.docker.tar')}:registry.example/app:1`);
    skopeo('--dest-compress', '--dest-compress-format', 'zstd', `oci:${layout}:app`, `oci:${join(dir, 'zstd')}:app`);
    execFileSync('gzip', ['-kf', join(dir, 'app.docker.tar')]);
    const hashes = new Map<string, string>();
    for (const source of [`oci:${layout}:app`, `oci-archive:${dir}/app.oci.tar`, `oci-archive:${dir}/app.oci.tar:app`, `docker-archive:${dir}/app.docker.tar`, `docker-archive:${dir}/app.docker.tar.gz:app:1`, `oci:${dir}/zstd:app`]) {
      const options = { source, out: '', name: null, memoryMiB: 128, platform: RISCV, plainHttp: false, credentials: null, maxBytes: 1e9, maxEntries: 1000, blobDir: '', report: () => undefined };
      const image = await openSource(source, options);
      const { disk } = await makeDisk(image, 'same', join(dir, 'disk'), options);
      expect(createHash('sha256').update(readFileSync(join(dir, 'disk'))).digest('hex')).toBe(disk.sha256);
      hashes.set(source, disk.sha256);
    }
    expect(new Set(hashes.values()).size, JSON.stringify([...hashes])).toBe(1);
  });

  test('one wasm: configuration, user, layers, owners and capabilities arrive in the guest', async () => {
    const made = await portside('convert', '--memory', '128', '--json', `oci:${layout}:app`, 'app.wasm');
    expect([made.status, made.stderr]).toEqual([0, expect.stringContaining('the variable "odd.name" is left out')]);
    expect(JSON.parse(made.stdout)).toMatchObject({ name: 'app', path: join(dir, 'app.wasm'), disk: { path: null } });
    const section = JSON.parse(Buffer.from(readCustomSection(readFileSync(join(dir, 'app.wasm')), 'portside')!).toString()) as object;
    expect(section).toMatchObject({ name: 'app', memoryMiB: 128, container: { ports: ['80/tcp'], volumes: ['/data'], labels: { team: 'web' } } });

    const who = 'uid=1000(app) gid=1001(app) groups=1001(app),2000(extra),2001(more)'.replace('groups=1001(app),', 'groups=');
    expect(await portside('run', 'app.wasm')).toMatchObject({ status: 0, stdout: `args:2:a  b:it's\n${who}\n/work/here\nhello $HOME|/home/app|/nowhere:/bin\n` });
    // As container engines have it: words replace the image's arguments, --entrypoint all of them.
    expect((await portside('run', '-e', 'GREETING=other', 'app.wasm', 'x')).stdout).toContain('args:1:x:\n');
    expect((await portside('run', 'app.wasm', '--entrypoint', 'env')).stdout.trim().split('\n').sort()).toEqual(['GREETING=hello $HOME', 'HOME=/home/app', 'HOSTNAME=app', 'PATH=/nowhere:/bin', 'TERM=xterm-256color']);
    const script = 'ls -1d /gone /dir/* /opaque/* /data; cat /replaced; stat -c "%n %a %u %g" /owned; stat -c "%F %t:%T %a" /device; stat -c %h /one; hostname; /capable/busybox hostname renamed; hostname; hostname denied; exit 7';
    const looked = await portside('run', 'app.wasm', '--entrypoint', 'sh', '--', '-c', script);
    expect(looked.status).toBe(7);
    expect(looked.stdout).toBe([
      '/data', '/dir/kept', '/opaque/new', 'file/owned 4755 1000 70000', 'block special file 7:3 640', '2',
      // A capability of the file lets user `app` do what only root may.
      'app', 'renamed', '',
    ].join('\n'));
    expect(looked.stderr).toBe('ls: /gone: No such file or directory\nhostname: sethostname: Operation not permitted\n');
    expect(await portside('run', 'app.wasm', '--entrypoint', 'no-such-program')).toMatchObject({ status: 127, stdout: '', stderr: 'portside: no-such-program: not found\n' });
    expect(await portside('run', 'app.wasm', '--entrypoint', '/etc/passwd')).toMatchObject({ status: 126 });
  }, 300_000);

  test('a folder: the disk is beside the wasm, named by its contents; httpd answers "It works!"', async () => {
    const made = await portside('convert', '--memory', '128', '--quiet', `oci:${layout}:web`, 'out/');
    expect([made.status, made.stderr, made.stdout]).toEqual([0, expect.stringMatching(/^portside convert: the variable.*\n$/), expect.stringMatching(/out\.wasm: [\d.]+ MiB, and a disk of/)]);
    const files = readdirSync(join(dir, 'out')).sort();
    expect(files).toEqual(['manifest.json', expect.stringMatching(/^out-[0-9a-f]{12}\.disk$/), 'out.wasm']);
    expect(JSON.parse(readFileSync(join(dir, 'out/manifest.json'), 'utf8'))).toMatchObject({ version: 1, images: [{ name: 'out', file: 'out.wasm', disk: { file: files[1] } }] });

    // Once more, over it and beside it: other images of the folder stay listed, the disk that nobody has any more goes.
    writeFileSync(join(dir, 'out/manifest.json'), JSON.stringify({ version: 1, images: [{ name: 'other', file: 'other.wasm' }, { name: 'out', file: 'old.wasm' }] }));
    writeFileSync(join(dir, `out/out-${'0'.repeat(12)}.disk`), '');
    expect((await portside('convert', '--memory', '128', '--quiet', `oci:${layout}:web`, 'out')).status).toBe(0);
    expect(readdirSync(join(dir, 'out')).sort()).toEqual(files);
    expect(JSON.parse(readFileSync(join(dir, 'out/manifest.json'), 'utf8'))).toMatchObject({ images: [{ name: 'other' }, { name: 'out', file: 'out.wasm' }] });

    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    probe.close();
    await once(probe, 'close');
    const child = spawn(process.execPath, [BIN, 'run', '--net', '-p', `localhost:${port}:80`, join(dir, 'out/out.wasm')], { stdio: ['ignore', 'ignore', 'inherit'] });
    try {
      await expect.poll(() => fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(2000) }).then((response) => response.text(), () => ''), { timeout: 60_000 }).toBe('<h1>It works!</h1>\n');
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }, 300_000);

  test('what can\'t be converted is one line, status 1, and leaves what was there', async () => {
    mkdirSync(join(dir, 'kept'));
    writeFileSync(join(dir, 'kept/good.wasm'), 'good');
    writeFileSync(join(dir, 'foreign.tar'), tarOf([{ path: 'bin/sh', data: elfFor(62), mode: 0o755 }]));
    writeFileSync(join(dir, 'climbing.tar'), tarOf([{ path: '../../etc/passwd' }]));
    writeFileSync(join(dir, 'cut.tar'), readFileSync(join(dir, 'lower.tar')).subarray(0, 5000));
    writeFileSync(join(dir, 'empty.tar'), '');
    writeFileSync(join(dir, 'some.wasm'), '\0asm\x01\0\0\0');
    for (const [source, text, ...flags] of [
      [`oci:${layout}:amd64`, 'made for linux/amd64, not for linux/riscv64'], ['foreign.tar', 'made for linux/amd64'], ['climbing.tar', 'leaves its tree'], ['cut.tar', 'cut off'], ['empty.tar', 'is an empty file'], ['some.wasm', 'some.wasm is a WebAssembly module, no container image: if it is an image of Portside or container2wasm, portside run some.wasm starts it'],
      ['lower.tar', '--max-entries', '--max-entries', '5'], ['lower.tar', '--max-size', '--max-size', '1'], ['/none.tar', 'no such file'], ['127.0.0.1:1/x', 'ECONNREFUSED'], [`oci:${dir}`, 'no such file'],
    ]) {
      const done = await portside('convert', '--quiet', ...flags, source, 'kept/good.wasm');
      expect([source, done.status, done.stdout]).toEqual([source, 1, '']);
      expect(done.stderr).toMatch(/^portside convert: [^\n]+\n$/);
      expect(done.stderr).toContain(text);
    }
    expect(readdirSync(join(dir, 'kept'))).toEqual(['good.wasm']);
    expect(readFileSync(join(dir, 'kept/good.wasm'), 'utf8')).toBe('good');
    expect(lstatSync(join(dir, 'kept/good.wasm')).isFile()).toBe(true);
  }, 120_000);

  test('an interruption leaves nothing', async () => {
    const child = spawn(process.execPath, [BIN, 'convert', '--memory', '128', `oci:${layout}:app`, join(dir, 'kept/new.wasm')], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes('snapshot')) child.kill('SIGTERM');
    });
    expect((await once(child, 'close'))[0]).toBe(130);
    expect(readdirSync(join(dir, 'kept'))).toEqual(['good.wasm']);
  }, 120_000);
});

const hasDpkg = spawnSync('dpkg-deb', ['--version']).error === undefined;

test.skipIf(!hasDpkg)('a root with python in it: a tar without a configuration, a program given by hand', async () => {
  const root = join(dir, 'python');
  for (const name of ['usr/lib', 'etc']) mkdirSync(join(root, name), { recursive: true });
  symlinkSync('usr/lib', join(root, 'lib'));
  for (const file of await pythonPackages()) execFileSync('dpkg-deb', ['-x', file, root]);
  // The root's configuration is elsewhere in it, and so is what is made in /run and /tmp.
  mkdirSync(join(root, 'writable/etc'), { recursive: true });
  for (const name of readdirSync(join(root, 'etc'))) renameSync(join(root, 'etc', name), join(root, 'writable/etc', name));
  rmSync(join(root, 'etc'), { recursive: true, force: true });
  writeFileSync(join(root, 'writable/etc/app.conf'), 'kept');
  for (const name of ['etc', 'run', 'tmp']) symlinkSync(`writable/${name}`, join(root, name));
  execFileSync('tar', ['--owner=0', '--group=0', '--numeric-owner', '-C', root, '-czf', join(dir, 'python.tar.gz'), '.']);
  expect((await portside('convert', '--quiet', '--memory', '256', '--name', 'snake', 'python.tar.gz', 'python.wasm')).status).toBe(0);
  const script = 'import os, socket, sys; print(os.uname().machine, socket.gethostname(), sum(range(1000)), open("/etc/app.conf").read(), os.readlink("/etc"), os.path.isdir("/tmp"), oct(os.stat("/writable/tmp").st_mode), sep="|"); sys.exit(3)';
  expect(await portside('run', 'python.wasm', 'python3.13', '-c', script)).toMatchObject({ status: 3, stdout: 'riscv64|snake|499500|kept|writable/etc|True|0o41777\n' });
}, 300_000);

test('command lines that are wrong', async () => {
  for (const args of [[], ['x', 'y', 'z'], ['--platform', 'x', 'a', 'b'], ['--memory', '1', 'a', 'b'], ['--name', 'A', 'a', 'b'], ['--creds', 'x', 'a', 'b'], ['--nonsense', 'a', 'b']]) {
    const done = await portside('convert', ...args);
    expect([args, done.status]).toEqual([args, 2]);
    expect(done.stderr).toMatch(/\nTry: portside help convert\n$/);
  }
}, 60_000);
