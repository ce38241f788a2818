/*
 * Our TCP/IP against Linux's: a kernel in a network namespace is the guest, its tools are the clients. Everything goes through
 * a real relay process; bytes are compared by SHA-256. PORTSIDE_LONG=1 moves 2 GB instead of 256 MB, and more over bad lines.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GATEWAY, GUEST_IP, HOST_ALIAS, ECHO_PORTS, Lab } from './fixture/linux/lab.ts';
import { nativeProgram } from './fixture/linux/native.ts';
import { OUTSIDE, type Side } from './fixture/linux/namespaces.ts';
import { PORTS } from './fixture/linux/ports.ts';
import { findCommand, missingForLinuxGuest } from './fixture/linux/requirements.ts';
import { TAP, type BridgeCounters, type Line } from './fixture/linux/tap-guest.ts';

const MIB = 1024 * 1024;
const isLong = process.env['PORTSIDE_LONG'] === '1';
const BULK = isLong ? 2048 * MIB : 256 * MIB;
const BULK_TIMEOUT_MS = isLong ? 300_000 : 60_000;
/** a relay that has moved everything below may hold this much more memory than at its start, in MiB */
const GROWTH_MAX_MIB = 128;
const PREFIX6 = 'fd70:6f72:7473::';
const SIDES: Side[] = ['guest', 'host'];

const missing = missingForLinuxGuest();
if (missing.length > 0) console.warn(`our TCP/IP is not tested against Linux's, for want of ${missing.join(', ')}`);

