import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compileFixture } from '../../shared/wasi/fixtures/compile.mjs';

const RUN = fileURLToPath(new URL('./fixture/run-image.mjs', import.meta.url));
const dir = mkdtempSync(join(tmpdir(), 'portside-run-'));

let image = '';
beforeAll(async () => {
  image = fileURLToPath(await compileFixture('conformance.c'));
}, 120_000);
afterAll(() => { rmSync(dir, { recursive: true }); });

interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A process with pipes; `drive` gets it while it runs. */
function start(command: string[], drive: (child: ReturnType<typeof spawn>, stdout: () => string) => void = (child) => child.stdin!.end()): Promise<Ended> {
  const child = spawn(command[0], command.slice(1));
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (bytes: Buffer) => { stdout += bytes.toString(); });
  child.stderr.on('data', (bytes: Buffer) => { stderr += bytes.toString(); });
  drive(child, () => stdout);
  return new Promise((resolve) => {
    child.on('close', (status, signal) => { resolve({ status, signal, stdout, stderr }); });
  });
}

async function until(condition: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !condition() && Date.now() < end;) await new Promise((resolve) => { setTimeout(resolve, 10); });
}

test('arguments, environment and exit status', async () => {
  const [args, exit] = await Promise.all([start(['node', RUN, image, 'args', 'ü']), start(['node', RUN, image, 'exit', '42'])]);
  expect(args).toMatchObject({ status: 0, stdout: '[container][args][ü]{NAME=value} tty 1\n', stderr: '' });
  expect(exit).toMatchObject({ status: 42, stdout: '' });
}, 30_000);

test('piped input arrives, its end too, and the output goes into a pipe', async () => {
  const text = 'line\n'.repeat(40_000);
  const ended = await start(['node', RUN, image, 'stdin'], (child, stdout) => {
    void until(() => stdout().includes('early 1')).then(() => child.stdin!.end(text));
  });
  expect(ended).toMatchObject({ status: 0, stdout: `early 1\n${text}\nend after ${text.length}\n` });
}, 30_000);

test('what is no container is said in one line', async () => {
  const text = join(dir, 'text.wasm');
  writeFileSync(text, '<!doctype html>');
  const cut = join(dir, 'cut.wasm');
  writeFileSync(cut, Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 90]));
  const empty = join(dir, 'empty.wasm');
  writeFileSync(empty, Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
  const [a, b, c, d] = await Promise.all([text, cut, empty, join(dir, 'none')].map((path) => start(['node', RUN, path])));
  expect(a).toMatchObject({ status: 99, stderr: expect.stringMatching(/^RELAY_BAD_IMAGE: .*text\.wasm is not a wasm file, but a web page \(HTML\): [^\n]*\n$/) as string });
  expect(b.stderr).toMatch(/^RELAY_BAD_IMAGE: .* is damaged or incomplete: /);
  expect(c.stderr).toMatch(/^RELAY_BAD_IMAGE: .* is WebAssembly, but no program/);
  expect(d.stderr).toMatch(/^RELAY_BAD_IMAGE: can't read .*: ENOENT\n/);
}, 30_000);

test('an image that knows no pipes is given none', async () => {
  const bin = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
  const [refused, given] = await Promise.all([start(['node', bin, 'run', '-T', image, 'args']), start(['node', bin, 'run', image, 'args'])]);
  expect([refused.status, refused.stdout, refused.stderr]).toEqual([2, '', expect.stringContaining('this image has a terminal in any case: it was made by container2wasm')]);
  expect([given.status, given.stdout]).toEqual([0, expect.stringContaining('[container][args]')]);
}, 30_000);

test('a trap is an error, not an exit', async () => {
  expect(await start(['node', RUN, image, 'trap'])).toMatchObject({ status: 99, stderr: expect.stringMatching(/^RELAY_CONTAINER_CRASHED: .*unreachable/) });
}, 30_000);

test('a signal ends the container, with the status that shells expect', async () => {
  const ended = await start(['node', RUN, image, 'stdin'], (child, stdout) => {
    void until(() => stdout().includes('early 1')).then(() => child.kill('SIGTERM'));
  });
  expect(ended).toMatchObject({ status: 143, signal: null });
}, 30_000);

test.each([
  ['after an exit', 'exit 3', '', 3], ['after three times ^]', 'stdin', '\x1d\x1d\x1d', 137], ['after a crash', 'trap', '', 99],
])('a terminal gets its mode back: %s', async (_name, args, keys, status) => {
  // script(1) gives the run a terminal of its own; stty looks at it before and afterwards.
  const line = `stty -a > ${dir}/before; node ${RUN} ${image} ${args}; echo "status $?"; stty -a > ${dir}/after; cmp ${dir}/before ${dir}/after && echo same`;
  const { stdout } = await start(['script', '-qec', line, '/dev/null'], (child, output) => {
    if (keys === '') return;
    void until(() => output().includes('early 1')).then(() => child.stdin!.write(keys));
  });
  expect(stdout).toContain(`status ${status}`);
  expect(stdout).toContain('same');
}, 30_000);
