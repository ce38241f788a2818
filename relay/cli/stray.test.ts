/* Exceptions that nobody catches, in each command that has a network: thrown into real processes by a module that is loaded before them. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { compileFixture } from '../../shared/wasi/fixtures/compile.mjs';
import { killLeftovers, Portside, type ProcessOptions } from '../fixture/portside-process.ts';
import { until } from '../fixture/test-relay.ts';

/** On SIGUSR2 an exception leaves an event, and a promise fails with nobody waiting. */
const THROWER = `data:text/javascript,${encodeURIComponent("process.on('SIGUSR2', () => { process.stdout.write('thrown '); setImmediate(function stray() { throw new Error('left an event'); }); void Promise.reject(new Error('nobody waits')); });")}`;
const OPTIONS = { env: { NODE_OPTIONS: `--import=${THROWER}` } };
const folder = mkdtempSync(join(tmpdir(), 'portside-stray-'));
const peer = createServer();
let image = '';

beforeAll(async () => {
  image = fileURLToPath(await compileFixture('conformance.c'));
  peer.listen(join(folder, 'peer'));
  await once(peer, 'listening');
}, 120_000);
// Processes of their own start slowly on a busy machine.
vi.setConfig({ testTimeout: 90_000 });
afterEach(killLeftovers);
afterAll(() => {
  peer.close();
  rmSync(folder, { recursive: true });
});

const COMMANDS: [string, () => string[], ProcessOptions, (relay: Portside) => Promise<unknown>][] = [
  ['run', () => ['run', '--net', image, 'stdin'], { isInputOpen: true }, (relay) => relay.prints(/(early)/)],
  ['listen', () => ['listen', `unix:${folder}/net`], {}, (relay) => relay.says(/listening on (.*)\n/)],
  ['connect', () => ['connect', `unix:${folder}/peer`], {}, (relay) => relay.says(/connected to (.*)\n/)],
  ['serve', () => ['serve', '--port', '0'], {}, (relay) => relay.ready()],
  ['c2w-net --listen-ws', () => ['--listen-ws', '127.0.0.1:0'], { program: 'c2w-net' }, (relay) => relay.says(/listening on (.*)\n/)],
];

test.skipIf(process.platform === 'win32').each(COMMANDS)('%s lives on, and says each once with its stack', async (_name, args, options, isReady) => {
  const relay = new Portside(args(), { ...OPTIONS, ...options });
  await isReady(relay);
  relay.child.kill('SIGUSR2');
  await until(() => /left an event\n\s+at [^]*nobody waits\n\s+at |nobody waits\n\s+at [^]*left an event\n\s+at /.test(relay.stderr));
  const said = relay.stderr.length;
  for (let times = 2; times < 5; times++) {
    relay.child.kill('SIGUSR2');
    await until(() => relay.stdout.split('thrown ').length > times);
  }
  if (options.isInputOpen === true) relay.child.stdin!.end('text');
  else relay.child.kill('SIGTERM');
  const { status, stderr } = await relay.finished;
  expect([status, stderr.slice(said)]).toEqual([0, '']);
});

test('output that nobody reads any more is no bug, and ends nothing', async () => {
  const relay = new Portside(['listen', `unix:${folder}/deaf`, '--verbose']);
  await relay.says(/listening on (.*)\n/);
  relay.child.stderr!.destroy();
  // Each says a line.
  for (let i = 0; i < 5; i++) {
    const guest = connect(join(folder, 'deaf'));
    await once(guest, 'connect');
    guest.resume().on('error', () => {}).write(Buffer.alloc(100, 0xff));
    await once(guest, 'close');
  }
  relay.child.kill('SIGTERM');
  expect((await once(relay.child, 'exit'))[0]).toBe(0);
});
