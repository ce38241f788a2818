/*
 * Shared directories whole: `portside run --dir` with a Linux guest. fixture/files.c, compiled for the guest and for this computer, tells
 * what file operations do; the two must tell the same, apart from the list below.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCE = fileURLToPath(new URL('./fixture/files.c', import.meta.url));
const GUEST_COMPILER = 'riscv64-linux-gnu-gcc';

/** What 9P, WASI or Linux's client of it has not: line of `files corners` here → there. */
const DIFFERENCES: Record<string, string> = {
  'mkfifo: ok': 'mkfifo: EPERM',
  'device node: ok': 'device node: EPERM',
  'extended attribute: ok': 'extended attribute: EOPNOTSUPP',
  'file without a name: ok': 'file without a name: EOPNOTSUPP',
  'space in advance: ok': 'space in advance: EOPNOTSUPP',
  'exchange of names: ok': 'exchange of names: EINVAL',
  'set-user-id: 4755': 'set-user-id: 755',
  'shared memory that is written: ok': 'shared memory that is written: EINVAL',
  'times that are set: 1500000000.500': 'times that are set: 1500000000.000',
  // Linux makes a flock of 9P an fcntl lock, and these two are then one too many.
  'flock: ok': 'flock: EAGAIN',
  'open file without a name: old 0 65536': 'open file without a name: old 0 8192',
};

const missing = ['gcc', GUEST_COMPILER].filter((compiler) => spawnSync(compiler, ['--version']).status !== 0);
if (!existsSync(join(ROOT, 'dist/images/busybox.wasm'))) missing.push('dist/images/busybox.wasm');
if (missing.length > 0) console.warn(`shared directories are not compared with Linux's own: there is no ${missing.join(', no ')}`);

describe.runIf(missing.length === 0)('a shared directory in a Linux guest', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'portside-share-')));
  const shared = join(folder, 'shared');
  afterAll(() => { rmSync(folder, { recursive: true }); });

  beforeAll(() => {
    mkdirSync(shared);
    execFileSync('gcc', ['-O1', '-w', '-o', join(folder, 'files'), SOURCE]);
    execFileSync(GUEST_COMPILER, ['-O1', '-w', '-static', '-o', join(shared, 'files'), SOURCE]);
  });

  async function inGuest(flags: string[], script: string): Promise<{ status: number | null; out: string }> {
    const child = spawn(process.execPath, [join(ROOT, 'bin/portside.mjs'), 'run', ...flags, 'busybox', 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (bytes: Buffer) => { out += bytes.toString(); });
    child.stderr.on('data', (bytes: Buffer) => { out += bytes.toString(); });
    return new Promise((resolve) => { child.on('close', (status) => { resolve({ status, out: out.replaceAll('\r', '') }); }); });
  }

  const here = (...args: string[]): string => execFileSync(join(folder, 'files'), args, { cwd: folder, encoding: 'utf8', maxBuffer: 1 << 28 });
  const there = (name: string): string => readFileSync(join(shared, name), 'utf8');

  test('random operations have the results that they have here', async () => {
    const { status, out } = await inGuest(['--dir', `${shared}::/s`], 'cd /s; for i in 1 2 3; do ./files random $i 1500 work$i $([ $i != 3 ] || echo small) >random$i || exit 9; done');
    expect([status, out]).toEqual([0, '']);
    for (const seed of ['1', '2', '3']) {
      const text = here('random', seed, '1500', `work${seed}`, ...(seed === '3' ? ['small'] : []));
      expect(text.split('\n').length).toBeGreaterThan(1500);
      expect(there(`random${seed}`)).toBe(text);
    }
    // What the guest made is here, byte for byte; the other two have holes of gigabytes, which a comparison would read.
    execFileSync('diff', ['-r', '--no-dereference', join(folder, 'work3'), join(shared, 'work3')]);
  }, 300_000);

  test('what a program may miss is what the list says', async () => {
    const { status, out } = await inGuest(['--dir', `${shared}::/s`], 'cd /s && ./files corners corners >corners.txt');
    expect([status, out]).toEqual([0, '']);
    expect(there('corners.txt').split('\n')).toEqual(here('corners', 'corners').split('\n').map((line) => DIFFERENCES[line] ?? line));
  }, 120_000);

  test('of what several programs append nothing is lost, while a program here appends, too', async () => {
    const log = join(shared, 'log');
    const { status, out } = await inGuest(['--dir', `${shared}::/s`], 'cd /s && ./files append log 400 3');
    expect([status, out]).toEqual([0, '3 writers of 400 lines: 0 lost, 0 wrong, 0 failed\n']);
    writeFileSync(log, '');
    const script = 'cd /s; w() { i=0; while [ $i -lt 150 ]; do echo $1$i >>log; i=$((i + 1)); done; }; w a & w b & wait; ./files append log2 200 2';
    const running = inGuest(['--dir', `${shared}::/s`], script);
    const ended = running.then(() => true);
    let ours = 0;
    while (!await Promise.race([ended, new Promise<boolean>((resolve) => { setTimeout(() => { resolve(false); }, 2); })])) appendFileSync(log, `here${ours++}\n`);
    expect(await running).toEqual({ status: 0, out: '2 writers of 200 lines: 0 lost, 0 wrong, 0 failed\n' });
    const lines = readFileSync(log, 'utf8').split('\n').slice(0, -1);
    for (const [name, count] of [['a', 150], ['b', 150], ['here', ours]] as const) expect(lines.filter((line) => line.startsWith(name))).toEqual(Array.from({ length: count }, (_, i) => `${name}${i}`));
    expect(lines).toHaveLength(300 + ours);
  }, 120_000);

  test('several directories, read-only ones, names with blanks and quotes, places behind links', async () => {
    const other = join(folder, "an other's");
    mkdirSync(other);
    writeFileSync(join(other, 'text'), 'from here\n', { mode: 0o640 });
    symlinkSync('/etc/hostname', join(other, 'absolute'));
    const flags = ['--dir', `${other}:ro`, '--mapdir', `/mnt/a b'c::${shared}`, '--dir', `${other}::/var/lib/x`];
    const script = [
      `cat "${other}/text"`, `touch "${other}/new" 2>&1`, `chmod 600 "${other}/text" 2>&1`, `rm "${other}/text" 2>&1`,
      `cd "/mnt/a b'c" && mkdir d && echo made >d/f && chmod 711 d/f && stat -c "%a %U %s" d/f`,
      // A link is followed where it is looked at: in the container.
      'cat /var/lib/x/absolute', 'stat -c "%a %n" /var/lib/x/text', 'mount | grep -c "type 9p"',
    ].join('; ');
    const { status, out } = await inGuest([...flags, '--hostname', 'inside'], script);
    const refused = (what: string): string => `${what}: Read-only file system\n`;
    expect(out).toBe(`from here\n${refused(`touch: ${other}/new`)}${refused(`chmod: ${other}/text`)}${refused(`rm: can't remove '${other}/text'`)}711 root 5\ninside\n640 /var/lib/x/text\n3\n`);
    expect(status).toBe(0);
    expect(there('d/f')).toBe('made\n');
    expect(statSync(join(shared, 'd/f')).mode & 0o7777).toBe(0o711);
  }, 60_000);

  test('mistakes are one line', async () => {
    expect(await inGuest(['--dir', `${folder}/none::/x`], 'true')).toEqual({ status: 2, out: expect.stringMatching(/--dir: there is no directory .*\/none; make it first\nTry: .*\n$/) });
  }, 30_000);
});
