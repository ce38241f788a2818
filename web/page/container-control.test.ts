import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Container } from '../embed/container.ts';
import { firstRunner, outcome, ScriptedRunner } from '../embed/fixture/scripted-runner.ts';
import { ContainerControl } from './container-control.ts';

let runners: ScriptedRunner[];
let seen: string[];
let control: ContainerControl;
const SPEC = { image: { url: 'http://x/a.wasm', bytes: 7, sha256: null, title: 'A', source: 'a' }, cmd: ['sh'], net: { kind: 'delegate', url: 'ws://x/' } as const };

const running = async (): Promise<ScriptedRunner> => {
  control.begin(SPEC);
  return (await firstRunner(runners)).runs();
};

beforeEach(() => {
  vi.stubGlobal('document', { baseURI: 'http://x/' });
  runners = [];
  seen = [];
  control = new ContainerControl({
    onState: (state) => seen.push(state),
    onImage: ({ title }) => seen.push(`image ${title}`),
    onProgress: ({ phase }) => seen.push(phase),
    onNet: () => seen.push(`net ${control.net.state}`),
    onPorts: () => seen.push(`ports ${control.ports?.length}`),
    onTerminals: (numbers) => seen.push(`terminals ${numbers}`),
  }, (options) => new Container(options, (runnerOptions) => {
    const runner = new ScriptedRunner(runnerOptions);
    runners.push(runner);
    return runner;
  }));
});

describe('a run', () => {
  it('is told, and is ready with its first output, also for who asked before it began', async () => {
    const before = control.ready;
    control.begin(SPEC);
    expect(control.ready).toBe(before);
    const runner = await firstRunner(runners);
    expect(runner.options).toMatchObject({ imageUrl: 'http://x/a.wasm', args: ['sh'], net: SPEC.net });
    runner.says('starting');
    expect(await outcome(before)).toBe('pending');
    runner.says('running');
    runner.options.onNet?.({ state: 'up' });
    runner.options.onPorts?.([{ port: 80, local: false }]);
    runner.options.onTerminals?.([2, 3]);
    expect(await outcome(before)).toBe('ready');
    expect(seen).toEqual(['loading', 'net off', 'ports undefined', 'image A', 'starting', 'running', 'net up', 'ports 1', 'terminals 2,3']);
  });

  it('that exits keeps its code, and nothing listens any more', async () => {
    const runner = await running();
    runner.options.onPorts?.([{ port: 80, local: false }]);
    runner.says('exited', { exitCode: 3 });
    expect([control.state, control.exitCode, control.ports]).toEqual(['exited', 3, null]);
    expect(await outcome(control.ready)).toBe('ready');
  });

  it('that fails says why', async () => {
    control.begin(SPEC);
    (await firstRunner(runners)).says('failed', { error: { code: 'not-wasm', message: 'starts with <!doctype' } });
    expect([control.state, control.failure?.code]).toEqual(['failed', 'not-wasm']);
    expect(await outcome(control.ready)).toMatch(/^Not a WebAssembly file: .*<!doctype/);
  });
});

describe('restart', () => {
  it('ends the old run, and nothing that it still says is heard', async () => {
    const old = await running();
    expect(control.restart()).toBe(true);
    expect(old.stopped).toBe(1);
    await firstRunner(runners, 2);
    expect(runners).toHaveLength(2);
    seen.length = 0;
    old.says('exited', { exitCode: 9 });
    old.options.onNet?.({ state: 'down' });
    old.options.onProgress?.({ phase: 'start' });
    expect(old.prints('late')).toBe(true);
    expect(seen).toEqual([]);
    expect(control.state).toBe('loading');
  });

  it('makes a new promise once the old one is settled, and keeps one that is not', async () => {
    control.begin(SPEC);
    await firstRunner(runners);
    const waiting = control.ready;
    control.restart();
    expect(control.ready).toBe(waiting);
    (await firstRunner(runners, 2)).says('running');
    expect(await outcome(waiting)).toBe('ready');
    control.restart();
    expect(control.ready).not.toBe(waiting);
    expect(await outcome(control.ready)).toBe('pending');
  });

  it('starts the image anew that a saved container went on with', async () => {
    const file = new File(['x'], 'kept.portside');
    const header = { source: 'http://x/b.wasm' } as never;
    control.begin({ ...SPEC, image: undefined, resume: { name: 'kept', header, file } });
    expect((await firstRunner(runners)).options).toMatchObject({ imageUrl: 'http://x/b.wasm', resume: file });
    control.restart();
    expect((await firstRunner(runners, 2)).options).toMatchObject({ imageUrl: 'http://x/b.wasm', resume: null });
  });

  it('has nothing to do where nothing ran', () => expect(control.restart()).toBe(false));
});

it('stop cancels a start, and says so to who waits', async () => {
  control.begin(SPEC);
  control.stop();
  expect(control.failure?.code).toBe('cancelled');
  expect(await outcome(control.ready)).toMatch(/cancelled/);
});

it('fail is for a page that came to no container', async () => {
  const ready = control.ready;
  control.fail({ code: 'no-images', title: 'T', what: 'W.', next: 'N.', detail: '', retry: true });
  expect(control.state).toBe('failed');
  expect(await outcome(ready)).toBe('T: W. N.');
});
