import { beforeEach, describe, expect, it, vi } from 'vitest';
import { FOREIGN_IMAGE } from '../../shared/wasi/image-info.ts';
import { Container } from './container.ts';
import { firstRunner, outcome, ScriptedRunner } from './fixture/scripted-runner.ts';
import type { StartOptions } from './start-options.ts';
import type { TerminalLine, TerminalScreen } from './terminal-line.ts';

let runners: ScriptedRunner[];
let seen: string[];
const IMAGE = { url: 'http://x/a.wasm', bytes: 7, sha256: null, title: 'A', source: 'a' };
const OPTIONS: StartOptions = {
  image: IMAGE, cmd: ['sh'], net: { kind: 'none' },
  onState: (state, { exitCode, error }) => seen.push([state, exitCode, error?.code].filter((part) => part !== undefined).join(' ')),
};

const start = (options: StartOptions = {}): Container => new Container({ ...OPTIONS, ...options }, (runnerOptions) => {
  const runner = new ScriptedRunner(runnerOptions);
  runners.push(runner);
  return runner;
});

class Screen implements TerminalScreen {
  shown = '';
  line: TerminalLine | null = null;
  size(): { cols: number; rows: number } { return { cols: 99, rows: 9 }; }
  connect(line: TerminalLine): (bytes: Uint8Array, done: () => void) => void {
    this.line = line;
    return (bytes, done) => {
      this.shown += new TextDecoder().decode(bytes);
      done();
    };
  }
}

it('fixes the size of its screen before the first output, where the image takes none', async () => {
  for (const [resize, fixed] of [[true, []], [false, [{ cols: 80, rows: 25 }]]] as const) {
    runners = [];
    const sizes: unknown[] = [];
    const screen = Object.assign(new Screen(), { fix: (size: unknown) => sizes.push(size) });
    start({ terminal: screen });
    const runner = await firstRunner(runners);
    runner.info = { ...FOREIGN_IMAGE, resize };
    runner.says('loading');
    expect(sizes).toEqual([]);
    runner.says('starting');
    expect(sizes).toEqual(fixed);
    runner.says('running');
    expect(sizes).toEqual(fixed);
  }
});

beforeEach(() => {
  vi.stubGlobal('document', { baseURI: 'http://x/' });
  runners = [];
  seen = [];
});

it('hands what it was given to its runner', async () => {
  const container = start({ memory: '1G', wishedMemoryMiB: 512, size: { cols: 70, rows: 20 } });
  expect(container.chosen).toBeNull();
  const { options } = await firstRunner(runners);
  expect(options).toMatchObject({ imageUrl: IMAGE.url, imageBytes: 7, imageSha256: null, args: ['sh'], net: { kind: 'none' }, memoryMiB: 1024, wishedMemoryMiB: 512, size: { cols: 70, rows: 20 }, resume: null });
  expect([container.chosen?.source, container.netMode?.kind, container.state]).toEqual(['a', 'none', 'loading']);
});

it('takes an entry of the list, files of this computer, and words as the address has them', async () => {
  const named: string[] = [];
  const onImage: StartOptions['onImage'] = ({ source, title }) => { named.push(`${source}/${title}`); };
  start({ image: { name: 'a', title: 'A', url: IMAGE.url, bytes: 7, sha256: null }, onImage });
  await firstRunner(runners);
  start({ image: { wasm: new File(['x'], 'b c.wasm'), disk: null }, onImage });
  await firstRunner(runners, 2);
  start({ image: 'http://x/d.wasm', cmd: "sh -c 'exit 3'", net: 'delegate=ws://localhost:1', onImage });
  await firstRunner(runners, 3);
  expect(named).toEqual(['a/A', '/b c.wasm', 'http://x/d.wasm/d.wasm']);
  expect(runners[1].options).toMatchObject({ imageUrl: 'file:///b%20c.wasm', imageFiles: { disk: null } });
  expect(runners[2].options).toMatchObject({ args: ['sh', '-c', 'exit 3'], net: { kind: 'delegate', url: 'ws://localhost:1/' } });
});

