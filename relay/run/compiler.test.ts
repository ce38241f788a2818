/* `portside run` compiles for a machine that translates: shared/wasi/fixtures/translator.c stands for one. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { compileFixture } from '../../shared/wasi/fixtures/compile.mjs';
import { compileTranslator } from '../../shared/wasi/fixtures/translator-image.ts';

const PORTSIDE = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
let image = '';
/** the same without a table */
let plain = '';
beforeAll(async () => {
  image = fileURLToPath(await compileTranslator());
  plain = fileURLToPath(await compileFixture('translator.c', ['MODULE=0']));
}, 240_000);

function run(...args: string[]): [number | null, string] {
  const { status, stdout } = spawnSync(process.execPath, [PORTSIDE, 'run', ...args], { encoding: 'utf8', timeout: 30_000 });
  return [status, stdout.replaceAll('\r', '')];
}

test('the machine has its code compiled, and calls it', () => {
  expect(run(image)).toEqual([0, 'version 1, threshold 0, modules 0, bytes 0, flags 0\nindex 0: Invalid argument\ntranslated: 1000\n']);
});

test('--no-translate, and an image without a table: there is no device', () => {
  expect(run('--no-translate', image)).toEqual([1, 'open: No such file or directory\n']);
  expect(run(plain)).toEqual([1, 'open: No such file or directory\n']);
});
