/* A MAC of the user's, by each of the ways to choose one: the forward leads to the container that has it. Needs dist/images. */
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { killLeftovers, Portside, type ProcessOptions } from '../fixture/portside-process.ts';
import { freePort } from '../host/free-port.ts';

const BUSYBOX = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
const HAS_IMAGE = existsSync(BUSYBOX);
if (!HAS_IMAGE) console.log('skipped: dist/images is not built');
const MAC = '02:11:22:33:44:55';

afterEach(killLeftovers);

describe.skipIf(!HAS_IMAGE).each<[string, (port: number, command: string[]) => string[], ProcessOptions?]>([
  ['run --mac M IMAGE', (port, command) => ['run', '--mac', MAC, '-p', `${port}:80`, BUSYBOX, ...command]],
  ['run --mac OTHER IMAGE -mac=M, with hyphens', (port, command) => ['run', '--mac=02:00:00:00:00:77', '-p', `${port}:80`, BUSYBOX, `-mac=${MAC.replaceAll(':', '-')}`, ...command]],
  ['c2w-net --invoke -mac M IMAGE', (port, command) => ['--invoke', '-mac', MAC, '-p', `${port}:80`, BUSYBOX, ...command], { program: 'c2w-net' }],
  ['c2w-net --invoke IMAGE --mac M', (port, command) => ['--invoke', '-p', `${port}:80`, BUSYBOX, '--net=socket', '--mac', MAC, ...command], { program: 'c2w-net' }],
])('%s', (_name, commandLine, options = {}) => {
  test('has .3, and what is forwarded', async () => {
    const port = await freePort();
    const script = 'i=0; while ! ip -4 addr show dev eth0 | grep -q 192.168 && [ $i -lt 100 ]; do i=$((i+1)); usleep 100000; done; '
      + "echo `ip addr show dev eth0 | awk '/ether|inet / {print $2}'` rea''dy; echo from inside | nc -l -p 80";
    const run = new Portside(commandLine(port, ['sh', '-c', script]), { input: '', ...options });
    expect(await run.prints(/(.*) ready/)).toBe(`${MAC} 192.168.127.3/24`);
    let text = '';
    await expect.poll(async () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.on('data', (chunk: Buffer) => { text += chunk.toString(); });
      await once(socket, 'close');
      return text;
    }, { timeout: 30_000, interval: 200 }).toBe('from inside\n');
    expect((await run.finished).status).toBe(0);
  }, 90_000);
});