it('what cannot be meant is a failure, and no runner is made', async () => {
  const container = start({ net: 'pigeon' });
  expect(await outcome(container.ready)).toMatch(/no such network/);
  expect([container.state, container.error?.code, runners.length]).toEqual(['failed', 'arguments', 0]);
  expect(seen).toEqual(['loading', 'failed arguments']);
});

describe('a run', () => {
  it('is ready with its first output, and exits with its status', async () => {
    const container = start();
    const runner = await firstRunner(runners);
    runner.says('starting');
    expect(await outcome(container.ready)).toBe('pending');
    runner.says('running');
    expect(await outcome(container.ready)).toBe('ready');
    runner.says('exited', { exitCode: 3 });
    expect(await container.exited).toBe(3);
    expect(seen).toEqual(['loading', 'starting', 'running', 'exited 3']);
    container.stop();
    expect([container.state, runner.stopped]).toEqual(['exited', 0]);
  });

  it('that exits without a word is ready all the same', async () => {
    const container = start();
    (await firstRunner(runners)).says('exited', {});
    expect([await outcome(container.ready), await container.exited]).toEqual(['ready', 0]);
  });

  it('that fails says why', async () => {
    const container = start();
    (await firstRunner(runners)).says('failed', { error: { code: 'not-wasm', message: 'starts with <!doctype' } });
    expect(container.error?.code).toBe('not-wasm');
    expect(await outcome(container.ready)).toMatch(/^Not a WebAssembly file: .*<!doctype/);
    expect(await outcome(container.exited)).toMatch(/^Not a WebAssembly file/);
  });

  it('takes input once it is there: typed, or as a terminal sends it', async () => {
    const container = start();
    expect(container.write('x')).toBe(false);
    const runner = (await firstRunner(runners)).runs();
    expect([container.write('grüße\n'), container.send('\n')]).toEqual([true, true]);
    expect(runner.written).toBe('grüße\r\n');
    container.stop();
    expect(container.write('x')).toBe(false);
  });

  it('waits for text, and does not when the container has ended', async () => {
    const container = start();
    const runner = (await firstRunner(runners)).runs();
    const found = container.waitForText(/b(a.)/);
    expect(runner.prints('\x1b[1mbar')).toBe(true);
    expect((await found)[1]).toBe('ar');
    const never = container.waitForText('never');
    runner.says('exited', { exitCode: 0 });
    expect(await outcome(never)).toMatch(/ended \(exited\) without/);
  });
});

describe('stop', () => {
  it('ends a running container', async () => {
    const container = start();
    const runner = (await firstRunner(runners)).runs();
    container.stop();
    container.stop();
    runner.says('stopped');
    expect([runner.stopped, container.state, container.error]).toEqual([1, 'stopped', null]);
    expect(seen.filter((state) => state === 'stopped')).toHaveLength(1);
  });

  it('cancels a start, also before there is a runner', async () => {
    const container = start();
    container.stop();
    expect(await outcome(container.ready)).toMatch(/cancelled/);
    expect([container.error?.code, runners.length]).toEqual(['cancelled', 0]);
    expect(seen).toEqual(['stopped cancelled']);
  });
});

it('a terminal is asked for its size, gets the output, and sends keys and sizes', async () => {
  const screen = new Screen();
  const container = start({ terminal: screen });
  expect(screen.line).toBe(container);
  // It changed while the image was looked for.
  screen.line!.resize(98, 8);
  const runner = (await firstRunner(runners)).runs();
  expect(runner.options.size).toEqual({ cols: 98, rows: 8 });
  expect(runner.prints('hello')).toBe(true);
  screen.line!.send('\n');
  screen.line!.resize(97, 7);
  expect([screen.shown, runner.written, runner.sizes]).toEqual(['hello', '\n', ['97x7']]);
  container.openTerminal({ terminal: screen });
  expect(runner.opened[0].size).toEqual({ cols: 99, rows: 9 });
});

it('output waits for who takes it', async () => {
  const dones: (() => void)[] = [];
  start({ onOutput: (_bytes, done) => { dones.push(done); } });
  const runner = (await firstRunner(runners)).runs();
  expect([runner.prints('x'), dones.length]).toEqual([false, 1]);
});
