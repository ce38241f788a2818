/*
 * A command without a terminal: `portside run` between pipes, with the busybox image. Bytes, ends, signals, and when there is a terminal.
 * Needs dist/images.
 */
import { spawn, spawnSync, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const IMAGE = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
const WAIT_MS = 120_000;

interface Ended {
  status: number | null;
  stdout: Buffer;
  stderr: string;
}

class Run {
  readonly child: ChildProcessWithoutNullStreams;
  readonly ended: Promise<Ended>;
  readonly #stdout: Buffer[] = [];
  #stderr = '';

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, [BIN, 'run', ...args]);
    this.child.stdout.on('data', (bytes: Buffer) => { this.#stdout.push(bytes); });
    this.child.stderr.on('data', (bytes: Buffer) => { this.#stderr += bytes.toString(); });
    this.child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      this.child.on('close', (status) => { resolve({ status, stdout: Buffer.concat(this.#stdout), stderr: this.#stderr }); });
    });
  }

  async said(text: string): Promise<void> {
    for (const end = Date.now() + WAIT_MS; !Buffer.concat(this.#stdout).includes(text); await new Promise((resolve) => { setTimeout(resolve, 20); })) {
      if (Date.now() > end) throw new Error(`no ${text} in ${Buffer.concat(this.#stdout).toString()}, ${this.#stderr}`);
    }
  }
}

/** A shell's line in the container, with `input` on its stdin. */
function sh(line: string, input: string | Uint8Array = '', flags: string[] = []): Promise<Ended> {
  const run = new Run(...flags, IMAGE, 'sh', '-c', line);
  run.child.stdin.end(input);
  return run.ended;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

describe.skipIf(!existsSync(IMAGE))('without a terminal', () => {
  const dir = mkdtempSync(join(tmpdir(), 'portside-pipes-'));
  afterAll(() => { rmSync(dir, { recursive: true }); });

  test('bytes go in as they are: a sum of all of them, thrice', async () => {
    const bytes = Buffer.concat([Buffer.from(Uint8Array.from({ length: 256 }, (_, i) => i)), Buffer.from('\x04\x03\x1a\x1c\r\n\x1b_portside;size=1x1\x1b\\\x11\x13\x00'), randomBytes(1 << 20)]);
    expect(await sh('sha256sum', bytes)).toEqual({ status: 0, stdout: Buffer.from(`${sha256(bytes)}  -\n`), stderr: '' });
  }, WAIT_MS);

  test('and out: 16 MiB, bit for bit', async () => {
    const bytes = randomBytes(16 << 20);
    const { status, stdout, stderr } = await sh('cat', bytes);
    expect([status, stdout.length, sha256(stdout), stderr]).toEqual([0, bytes.length, sha256(bytes), '']);
  }, WAIT_MS);

  test('lines keep their ends, in both directions', async () => {
    expect((await sh('cat; printf "x\\n\\r\\n"', 'a\nb\r\nno end')).stdout.toString()).toBe('a\nb\r\nno endx\n\r\n');
  }, WAIT_MS);

  test('a program sees the end, and what it says then comes whole, with its status', async () => {
    const { status, stdout } = await sh('n=$(wc -c); i=0; while [ $i -lt 5000 ]; do echo "line $i"; i=$((i + 1)); done; echo "after $n"; exit 42', 'x'.repeat(5000));
    expect([status, stdout.toString().split('\n').length, stdout.toString().endsWith('line 4999\nafter 5000\n')]).toEqual([42, 5002, true]);
  }, WAIT_MS);

  test('input that comes later comes, and an end only when it is one', async () => {
    const run = new Run(IMAGE, 'sh', '-c', 'read a; echo "first $a"; cat');
    run.child.stdin.write('one\n');
    await run.said('first one');
    run.child.stdin.write('two');
    await run.said('two');
    run.child.stdin.end(' three');
    expect((await run.ended).stdout.toString()).toBe('first one\ntwo three');
  }, WAIT_MS);

  test('stderr is apart', async () => {
    expect(await sh('echo out; echo err >&2; ls /none; exit 3')).toEqual({ status: 3, stdout: Buffer.from('out\n'), stderr: 'err\nls: /none: No such file or directory\n' });
  }, WAIT_MS);

  test('nothing is a terminal, and each stream can be opened once more', async () => {
    const { stdout, stderr } = await sh('for i in 0 1 2; do [ -t $i ] && echo "terminal $i"; [ -p /dev/fd/$i ] || echo "no pipe $i"; done; tty; echo x >/dev/tty; echo again >/dev/stdout; echo err >/dev/stderr');
    expect([stdout.toString(), stderr]).toEqual(['not a tty\nagain\n', "sh: can't create /dev/tty: No such device or address\nerr\n"]);
  }, WAIT_MS);

  test('a command that does not read is not waited for, nor one that left others behind', async () => {
    const run = new Run(IMAGE, 'sh', '-c', 'sleep 1000 & echo done');
    // Never ended.
    run.child.stdin.write(randomBytes(1 << 20));
    expect(await run.ended).toMatchObject({ status: 0, stdout: Buffer.from('done\n') });
  }, WAIT_MS);

  test('--no-stdin leaves stdin alone', async () => {
    const run = new Run(IMAGE, '--no-stdin', 'sh', '-c', 'cat; echo end');
    expect((await run.ended).stdout.toString()).toBe('end\n');
  }, WAIT_MS);

  test('a reader that goes breaks the pipe of the command, not the container', async () => {
    const line = `${process.execPath} ${BIN} run ${IMAGE} sh -c 'yes; echo "yes $?" >&2; exit 4' | head -n 2; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8', timeout: WAIT_MS });
    expect([stdout, stderr]).toEqual(['y\ny\n4\n', 'yes 141\n']);
  }, WAIT_MS);

  test('output that can\'t be written is an error', () => {
    const { status, stderr } = spawnSync('bash', ['-c', `${process.execPath} ${BIN} run ${IMAGE} echo lost >/dev/full`], { encoding: 'utf8', timeout: WAIT_MS });
    expect([status, stderr]).toEqual([1, 'portside run: stdout can\'t be written: ENOSPC\n']);
  }, WAIT_MS);

  test('signals are for the command first', async () => {
    const names = ['HUP', 'QUIT', 'USR1', 'USR2', 'INT'];
    const run = new Run(IMAGE, 'sh', '-c', `for s in ${names.join(' ')}; do trap "echo got $s" $s; done; trap 'echo out; exit 7' TERM; echo ready; while :; do sleep 0.1; done`);
    await run.said('ready');
    for (const name of names.slice(0, 4)) {
      run.child.kill(`SIG${name}` as NodeJS.Signals);
      await run.said(`got ${name}`);
    }
    run.child.kill('SIGTERM');
    expect(await run.ended).toEqual({ status: 7, stdout: Buffer.from('ready\ngot HUP\ngot QUIT\ngot USR1\ngot USR2\nout\n'), stderr: '' });
  }, WAIT_MS);

  test('one that does not care ends of them, as any program', async () => {
    const signals = [['SIGTERM', 15], ['SIGINT', 2], ['SIGUSR1', 10]] as const;
    const ended = await Promise.all(signals.map(async ([signal]) => {
      // No shell: it would have a handler of its own for SIGINT, and may be in the middle of its exec.
      const run = new Run(IMAGE, 'cat');
      run.child.stdin.write('ready\n');
      await run.said('ready');
      run.child.kill(signal);
      return run.ended;
    }));
    expect(ended).toEqual(signals.map(([, number]) => ({ status: 128 + number, stdout: Buffer.from('ready\n'), stderr: '' })));
  }, WAIT_MS);

  test('one that ignores them is killed after the grace time, or when it is told a third time', async () => {
    const stubborn = ['sh', '-c', `trap '' TERM; trap 'echo $((n += 1)) times' INT; echo ready; while :; do sleep 0.1; done`];
    const [short, never] = [new Run('--stop-timeout', '1', IMAGE, ...stubborn), new Run('--stop-timeout=-1', IMAGE, ...stubborn)];
    await Promise.all([short, never].map((run) => run.said('ready')));
    const start = Date.now();
    short.child.kill('SIGTERM');
    never.child.kill('SIGINT');
    expect((await short.ended).status).toBe(137);
    expect(Date.now() - start).toBeGreaterThan(900);
    await never.said('1 times');
    never.child.kill('SIGINT');
    await never.said('2 times');
    never.child.kill('SIGINT');
    expect((await never.ended).status).toBe(137);
  }, WAIT_MS);

  test('a signal reaches a command whose output nobody takes', async () => {
    const run = new Run(IMAGE, 'sh', '-c', 'echo ready; exec yes');
    await run.said('ready');
    run.child.stdout.pause();
    // Long enough for all that is between the two to be full.
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    run.child.kill('SIGTERM');
    await new Promise((resolve) => { setTimeout(resolve, 1000); });
    run.child.stdout.resume();
    expect((await run.ended).status).toBe(143);
  }, WAIT_MS);

  test('-t asks for a terminal, -T refuses one; -i, -it and --rm are harmless', async () => {
    const flags = [['-t'], ['-it'], ['-i'], ['-T'], ['--rm', '-i']];
    const outputs = await Promise.all(flags.map((some) => sh('tty; stty -a >/dev/null 2>&1 && echo sane', '', some).then(({ stdout }) => stdout.toString())));
    expect(outputs).toEqual(['/dev/hvc0\r\nsane\r\n', '/dev/hvc0\r\nsane\r\n', 'not a tty\n', 'not a tty\n', 'not a tty\n']);
  }, WAIT_MS);

  test('what does not go together is said', async () => {
    const [both, save, time] = await Promise.all([sh('', '', ['-t', '-T']), sh('', '', ['-T', '--save', join(dir, 'x')]), sh('', '', ['--stop-timeout', 'x'])]);
    expect([both.status, both.stderr]).toEqual([2, expect.stringContaining('-t asks for a terminal and -T for none')]);
    expect([save.status, save.stderr]).toEqual([2, expect.stringContaining('--save and --resume without -T')]);
    expect([time.status, time.stderr]).toEqual([2, expect.stringContaining('--stop-timeout takes a number from 0')]);
  }, WAIT_MS);

  /** In a terminal that script(1) makes; `line` may send streams elsewhere. */
  const inTerminal = (line: string, input = ''): string => {
    const { stdout } = spawnSync('script', ['-qec', line.replaceAll('RUN', `${process.execPath} ${BIN} run`), '/dev/null'], { encoding: 'utf8', input, timeout: WAIT_MS });
    // What its end of input is seen as is not ours.
    return stdout.replaceAll(/\r|\^@|\0/g, '');
  };

  test('in a terminal there is one, whatever stderr is; where stdin or stdout is none there is none', () => {
    const tell = `${IMAGE} sh -c 'for i in 0 1 2; do [ -t $i ] && echo "terminal $i"; done; echo said >&2'`;
    const file = join(dir, 'streams');
    expect(inTerminal(`RUN ${tell} 2>${file}`)).toBe('terminal 0\nterminal 1\nterminal 2\nsaid\n');
    expect(readFileSync(file, 'utf8')).toBe('');
    expect(inTerminal(`RUN ${tell} >${file}`)).toBe('said\n');
    expect(readFileSync(file, 'utf8')).toBe('');
    writeFileSync(file, 'from a file\n');
    expect(inTerminal(`RUN ${IMAGE} sh -c '[ -t 1 ] && echo terminal; cat' <${file}`)).toBe('from a file\n');
  }, WAIT_MS);

  test('keys are those of who reads the output, unless -i says otherwise', () => {
    expect(inTerminal(`RUN ${IMAGE} sh -c 'cat; echo end' | cat; read -r line; echo "left: $line"`, 'keys\n')).toContain('end\nleft: keys');
    expect(inTerminal(`RUN -i ${IMAGE} sh -c 'read -r line; echo "got $line"' | cat`, 'keys\n')).toContain('got keys\n');
  }, WAIT_MS);
});
