/*
 * A real Linux guest on IPv6: the busybox image in the terminal runner against servers on the host's ::1. Its kernel verifies what we
 * send: a wrong checksum, header or fragment would show in its counters. Needs dist/images and ::1.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const IMAGE = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
const hasLoopback6 = Object.values(networkInterfaces()).flat().some((address) => address?.address === '::1');
const ALIAS = 'fd70:6f72:7473::254';
const FILE = randomBytes(4_000_000);
const TFTP_BLOCK = 4096;
/** Waits for an address; images that were built before IPv6 have it switched off. */
const READY = 'echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; for i in $(seq 100); do ip -6 addr show dev eth0 >/tmp/a; '
  + 'if grep -q fd70 /tmp/a && ! grep -q tentative /tmp/a; then break; fi; usleep 100000; done';

const closers: (() => unknown)[] = [];
afterEach(async () => { for (const close of closers.splice(0).toReversed()) await close(); });

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function inGuest(script: string): Promise<string[]> {
  const child = spawn(process.execPath, [BIN, 'run', '--net', IMAGE, 'sh', '-c', `${READY}; ${script}`]);
  child.stdin.end();
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => { text += bytes.toString(); });
  closers.push(() => child.kill());
  await once(child, 'close');
  return text.replaceAll('\r', '').trim().split('\n');
}

/** Sends the file to whoever connects, or takes what comes and says its hash. */
async function startTcp(isUpload: boolean): Promise<{ port: number; received: Promise<string> }> {
  let done: (hash: string) => void;
  const received = new Promise<string>((resolve) => { done = resolve; });
  const server = createServer((socket) => {
    const parts: Buffer[] = [];
    socket.on('data', (part: Buffer) => {
      if (isUpload) parts.push(part);
      else socket.end(Buffer.concat([Buffer.from(`HTTP/1.0 200 OK\r\nContent-Length: ${FILE.length}\r\n\r\n`), FILE]));
    });
    socket.on('end', () => { done(sha256(Buffer.concat(parts))); socket.end(); });
    socket.on('error', () => {});
  }).listen(0, '::1');
  closers.push(() => server.close());
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, received };
}

/** TFTP (RFC 1350, RFC 2348) with blocks of TFTP_BLOCK bytes, larger than the MTU: fragments, one datagram at a time. */
async function startTftp(): Promise<number> {
  const server = createSocket('udp6');
  server.on('message', (message, peer: RemoteInfo) => {
    const opcode = message.readUInt16BE(0);
    const acked = opcode === 4 ? message.readUInt16BE(2) : -1;
    const from = acked * TFTP_BLOCK;
    if (acked < 0) server.send(Buffer.from(`\0\x06blksize\0${TFTP_BLOCK}\0`), peer.port, peer.address);
    else if (from <= FILE.length) server.send(Buffer.concat([Buffer.from([0, 3, (acked + 1) >> 8, (acked + 1) & 255]), FILE.subarray(from, from + TFTP_BLOCK)]), peer.port, peer.address);
  });
  server.bind(0, '::1');
  closers.push(() => server.close());
  await once(server, 'listening');
  return server.address().port;
}

describe.skipIf(!existsSync(IMAGE) || !hasLoopback6)('a Linux guest', () => {
  test('has an address and a gateway, pings it, and downloads and uploads by TCP', async () => {
    const [down, up] = [await startTcp(false), await startTcp(true)];
    const lines = await inGuest([
      "sed -n 's/.*inet6 \\(f[^ ]*\\).*/\\1/p' /tmp/a", 'ping -6 -q -c 1 -s 4000 fe80::1%eth0 | grep received', 'ping -6 -q -c 1 fd70:6f72:7473::1 | grep received',
      `wget -q -O - 'http://[${ALIAS}]:${down.port}/' | sha256sum`, 'head -c 3000000 /dev/urandom >/tmp/up', 'sha256sum </tmp/up', `nc ${ALIAS} ${up.port} </tmp/up`,
      "grep -c -E '(Csum|Hdr|Reasm.*Fail).*[[:space:]][1-9]' /proc/net/snmp6", "awk '/^Tcp: [0-9]/ { print $14, $16 }' /proc/net/snmp",
    ].join('; '));
    expect(lines.slice(0, 5)).toEqual([
      'fd70:6f72:7473::ff:fe00:1/64', 'fe80::ff:fe00:1/64', '1 packets transmitted, 1 packets received, 0% packet loss',
      '1 packets transmitted, 1 packets received, 0% packet loss', `${sha256(FILE)}  -`,
    ]);
    expect(lines[5]).toBe(`${await up.received}  -`);
    expect(lines.slice(6)).toEqual(['0', '0 0']);
  }, 60_000);

  test('downloads by UDP in fragments, and resolves names over IPv6', async () => {
    const port = await startTftp();
    const lines = await inGuest([
      `tftp -g -b ${TFTP_BLOCK} -l /tmp/f -r f ${ALIAS} ${port}`, 'sha256sum </tmp/f',
      "nslookup -type=aaaa host.containers.internal fd70:6f72:7473::1 | sed -n 's/^Address: //p'", "grep -c -E '(Err|Fail).*[[:space:]][1-9]' /proc/net/snmp6",
    ].join('; '));
    expect(lines).toEqual([`${sha256(FILE)}  -`, ALIAS, '0']);
  }, 60_000);
});
