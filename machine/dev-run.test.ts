/* The runner for development offers what the product's hosts offer to a machine that translates. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { compileTranslator } from '../shared/wasi/fixtures/translator-image.ts';

const RUNNER = fileURLToPath(new URL('./dev-run.mjs', import.meta.url));
let image = '';
beforeAll(async () => { image = fileURLToPath(await compileTranslator()); }, 120_000);

function run(...flags: string[]): [number | null, string] {
  const { status, stdout } = spawnSync(process.execPath, ['--no-warnings', RUNNER, image, ...flags], { encoding: 'utf8', timeout: 20_000 });
  return [status, stdout];
}

test('--translate compiles for the machine, with the settings behind it, beside a directory or without', () => {
  const says = (settings: string): string => `version 1, ${settings}\nindex 0: Invalid argument\ntranslated: 1000\n`;
  expect(run('--translate')).toEqual([0, says('threshold 0, modules 0, bytes 0, flags 0')]);
  expect(run('--translate', '--threshold', '1', '--modules', '16', '--bytes', '65536', '--lockstep', '--profile', '--in', '/', '--disk', fileURLToPath(new URL('.', import.meta.url)), '--', 'x')).toEqual(
    [0, says('threshold 1, modules 16, bytes 65536, flags 3')],
  );
});

test('without it there is no such device', () => {
  expect(run()).toEqual([1, 'open: No such file or directory\n']);
});
