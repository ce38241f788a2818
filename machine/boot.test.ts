/*
 * Debian's kernel under V8: boot, snapshot, restore. PORTSIDE_TEST_GUEST names a directory with `kernel` and an `initrd` whose agent
 * speaks the control protocol (ARCHITECTURE.md) and has a POSIX shell.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildMachine } from './build.ts';

const RUNNER = fileURLToPath(new URL('./dev-run.mjs', import.meta.url));
const GUEST = process.env['PORTSIDE_TEST_GUEST'] ?? '';
const hasGuest = ['kernel', 'initrd'].every((name) => existsSync(join(GUEST, name)));
if (!hasGuest) console.warn('PORTSIDE_TEST_GUEST names no directory with kernel and initrd: booting Linux is not tested');

describe.runIf(hasGuest)('Linux', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-boot-'));
  const at = (name: string): string => join(folder, name);
  const snapshot = at('snapshot.wasm');
  let machine = '', wizer = '';
  afterAll(() => rmSync(folder, { recursive: true }));

  beforeAll(async () => {
    for (const name of ['kernel', 'initrd']) symlinkOrCopy(join(GUEST, name), at(name));
    writeFileSync(at('config'), 'memory=256\ncmdline=console=hvc0 quiet\nepoch=1764000000\n');
    machine = (await buildMachine()).path;
    // The package has no types; its one export is the program's path.
    wizer = (await import('@bytecodealliance/wizer' as string) as { default: string }).default;
    freeze(snapshot);
  });

  function symlinkOrCopy(from: string, to: string): void {
    // A preopened directory may not be left through a symbolic link.
    if (statSync(from).isFile()) copyFileSync(from, to);
    else symlinkSync(from, to);
  }

  function freeze(to: string): void {
    execFileSync(wizer, ['--allow-wasi', '--inherit-stdio=false', '--mapdir', `/in::${folder}`, '-f', 'wizer.initialize', '-o', to, machine]);
  }

  function run(image: string, args: string[], input = '', flags: string[] = []): { out: string; status: number | null } {
    const done = spawnSync(process.execPath, ['--no-warnings', RUNNER, image, ...flags, '--', ...args], { encoding: 'utf8', input, timeout: 60_000 });
    return { out: done.stdout.replaceAll('\r', '') + done.stderr, status: done.status };
  }

  test('boots without a snapshot, runs the command and exits with its status', () => {
    const { out, status } = run(machine, ['sh', '-c', 'uname -m; echo "$1"; exit 7', 'x', "it's"], '', ['--in', folder]);
    expect(out).toContain("riscv64\nit's\n");
    expect(status).toBe(7);
  }, 90_000);

  test('a snapshot is the same bytes for the same input, and goes on with the right time and new randomness', () => {
    const again = at('again.wasm');
    freeze(again);
    expect(readFileSync(again).equals(readFileSync(snapshot))).toBe(true);
    const code = 'printf "%s " $(date +%s); head -c 16 /dev/urandom | od -An -tx1';
    const outputs = [run(snapshot, ['sh', '-c', code]), run(snapshot, ['sh', '-c', code])];
    for (const { out } of outputs) {
      const seconds = Number(/(\d{10}) /.exec(out)?.[1]);
      expect(Math.abs(seconds - Date.now() / 1000)).toBeLessThan(10);
    }
    const bytes = outputs.map(({ out }) => /\d{10} +([0-9a-f ]{40,})/.exec(out)?.[1]?.trim());
    expect(bytes[0]).toHaveLength(47);
    expect(bytes[1]).not.toBe(bytes[0]);
  }, 90_000);

  test('stdin reaches the terminal, its size comes in-band, and its end is a ^D', () => {
    const { out, status } = run(snapshot, ['sh', '-c', 'read line; sleep 0.2; stty size; echo "got $line"; cat; exit 3'], '\x1b_portside;size=132x43\x1b\\hel\x1b[lo\nmore\n');
    expect(out).toContain('43 132\n');
    expect(out).toContain('got hel\x1b[lo\n');
    expect(out.match(/more/g)).toHaveLength(2);
    expect(status).toBe(3);
  }, 60_000);

  test('a shared directory is mounted, with and without a snapshot', () => {
    const shared = at('shared');
    mkdirSync(shared);
    writeFileSync(join(shared, 'text'), 'shared\n');
    const command = ['sh', '-c', 'cat /mnt/share/text; echo "$1" >/mnt/share/answer', 'x'];
    expect(run(machine, [...command, 'booted'], '', ['--in', folder, '--share', shared])).toEqual({ out: expect.stringContaining('shared\n'), status: 0 });
    expect(readFileSync(join(shared, 'answer'), 'utf8')).toBe('booted\n');
    expect(run(snapshot, [...command, 'restored'], '', ['--share', shared])).toEqual({ out: 'shared\n', status: 0 });
    expect(readFileSync(join(shared, 'answer'), 'utf8')).toBe('restored\n');
  }, 90_000);

  test('mistakes in the arguments are one clear line', () => {
    expect(run(snapshot, ['--mac', 'nonsense'])).toEqual({ out: 'portside machine: --mac is not a MAC address: nonsense\n', status: 1 });
    expect(run(snapshot, ['--frobnicate'])).toEqual({ out: 'portside machine: unknown flag: --frobnicate\n', status: 1 });
  });
});
