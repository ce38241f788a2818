/* Builds virtio.test.c with the system's compiler and its sanitizers, and runs it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const MACHINE = fileURLToPath(new URL('..', import.meta.url));
const DEVICES = ['plic', 'virtio_mmio', 'virtio_console', 'virtio_ports', 'virtio_net', 'net_offload', 'virtio_blk', 'virtio_rng', 'virtio_9p', 'p9_call', 'p9_attributes', 'p9_files', 'p9_names', 'p9_tree', 'p9_owners', 'rtc', 'vmgenid'];
const SOURCES = ['dev/virtio.test.c', ...DEVICES.map((name) => `dev/${name}.c`), 'host/host_files_posix.c', 'guest/terminal.c', 'guest/pipes.c', 'host/link.c', 'guest/orphan.c', 'board/bus.c', 'board/ram.c'];
const FLAGS = ['-std=gnu17', '-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize=alignment', '-fno-sanitize-recover=all', '-fno-strict-aliasing', '-fwrapv', '-I.'];

const folder = mkdtempSync(join(tmpdir(), 'portside-virtio-'));
afterAll(() => rmSync(folder, { recursive: true }));
const compiler = spawnSync('gcc', ['--version']).status === 0;
if (!compiler) console.warn('gcc is not installed: hostile drivers against the virtio devices are not tested');

test.runIf(compiler)('no driver makes a device touch a byte outside of RAM, and rule breakers are stopped', () => {
  const program = join(folder, 'virtio');
  execFileSync('gcc', [...FLAGS, '-o', program, ...SOURCES], { cwd: MACHINE });
  const run = spawnSync(program, { encoding: 'utf8' });
  expect(run.stderr).toBe('');
  expect(run.stdout.split('\n').filter((line) => line.startsWith('ok'))).toHaveLength(39);
  expect(run.stdout).not.toContain('FAILED');
  expect(run.status).toBe(0);
}, 180_000);