describe.skipIf(missing.length > 0).sequential('a Linux guest', () => {
  let lab: Lab;
  let atStart: Record<string, number>;

  beforeAll(async () => {
    lab = await Lab.start();
    atStart = await lab.stats();
  });

  afterAll(() => lab?.close());

  const guest = (...command: string[]): Promise<string> => lab.namespaces.output('guest', command);

  const expectFileBothWays = async (side: Side, timeoutMs = 60_000): Promise<void> => {
    expect([await lab.download(side, timeoutMs), await lab.upload(side, timeoutMs)]).toEqual([lab.fileSha256, lab.fileSha256]);
  };

  test.skipIf(findCommand('udhcpc') === null)('gets its address, router, resolver and MTU by DHCP', async () => {
    await lab.link({ address: undefined });
    const script = join(lab.namespaces.dir, 'dhcp');
    writeFileSync(script, '#!/bin/sh\n[ "$1" = bound ] && echo "lease: $ip $mask $router $dns $mtu $lease"\nexit 0\n', { mode: 0o755 });
    const { stdout, stderr } = await lab.namespaces.run('guest', ['udhcpc', '-i', TAP, '-f', '-n', '-q', '-t', '5', '-T', '1', '-O', 'mtu', '-s', script]);
    expect(/lease: .*/.exec(stdout + stderr)?.[0]).toBe(`lease: ${GUEST_IP} 24 ${GATEWAY} ${GATEWAY} 1500 3600`);
  });

  test('finds the gateway by ARP, and nobody where nobody is', async () => {
    await lab.link();
    await guest('ping', '-c', '1', GATEWAY);
    expect((await lab.namespaces.run('guest', ['ping', '-c', '1', '-W', '2', '192.168.127.77'])).status).toBe(1);
    const neighbors = lab.namespaces.ip('guest', 'neigh', 'show', 'dev', TAP);
    expect(neighbors).toMatch(new RegExp(`^${GATEWAY} lladdr 5a:94:ef:e4:0c:dd`, 'm'));
    expect(neighbors).not.toMatch(/^192\.168\.127\.77 lladdr/m);
  });

  test.each([[GATEWAY, 56], [GATEWAY, 1472], [GATEWAY, 8000], [HOST_ALIAS, 56], [HOST_ALIAS, 8000]])('pings %s with %i bytes', async (address, bytes) => {
    expect(await guest('ping', '-c', '4', '-i', '0.05', '-s', String(bytes), address)).toContain('4 packets transmitted, 4 received, 0% packet loss');
  });

  test.each(['-P 1', '-P 4', '-R -P 1', '-R -P 4'])('iperf3 %s, out of the guest and into it', async (args) => {
    for (const side of SIDES) {
      const { end } = await lab.iperf(side, '-t', '1', ...args.split(' '));
      expect(end.sum_received.bytes).toBeGreaterThan(10 * MIB);
    }
  });

  test('moves a large file each way, also over forwarded ports', async () => {
    lab.writeFile(BULK);
    await lab.link();
    for (const side of SIDES) await expectFileBothWays(side, BULK_TIMEOUT_MS);
  }, 4 * BULK_TIMEOUT_MS);

  test('moves it in 64 KiB packets that the bridge cuts and joins', async () => {
    await lab.link({ offload: true });
    for (const side of SIDES) await expectFileBothWays(side, BULK_TIMEOUT_MS);
    const counters = (await lab.link())!;
    expect(counters.cut_packets).toBeGreaterThan(1000);
    expect(counters.joined_frames).toBeGreaterThan(3 * counters.joined_packets);
    expect(faults(counters)).toEqual(NO_FAULTS);
  }, 4 * BULK_TIMEOUT_MS);

  // Each with what must have happened to at least so many frames.
  const LINES: [name: string, line: Line, least: Partial<BridgeCounters>][] = [
    ['1% lost', { loss: 1 }, { lost: 20 }],
    ['5% lost', { loss: 5 }, { lost: 100 }],
    ['20 ms of delay', { delayMs: 20 }, {}],
    ['20 ms of delay, which 25% (50%) escape', { delayMs: 20, reorder: 25, correlation: 50 }, { overtook: 100 }],
    ['10% doubled', { duplicate: 10 }, { doubled: 200 }],
    ['loss, delay, reordering and doubles', { loss: 1, delayMs: 20, reorder: 25, correlation: 50, duplicate: 2 }, { lost: 20, doubled: 40, overtook: 100 }],
  ];
  test.each(LINES)('both ways over a line with %s', async (_name, line, least) => {
    lab.writeFile(isLong ? 8 * MIB : 2 * MIB);
    await lab.link({ ...line, seed: 7 });
    for (const side of isLong ? SIDES : SIDES.slice(0, 1)) await expectFileBothWays(side, 250_000);
    const counters = (await lab.link())!;
    for (const [name, count] of Object.entries(least)) expect(counters[name as keyof BridgeCounters], name).toBeGreaterThan(count);
  }, 600_000);

  test('10,000 short connections, none fails', async () => {
    const result = await lab.load('connects', HOST_ALIAS, ECHO_PORTS, '--count', '10000', '--at-a-time', '16');
    expect(result).toMatchObject({ begun: 10_000, done: 10_000, refused: 0, reset: 0, unreachable: 0, timedOut: 0, other: 0 });
  }, 120_000);

  test('1000 connections at once, each with its own bytes', async () => {
    expect(await lab.load('hold', HOST_ALIAS, '7001', '1000', '32768')).toMatchObject({ opened: 1000, finished: 1000, bytes: 1000 * 32_768, mismatches: 0 });
  }, 120_000);

  test.each(SIDES)('a half that ends leaves the other open: nc -N in the %s', async (side) => {
    const input = Buffer.alloc(3 * MIB, 'half');
    const answer = await lab.namespaces.output(side, ['nc', '-N', ...lab.at(side, PORTS.digest)], { input });
    expect(answer).toMatch(new RegExp(`^${input.length} [0-9a-f]{64}\n$`));
  });

  test.each(SIDES)('a reset of the %s is seen as a reset by the other, and the other way round', async (side) => {
    const other = side === 'guest' ? 'host' : 'guest';
    await lab.peer(side, 'reset', lab.at(side, PORTS.watcher));
    await expect.poll(() => lab.endings(other)).toEqual(['ECONNRESET']);
    expect(await lab.peer(side, 'ending', lab.at(side, PORTS.resetter))).toBe('ECONNRESET');
  });

  test.each(SIDES)('an answer in the middle of an upload, and a close behind it: the %s gets all of it, then the reset', async (side) => {
    const tries = isLong ? 1000 : 60;
    expect(await lab.loadFrom(side, 'uploads', ...lab.at(side, PORTS.answers), String(tries))).toEqual({ tries, whole: tries, reset: tries, late: 0 });
  }, isLong ? 900_000 : 60_000);

  test('2000 closed ports refuse at once', async () => {
    const result = await lab.load('connects', HOST_ALIAS, '20000-21999', '--count', '2000', '--at-a-time', '100');
    expect(result).toMatchObject({ begun: 2000, refused: 2000 });
    expect(result['maxUs']).toBeLessThan(2e6);
  });

  test('an address that is silent times out, and nothing piles up', async () => {
    for (const side of SIDES) lab.namespaces.sysctl(side, 'ipv4/tcp_syn_retries', '1');
    const result = await lab.load('connects', OUTSIDE.silent, '9', '--count', '200', '--at-a-time', '200', '--give-up', '30000');
    expect(result).toMatchObject({ begun: 200, done: 0, timedOut: 200 });
    expect(result['seconds']).toBeLessThan(25);
    await expect.poll(async () => (await lab.stats())['tcpPendingOpen'], { timeout: 10_000 }).toBe(0);
  }, 60_000);

  test.each([['1400'], ['8192']])('UDP datagrams of %s bytes flow both ways', async (bytes) => {
    for (const direction of [[], ['-R']]) {
      // Slow, and not without loss: a receiver that a busy machine stops for a while has a small buffer.
      const { end } = await lab.iperf('guest', '-u', '-b', '8M', '-t', '1', '-l', bytes, ...direction);
      expect(end.sum.packets).toBeGreaterThan(100);
      expect(end.sum.lost_percent).toBeLessThan(20);
    }
  });

  test('UDP datagrams in fragments come back as they went', async () => {
    expect(await lab.peer('guest', 'datagrams', lab.at('guest', PORTS.datagrams), '100', '8192')).toBe(100);
    expect(await lab.peer('guest', 'datagrams', lab.at('guest', PORTS.datagrams), '10', '65000')).toBe(10);
  });

  test('UDP: two servers that answer from other ports see one port of the host; a closed one is refused', async () => {
    const ports = [PORTS.mirror, PORTS.mirror2, PORTS.mirror];
    const answers = await lab.peer('guest', 'mapped', [HOST_ALIAS, String(ports[0])], ...ports.slice(1).map(String)) as { seen: number; from: number }[];
    expect([new Set(answers.map(({ seen }) => seen)).size, answers.filter(({ from }) => ports.includes(from as never))]).toEqual([1, []]);
    expect(await lab.peer('guest', 'refused', [HOST_ALIAS, '8099'])).toBe('ECONNREFUSED');
  });

  test.each([[[]], [['--new-ports']]])('the resolver answers every query %s', async (args) => {
    const result = await lab.load('queries', GATEWAY, '53', '0.5', '32', ...args);
    expect(result).toMatchObject({ lost: 0, wrong: 0 });
    expect(result['answered']).toBeGreaterThan(500);
  });

  test('the bridge itself is clean under AddressSanitizer', async () => {
    lab.writeFile(4 * MIB);
    for (const link of [{ offload: true }, { offload: true, loss: 1, delayMs: 1, duplicate: 1, reorder: 25 }]) {
      await lab.link({ ...link, sanitized: true });
      await expectFileBothWays('guest');
      // Counters come only at a clean end.
      expect((await lab.unplug())?.to_guest_frames).toBeGreaterThan(1000);
    }
  }, 60_000);

  test('afterwards the relay holds nothing, and has not grown', async () => {
    await lab.link();
    const left = async (): Promise<unknown[]> => Object.entries(await lab.stats()).filter(([name, value]) => /(Open|Held)$/.test(name) && name !== 'linksOpen' && value !== 0);
    await expect.poll(left, { timeout: 60_000, interval: 500 }).toEqual([]);
    expect((await lab.stats())['rssMiB'] - atStart['rssMiB']).toBeLessThan(GROWTH_MAX_MIB);
  }, 90_000);
});

