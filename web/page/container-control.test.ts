import { beforeEach, describe, expect, it } from 'vitest';
import { ContainerControl, type Runner } from './container-control.ts';
import type { RunnerOptions, RunnerState, RunnerStats, StateDetail } from './runner.ts';

/** A runner that does what the test says. */
class ScriptedRunner implements Runner {
  readonly options: RunnerOptions;
  stopped = 0;
  written = '';
  retries = 0;

  constructor(options: RunnerOptions) {
    this.options = options;
  }

  start(): Promise<void> { return Promise.resolve(); }
  write(data: string | Uint8Array): boolean {
    this.written += typeof data === 'string' ? data : new TextDecoder().decode(data);
    return true;
  }
  resize(): void { /* not looked at */ }
  retryNet(): void { this.retries++; }
  stop(): void { this.stopped++; }
  readonly info = null;
  startCapture(): Promise<void> { return Promise.resolve(); }
  captureStats(): Promise<null> { return Promise.resolve(null); }
  stopCapture(): Promise<null> { return Promise.resolve(null); }
  callNetwork(): Promise<null> { return Promise.resolve(null); }
  openPort(port: number): Promise<string> { return Promise.resolve(`port ${port}`); }
  openFrame(): Promise<null> { return Promise.resolve(null); }
  openTerminal(): null { return null; }
  save(): Promise<never> { throw new Error('not asked for'); }
  stats(): RunnerStats { throw new Error('not asked for'); }
  says(state: RunnerState, detail: StateDetail = {}): void { this.options.onState?.(state, detail); }
}

let runners: ScriptedRunner[];
let seen: string[];
let control: ContainerControl;
const SPEC = { imageUrl: 'http://x/a.wasm', imageBytes: 7, imageSha256: null, argv: ['sh'], net: { kind: 'relay' } as const };

const outcome = (ready: Promise<void>) => Promise.race([ready.then(() => 'ready', (error: Error) => error.message), new Promise<string>((resolve) => setTimeout(() => resolve('pending'), 0))]);
const running = (): ScriptedRunner => {
  control.begin(SPEC);
  const runner = runners.at(-1)!;
  runner.says('loading');
  runner.says('starting');
  runner.says('running');
  return runner;
};

beforeEach(() => {
  runners = [];
  seen = [];
  control = new ContainerControl({
    onState: (state) => seen.push(state),
    onProgress: (progress) => seen.push(progress.phase),
    onNet: (status) => seen.push(`net ${status.state}`),
    onOutput: (bytes, done) => {
      seen.push(`out ${bytes.length}`);
      done();
    },
    onBegin: () => ({ cols: 80, rows: 25 }),
  }, (options) => {
    const runner = new ScriptedRunner(options);
    runners.push(runner);
    return runner;
  });
});

describe('a run', () => {
  it('hands the spec on', () => {
    control.begin(SPEC);
    expect(runners[0].options).toMatchObject({ imageUrl: 'http://x/a.wasm', imageBytes: 7, imageSha256: null, args: ['sh'], net: { kind: 'relay' }, size: { cols: 80, rows: 25 } });
  });

  it('is ready with its first output, also for who asked before it began', async () => {
    const before = control.ready;
    expect(await outcome(before)).toBe('pending');
    control.begin(SPEC);
    expect(control.ready).toBe(before);
    runners[0].says('starting');
    expect(await outcome(before)).toBe('pending');
    runners[0].says('running');
    expect(await outcome(before)).toBe('ready');
    expect(control.state).toBe('running');
  });

  it('that exits keeps its code and is ready even without output', async () => {
    control.begin(SPEC);
    runners[0].options.onNet?.({ state: 'up' });
    runners[0].says('exited', { exitCode: 3 });
    expect([control.state, control.exitCode, control.net.state]).toEqual(['exited', 3, 'off']);
    expect(await outcome(control.ready)).toBe('ready');
  });

  it('that fails says why', async () => {
    control.begin(SPEC);
    runners[0].says('failed', { error: { code: 'not-wasm', message: 'starts with <!doctype' } });
    expect(control.state).toBe('failed');
    expect(control.failure?.code).toBe('not-wasm');
    expect(await outcome(control.ready)).toMatch(/^Not a WebAssembly file: .*<!doctype/);
  });

  it('takes input once it is there', () => {
    expect(control.write('x')).toBe(false);
    const runner = running();
    expect(control.write('grüße')).toBe(true);
    expect(runner.written).toBe('grüße');
    control.stop();
    expect(control.write('x')).toBe(false);
    expect(runner.written).toBe('grüße');
  });
});

describe('restart', () => {
  it('ends the old run, and nothing that it still says is heard', () => {
    const old = running();
    expect(control.restart()).toBe(true);
    expect(old.stopped).toBe(1);
    expect(runners).toHaveLength(2);
    seen.length = 0;
    let done = 0;
    old.says('exited', { exitCode: 9 });
    old.options.onNet?.({ state: 'down' });
    old.options.onProgress?.({ phase: 'start' });
    old.options.onOutput(new Uint8Array(5), () => { done++; });
    expect(seen).toEqual([]);
    expect(done).toBe(1);
    expect(control.state).toBe('loading');
  });

  it('makes a new promise once the old one is settled, and keeps one that is not', async () => {
    control.begin(SPEC);
    const waiting = control.ready;
    control.restart();
    expect(control.ready).toBe(waiting);
    runners[1].says('running');
    expect(await outcome(waiting)).toBe('ready');
    control.restart();
    expect(control.ready).not.toBe(waiting);
    expect(await outcome(control.ready)).toBe('pending');
  });

  it('has nothing to do where nothing ran', () => expect(control.restart()).toBe(false));
});

describe('stop', () => {
  it('ends a running container', () => {
    const runner = running();
    control.stop();
    expect([runner.stopped, control.state, control.failure]).toEqual([1, 'stopped', null]);
    control.stop();
    expect(seen.filter((state) => state === 'stopped')).toHaveLength(1);
  });

  it('cancels a start, and says so to who waits', async () => {
    control.begin(SPEC);
    control.stop();
    expect(control.failure?.code).toBe('cancelled');
    expect(await outcome(control.ready)).toMatch(/cancelled/);
  });

  it('leaves an exit an exit', () => {
    running().says('exited', { exitCode: 4 });
    control.stop();
    expect([control.state, control.exitCode]).toEqual(['exited', 4]);
  });
});

it('fail is for a page that came to no container', async () => {
  const ready = control.ready;
  control.fail({ code: 'no-images', title: 'T', what: 'W.', next: 'N.', detail: '', retry: true });
  expect(control.state).toBe('failed');
  expect(await outcome(ready)).toBe('T: W. N.');
});
