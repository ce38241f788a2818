/* `portside run` and `portside images`: the same images in a terminal. `script` (bsdutils) lends a real pseudo-terminal. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import { noise, sha256, startHostHttp } from './guest.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PORTSIDE = `${process.execPath} bin/portside.mjs`;

interface Finished {
  status: number;
  stdout: string;
  stderr: string;
}

function sh(command: string, input?: string, timeoutMs = 100_000): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn('sh', ['-c', `exec ${command}`], { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => { stdout += chunk.toString(); });
    child.stderr.on('data', (chunk: Buffer) => { stderr += chunk.toString(); });
    child.stdin.on('error', () => undefined);
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ status: status ?? -1, stdout, stderr });
    });
    if (input !== undefined) child.stdin.write(input);
    child.stdin.end();
  });
}

test('runs a command, passes its output and its status on', async () => {
  const done = await sh(`${PORTSIDE} run busybox sh -c 'uname -m; exit 5'`);
  expect(done.stdout.trim()).toBe('riscv64');
  expect(done.status).toBe(5);
});

test('takes commands from a pipe', async () => {
  const done = await sh(`${PORTSIDE} run busybox`, 'echo fr"om" a pipe; exit 4\n');
  expect(done.stdout).toMatch(/^from a pipe/m);
  expect(done.status).toBe(4);
});

test('hostname and MAC come from the command line', async () => {
  const done = await sh(`${PORTSIDE} run --net busybox --hostname lighthouse --mac 02:00:00:00:00:42 sh -c 'hostname; cat /sys/class/net/eth0/address'`);
  expect(done.stdout.replaceAll('\r', '').trim().split('\n')).toEqual(['lighthouse', '02:00:00:00:00:42']);
});

test('--net reaches the host, through the same stack', async () => {
  const file = noise(1024 * 1024);
  const host = await startHostHttp(file);
  const done = await sh(`${PORTSIDE} run --net busybox sh -c 'wget -q -O - http://192.168.127.254:${host.port}/file | sha256sum'`);
  await host.close();
  expect(done.stdout.trim()).toBe(`${sha256(file)}  -`);
});

test('a pseudo-terminal gets raw keys and its own size', async () => {
  const done = await sh(`script -qec "stty rows 33 cols 101; ${PORTSIDE} run busybox" /dev/null`, 'stty size\nexit 9\n');
  expect(done.stdout).toContain('33 101');
  expect(done.status).toBe(9);
});

test('two containers from one snapshot have their own randomness', async () => {
  const command = `${PORTSIDE} run busybox sh -c 'head -c 32 /dev/urandom | sha256sum'`;
  const [first, second] = [await sh(command), await sh(command)];
  expect(first.stdout).toMatch(/^[0-9a-f]{64}/);
  expect(second.stdout).toMatch(/^[0-9a-f]{64}/);
  expect(first.stdout).not.toBe(second.stdout);
});

test('an image that is not there is one clear line and status 1', async () => {
  const done = await sh(`${PORTSIDE} run no-such-image`);
  expect(done.status).not.toBe(0);
  expect(done.stderr).toContain('no-such-image');
  expect(done.stderr.trim().split('\n').length).toBeLessThanOrEqual(3);
});

test('images lists name, path and sizes', async () => {
  const done = await sh(`${PORTSIDE} images`);
  expect(done.status).toBe(0);
  expect(done.stdout).toMatch(/busybox\s.*busybox\.wasm/);
  expect(done.stdout).toMatch(/debian\s.*debian\.wasm/);
});