describe.skipIf(missing.length > 0).sequential('what is further away', () => {
  let lab: Lab;
  beforeAll(async () => { lab = await Lab.start(); });
  afterAll(() => lab?.close());

  test('a guest that routes for others, behind a link of 1400 bytes: 3 MB over IPv4 and IPv6 arrive', async () => {
    const { namespaces } = lab;
    lab.writeFile(3 * MIB);
    const beyond = namespaces.join('guest', 'g1', 'c1');
    namespaces.ip('guest', 'link', 'set', 'g1', 'mtu', '1400');
    // By ARP in its name: the gateway finds the one beyond at the guest's MAC.
    namespaces.sysctl('guest', 'ipv4/ip_forward', '1');
    for (const device of [TAP, 'g1']) namespaces.sysctl('guest', `ipv4/conf/${device}/proxy_arp`, '1');
    namespaces.ip(beyond, 'addr', 'add', '192.168.127.5/24', 'dev', 'c1');
    namespaces.ip(beyond, 'route', 'add', 'default', 'via', GATEWAY);
    namespaces.ip('guest', 'route', 'add', '192.168.127.5/32', 'dev', 'g1');
    // IPv6 by routes; the alias leads to ::1 of H, where nobody listens, and then to 127.0.0.1.
    for (const [place, device] of [['host', 'lo'], ['guest', TAP], ['guest', 'g1']] as const) namespaces.sysctl(place, `ipv6/conf/${device}/disable_ipv6`, '0');
    namespaces.sysctl('guest', 'ipv6/conf/all/forwarding', '1');
    namespaces.ip('guest', 'addr', 'add', `${PREFIX6}3/64`, 'dev', TAP, 'nodad');
    namespaces.ip('guest', 'route', 'add', 'default', 'via', 'fe80::1', 'dev', TAP);
    namespaces.ip('guest', 'addr', 'add', 'fd71::1/64', 'dev', 'g1', 'nodad');
    namespaces.ip(beyond, 'addr', 'add', 'fd71::5/64', 'dev', 'c1', 'nodad');
    namespaces.ip(beyond, 'addr', 'add', `${PREFIX6}5/128`, 'dev', 'c1', 'nodad');
    namespaces.ip(beyond, 'route', 'add', 'default', 'via', 'fd71::1', 'src', `${PREFIX6}5`);
    namespaces.ip('guest', 'route', 'add', `${PREFIX6}5/128`, 'via', 'fd71::5');
    for (const host of [HOST_ALIAS, `[${PREFIX6}254]`]) {
      const script = `set -o pipefail; curl -g -sS --fail --max-time 20 http://${host}:${PORTS.http}/file | sha256sum`;
      expect([host, (await namespaces.output(beyond, ['bash', '-c', script])).split(' ')[0]]).toEqual([host, lab.fileSha256]);
    }
    expect((await lab.stats())['icmpErrorsHeeded']).toBeGreaterThanOrEqual(2);
  }, 60_000);

  test('a far end that is gone is noticed some seconds after the guest\'s first keepalive probe', async () => {
    const { namespaces } = lab;
    const far = namespaces.join('host', 'h1', 'f1');
    namespaces.ip('host', 'addr', 'add', '203.0.113.1/24', 'dev', 'h1');
    namespaces.ip(far, 'addr', 'add', '203.0.113.2/24', 'dev', 'f1');
    await namespaces.start(far, [nativeProgram('net-load'), 'echo', '203.0.113.2', '7001']).said(/^ready$/m);
    const asker = namespaces.start('guest', lab.peerCommand('keepalive', '203.0.113.2', '7001', '2000'));
    await asker.said(/^up$/m);
    const [mac] = /(?<=link\/ether )\S+/.exec(namespaces.ip(far, 'link', 'show', 'f1'))!;
    // Frames vanish, and nothing says so.
    namespaces.ip('host', 'neigh', 'replace', '203.0.113.2', 'lladdr', mac, 'nud', 'permanent', 'dev', 'h1');
    namespaces.ip(far, 'addr', 'del', '203.0.113.2/24', 'dev', 'f1');
    expect((await asker.said(/^"\w+"$/m, 30_000))[0]).toBe('"ECONNRESET"');
  }, 60_000);
});

describe.skipIf(missing.length > 0)('the MTU', () => {
  test.each([576, 1280, 9000, 65_520])('%i bytes', async (mtu) => {
    const lab = await Lab.start({ mtu });
    try {
      await lab.namespaces.output('guest', ['ping', '-c', '2', '-i', '0.05', '-M', 'do', '-s', String(mtu - 28), GATEWAY]);
      for (const offload of [false, true]) {
        lab.writeFile(isLong ? 256 * MIB : 16 * MIB);
        await lab.link({ offload });
        for (const side of SIDES) expect([await lab.download(side), await lab.upload(side)]).toEqual([lab.fileSha256, lab.fileSha256]);
        expect(faults((await lab.unplug())!)).toEqual(NO_FAULTS);
      }
    } finally {
      await lab.close();
    }
  }, 120_000);
});

const NO_FAULTS = { bad_checksums: 0, oversize_to_peer: 0, oversize_to_guest: 0, unsupported: 0 };

function faults({ bad_checksums, oversize_to_peer, oversize_to_guest, unsupported }: BridgeCounters): typeof NO_FAULTS {
  return { bad_checksums, oversize_to_peer, oversize_to_guest, unsupported };
}
