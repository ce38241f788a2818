/*
 * Images with the translator on, under Node's own WASI: what runs long is translated, and its results are the interpreter's. That translated code
 * agrees with QEMU is machine/bare's to show. Needs dist/images; `npm test` builds it first.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IMAGE = join(ROOT, 'dist/images/busybox.wasm');
const WORK = 'dd if=/dev/zero bs=1M count=24 2>/dev/null | sha256sum; seq 1 60000 | gzip -9 | md5sum; seq 1 20000 | sort -r | cksum; seq 1 20000 | awk \'{ s += $1 * 1.5 / 7 } END { print s }\'';

interface Ran { output: string; count(name: string): number }

function run(flags: string[], code = WORK): Ran {
  const child = spawnSync(process.execPath, ['--no-warnings', join(ROOT, 'machine/dev-run.mjs'), IMAGE, ...flags, '--', 'sh', '-c', code], { input: '', encoding: 'utf8', timeout: 60_000, env: { ...process.env, MARK: '1' } });
  return {
    output: child.stdout.replaceAll('\r', ''),
    count(name) {
      const found = new RegExp(`\\b${name} (\\d+)`).exec(child.stderr);
      if (found === null) throw new Error(`no count of ${name} in: ${child.stderr}`);
      return Number(found[1]);
    },
  };
}

describe.skipIf(!existsSync(IMAGE))('the translator', () => {
  test('most of what runs long is translated, with the same results', () => {
    const interpreted = run([]), translated = run(['--translate']);
    expect(interpreted.output.split('\n')).toHaveLength(5);
    expect(translated.output).toBe(interpreted.output);
    expect(translated.count('regions')).toBeGreaterThan(5);
    expect(translated.count('refused')).toBe(0);
    // The sum alone is 1.4 billion instructions.
    expect(translated.count('retired')).toBeGreaterThan(1e9);
  }, 120_000);

  test('with room for few modules all are dropped again and again, and the results are the same', () => {
    const code = 'i=0; while [ $i -lt 4 ]; do seq 1 4000 | sort -r | sha256sum; seq 1 4000 | gzip -9 | cksum; seq 1 4000 | md5sum; i=$((i + 1)); done';
    const interpreted = run([], code), translated = run(['--translate', '--modules', '2'], code);
    expect(interpreted.output.split('\n')).toHaveLength(13);
    expect(translated.output).toBe(interpreted.output);
    expect(translated.count('dropped_all')).toBeGreaterThan(0);
  }, 120_000);
});
