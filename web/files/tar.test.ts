import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tarParts } from './tar.ts';

test('tar unpacks it: contents of every length, modes, times, links, names of any length and script', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-tar-'));
  try {
    const long = `${'long-'.repeat(40)}name`;
    const files = [0, 1, 511, 512, 513, 5000].map((len) => ({ path: `d/${len}`, mode: 0o640, mtimeMs: 1_500_000_000_000, bytes: Uint8Array.from({ length: len }, (_, i) => i) }));
    const odd = [`d/${long}`, 'd/größe 漢字', "d/it's"].map((path) => ({ path, mode: 0o755, mtimeMs: 1000, bytes: new Uint8Array([1]) }));
    const links = [{ path: 'd/link', mode: 0o777, mtimeMs: 0, link: '513' }, { path: 'd/far', mode: 0o777, mtimeMs: 0, link: `ü/${long}` }];
    const parts = tarParts([{ path: 'd/', mode: 0o750, mtimeMs: 1_500_000_000_000 }, ...files, ...odd, ...links]);
    const archive = join(folder, 'x.tar');
    writeFileSync(archive, Buffer.concat(parts));
    expect(parts.reduce((sum, part) => sum + part.length, 0) % 512).toBe(0);
    execFileSync('tar', ['-xpf', archive, '-C', folder]);
    for (const { path, bytes, mode, mtimeMs } of [...files, ...odd]) {
      expect(new Uint8Array(readFileSync(join(folder, path))), path).toEqual(bytes);
      expect([statSync(join(folder, path)).mode & 0o7777, statSync(join(folder, path)).mtimeMs], path).toEqual([mode, mtimeMs]);
    }
    expect(statSync(join(folder, 'd')).mode & 0o7777).toBe(0o750);
    expect(links.map(({ path }) => readlinkSync(join(folder, path)))).toEqual(links.map(({ link }) => link));
  } finally {
    rmSync(folder, { recursive: true });
  }
});
