/* Other runtimes: how they are called, and what an image says of itself. runtimes-real.test.ts runs containers in them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileFixture } from '../../shared/wasi/fixtures/compile.mjs';
import { FOREIGN_IMAGE } from '../../shared/wasi/image-info.ts';
import { Portside, type Finished } from '../fixture/portside-process.ts';
import { describeImage } from './image-file.ts';
import { findRuntime, type RuntimeLine } from './runtimes.ts';

let dir: string;
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'portside-runtimes-')); });
afterAll(() => rmSync(dir, { recursive: true }));

function program(name: string, says = ''): string {
  const path = join(dir, name);
  writeFileSync(path, `#!/bin/sh\necho '${says}'\n`, { mode: 0o755 });
  return path;
}

const LINE: RuntimeLine = {
  flags: ['--own=1'], env: ['A=1 2'], listen: '127.0.0.1:1234', image: '/i.wasm', args: ['--net=qemu', 'sh', '-c', 'x'],
  directories: [{ host: '/h', guest: '/g', readOnly: false }, { host: '/d', guest: '/portside', readOnly: true }],
};

test.each([
  ['wasmtime', 'wasmtime 38.0.1', 3, '-S preview2=n -S tcplisten=127.0.0.1:1234 --env A=1 2 --dir /h::/g --dir /d::/portside --own=1 -- /i.wasm --net=qemu sh -c x'],
  ['wasmtime', 'wasmtime-cli 13.0.0', 3, '--tcplisten=127.0.0.1:1234 --env A=1 2 --mapdir /g::/h --mapdir /portside::/d --own=1 -- /i.wasm --net=qemu sh -c x'],
  ['wazero', '', 5, '-listen 127.0.0.1:1234 -env A=1 2 -mount /h:/g -mount /d:/portside:ro --own=1 /i.wasm -- --net=qemu sh -c x'],
  ['wasmedge', '', undefined, '--env A=1 2 --dir /g:/h --dir /portside:/d:readonly --own=1 /i.wasm --net=qemu sh -c x'],
])('%s (%s): variables, directories and the listening socket in its own words, and where the socket is', async (name, says, fd, expected) => {
  const { dialect } = await findRuntime(program(name, says), {});
  expect(dialect.commandLine(LINE).join(' ')).toBe(`run ${expected}`);
  expect(dialect.listenFd?.(LINE.directories.length)).toBe(fd);
  const bare = dialect.commandLine({ ...LINE, flags: [], env: [], directories: [], listen: null, args: [] });
  expect(bare.filter((word) => word !== '--')).toEqual(['run', '/i.wasm']);
});

test('what a runtime can\'t do is said before it starts', async () => {
  const path = program('wasmtime', 'wasmtime 38.0.1');
  const image = fileURLToPath(await compileFixture('conformance.c'));
  const run = (...args: string[]): Promise<Finished> => new Portside(['run', '--runtime', path, ...args, image]).finished;
  const [guarded, open] = await Promise.all([run('--dir', `${dir}::/x:ro`), run('--dir', `${dir}::/x`)]);
  expect([guarded.status, guarded.stdout, guarded.stderr]).toEqual([2, '', expect.stringMatching(/^portside run: wasmtime lets a container write in all its directories: leave out the :ro of .*\nTry: /)]);
  expect(open).toMatchObject({ status: 0, stdout: 'wasmtime 38.0.1\n' });
}, 120_000);

test('a runtime is found by name, path, or what it says of itself; else it is said what to do', async () => {
  program('wazero');
  expect((await findRuntime('wazero', { PATH: `/none:${dir}` })).path).toBe(join(dir, 'wazero'));
  expect((await findRuntime(program('other', 'WasmEdge version 0.14'), {})).dialect.name).toBe('wasmedge');
  expect((await findRuntime(program('wasmtime', 'wasmtime 38.0.1'), {}, true)).dialect.name).toBe('wasmtime 13 or older');
  await expect(findRuntime('wazero', { PATH: '/none' })).rejects.toMatchObject({ code: 'RELAY_NO_RUNTIME', message: 'no program wazero in PATH: install it, or give its path with --runtime PATH' });
  await expect(findRuntime(join(dir, 'gone'), {})).rejects.toMatchObject({ code: 'RELAY_NO_RUNTIME' });
  await expect(findRuntime(program('strange', 'strange 1.0'), {})).rejects.toMatchObject({ message: expect.stringContaining('portside connect') });
});

test('an image is described without being compiled', async () => {
  const section = (contents: string): Buffer => Buffer.concat([Buffer.from([0, 9 + contents.length, 8]), Buffer.from('portside'), Buffer.from(contents)]);
  const header = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  const type = Buffer.from([1, 0x81, 0x00, 0]);
  const write = (name: string, ...parts: Uint8Array[]): string => {
    writeFileSync(join(dir, name), Buffer.concat(parts));
    return join(dir, name);
  };
  const json = '{"version":1,"name":"x","disk":{"file":"d","bytes":1}}';
  expect(await describeImage(write('ours', header, type, Buffer.from([0, 2, 1, 120]), section(json), type))).toMatchObject({ ours: true, name: 'x', net: 'qemu', disk: { file: 'd', bytes: 1 } });
  expect(await describeImage(write('broken', header, section('{')))).toEqual(FOREIGN_IMAGE);
  expect(await describeImage(write('empty', header))).toEqual(FOREIGN_IMAGE);
  expect(await describeImage(fileURLToPath(await compileFixture('conformance.c')))).toEqual(FOREIGN_IMAGE);
  for (const path of [write('text', Buffer.from('<!doctype html>')), write('short', header.subarray(0, 4)), write('cut', header, Buffer.from([1, 0x80])), join(dir, 'none')]) {
    await expect(describeImage(path), path).rejects.toMatchObject({ code: 'RELAY_BAD_IMAGE' });
  }
}, 120_000);
