/* Help and completion against the tables, and the scripts in the shells that they are for (where these are installed). */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { C2W_NET_TABLE, COMMAND_TABLES, type CommandTable } from './command-tables.ts';
import { completion } from './completion.ts';
import type { CliContext } from './context.ts';
import { commandHelp, helpText } from './help.ts';

const SHELLS = ['bash', 'zsh', 'fish'];
const installed = Object.fromEntries(SHELLS.map((shell) => [shell, spawnSync(shell, ['--version']).error === undefined]));
for (const shell of SHELLS) if (!installed[shell]) console.log(`skipped: ${shell} is not installed`);

let dir: string;
const scripts: Record<string, string> = {};
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portside-completion-'));
  for (const shell of SHELLS) {
    const lines: string[] = [];
    expect(await completion([shell], { print: (line: string) => lines.push(line) } as unknown as CliContext)).toBe(0);
    scripts[shell] = join(dir, shell);
    writeFileSync(scripts[shell], lines.join('\n'));
  }
  // What asks for the names of images.
  writeFileSync(join(dir, 'portside'), '#!/bin/sh\nprintf \'[\\n  {\\n    "name": "busybox",\\n    "title": "x"\\n  },\\n  {\\n    "name": "debian",\\n  }\\n]\\n\'\n', { mode: 0o755 });
});
afterAll(() => rmSync(dir, { recursive: true }));

const TABLES: [string, CommandTable][] = [...Object.entries(COMMAND_TABLES), ['c2w-net', C2W_NET_TABLE]];

test.each(TABLES)('--help of %s names every flag, and says of what kind its value is', (name, table) => {
  const text = name === 'c2w-net' ? commandHelp(name, table) : helpText(name)!;
  expect(text.split('\n')[0]).toMatch(name === 'c2w-net' ? /^c2w-net \S/ : new RegExp(`^portside ${name} \\S`));
  for (const [flag, { type, value, about, short }] of Object.entries(table.flags)) {
    expect([type === 'string', value !== undefined && value !== ''], flag).toEqual([type === 'string', type === 'string']);
    const head = `  ${flag.length === 1 ? '-' : '--'}${flag}${short === undefined ? '' : `, -${short}`}${value === undefined ? '' : ` ${value}`}`;
    expect(text.split('\n').some((line) => line === head || line.startsWith(`${head} `)), head).toBe(true);
    expect(text).toContain(about);
    expect(about).not.toMatch(/\.$/);
  }
  for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(170);
});

test('what is no shell is refused', async () => {
  for (const args of [[], ['tcsh'], ['bash', 'zsh'], ['toString']]) await expect(completion(args, {} as CliContext)).rejects.toMatchObject({ code: 'RELAY_BAD_FLAG' });
});

/** What bash would offer for the last of `words`. */
function inBash(words: string[]): string[] {
  const script = `source '${scripts['bash']}'; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _portside 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8', env: { ...process.env, PATH: `${dir}:${process.env['PATH']}` } }).split('\n').filter(Boolean);
}

function inFish(line: string): string[] {
  const text = execFileSync('fish', ['--no-config', '-c', `source '${scripts['fish']}'; complete -C '${line}'`], { encoding: 'utf8', env: { ...process.env, HOME: dir, PATH: `${dir}:${process.env['PATH']}` } });
  return text.split('\n').map((row) => row.split('\t')[0]).filter(Boolean);
}

describe.skipIf(!installed['bash'])('bash', () => {
  test('commands, flags, values of flags, names of images', () => {
    expect(inBash(['portside', 'c'])).toEqual(['convert', 'connect', 'completion']);
    expect(inBash(['portside', 'help', 'im'])).toEqual(['images']);
    expect(inBash(['portside', 'serve', '--allow'])).toEqual(['--allow-origin', '--allow-host']);
    expect(inBash(['/x/portside', 'serve', '--log-format', ''])).toEqual(['text', 'json']);
    expect(inBash(['portside', 'run', '--net', ''])).toEqual(['busybox', 'debian']);
    expect(inBash(['portside', 'completion', 'f'])).toEqual(['fish']);
    expect(inBash(['c2w-net', '--ws'])).toEqual(['--ws-cert', '--ws-key']);
  });

  test.each(TABLES)('every flag of %s', (name, { flags }) => {
    const wanted = Object.entries(flags).flatMap(([flag, { short }]) => [flag.length === 1 ? `-${flag}` : `--${flag}`, ...(short === undefined ? [] : [`-${short}`])]);
    expect(inBash(name === 'c2w-net' ? [name, '-'] : ['portside', name, '-']).sort()).toEqual(wanted.sort());
  });
});

describe.skipIf(!installed['fish'])('fish', () => {
  test('commands, flags, values of flags, names of images', () => {
    expect(inFish('portside co').sort()).toEqual(['completion', 'connect', 'convert']);
    expect(inFish('portside serve --allow').sort()).toEqual(['--allow-host', '--allow-origin']);
    expect(inFish('portside serve --log-format ').sort()).toEqual(['json', 'text']);
    expect(inFish('portside run b')).toContain('busybox');
    expect(inFish('c2w-net --ws').sort()).toEqual(['--ws-cert', '--ws-key']);
  }, 60_000);
});

describe.skipIf(!installed['zsh'])('zsh', () => {
  test('the script is loaded without a word, and completes in a terminal of zsh\'s own', () => {
    const load = `autoload -Uz compinit; compinit -u -d '${dir}/dump'; source '${scripts['zsh']}'`;
    expect(spawnSync('zsh', ['-f', '-c', load], { encoding: 'utf8' })).toMatchObject({ status: 0, stdout: '', stderr: '' });
    // zpty(1) of zshmodules: types into an inner zsh, whose completion is written out as it lists it.
    const drive = `
      zmodload zsh/zpty
      zpty inner zsh -f -i
      zpty -w inner "PS1=; ${load.replaceAll('"', '\\"')}; zstyle ':completion:*' list-prompt ''; LISTMAX=1000; print lo''aded"
      zpty -r -m inner got '*loaded*'
      zpty -w -n inner $'portside serve --allow-\\t\\t'
      zpty -r -m inner got '*--allow-host*--allow-origin*' && print completed
      zpty -d inner`;
    expect(spawnSync('zsh', ['-f', '-c', drive], { encoding: 'utf8', timeout: 60_000, env: { ...process.env, TERM: 'xterm', COLUMNS: '200' } }).stdout).toContain('completed');
  }, 90_000);
});
