/* A real Linux guest on a network whose frames are as long as frames can be. Needs dist/images. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const IMAGE = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
const ALIAS = '192.168.127.254';
const FILE = randomBytes(8_000_000);

const closers: (() => unknown)[] = [];
afterEach(async () => { for (const close of closers.splice(0).toReversed()) await close(); });

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Sends FILE to whoever connects, takes what comes, and says its hash when the other side is done. */
async function startExchange(): Promise<{ port: number; received: Promise<string> }> {
  let done: (hash: string) => void;
  const received = new Promise<string>((resolve) => { done = resolve; });
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => parts.push(part));
    socket.on('end', () => done(sha256(Buffer.concat(parts))));
    socket.on('error', () => {});
    socket.end(FILE);
  }).listen(0, '127.0.0.1');
  closers.push(() => server.close());
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, received };
}

describe.skipIf(!existsSync(IMAGE))('a Linux guest', () => {
  test.each([576, 9000, 65_520])('takes an MTU of %i by DHCP, and sends and receives packets of that length', async (mtu) => {
    const { port, received } = await startExchange();
    // A datagram that fills a packet to its last byte, not to be cut: there and back.
    const script = `cat /sys/class/net/eth0/mtu; ping -q -c 1 -s ${mtu - 28} 192.168.127.1 | grep received; head -c 6000000 /dev/urandom >/tmp/up; sha256sum </tmp/up; nc ${ALIAS} ${port} </tmp/up | sha256sum; `
      + 'cat /sys/class/net/eth0/statistics/rx_errors /sys/class/net/eth0/statistics/tx_errors; awk \'/^Ip: [0-9]/ { print $16 + $17 + $18 + $19 }\' /proc/net/snmp';
    const child = spawn(process.execPath, [BIN, 'run', '--mtu', String(mtu), IMAGE, 'sh', '-c', script]);
    child.stdin.end();
    let text = '';
    child.stdout.on('data', (bytes: Buffer) => { text += bytes.toString(); });
    closers.push(() => child.kill());
    await once(child, 'close');
    const lines = text.replaceAll('\r', '').trim().split('\n');
    expect(lines).toEqual([String(mtu), '1 packets transmitted, 1 packets received, 0% packet loss', `${await received}  -`, `${sha256(FILE)}  -`, '0', '0', '0']);
  }, 120_000);
});
