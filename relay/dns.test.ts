/*
 * The gateway's DNS beside the host's own glibc: the same getent, the same resolv.conf, the same resolvers on real sockets; once
 * in the host's namespace, once in a Linux guest behind the relay. The guest must find what the host finds, and not later.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GATEWAY, GUEST_IP } from './fixture/linux/lab.ts';
import { Namespaces, type Side } from './fixture/linux/namespaces.ts';
import type { RelayProcessOptions } from './fixture/linux/relay-process.ts';
import { findCommand, missingForLinuxGuest } from './fixture/linux/requirements.ts';
import { TapGuest } from './fixture/linux/tap-guest.ts';

const TSX = fileURLToPath(import.meta.resolve('tsx'));
const ETC = '/etc/netns';
const TWO = 'nameserver 127.0.0.2\nnameserver 127.0.0.3\n';
/** of starting a process on a busy machine, in `ms` */
const SLACK_MS = 4000;

const missing = missingForLinuxGuest(['ip', 'setpriv', 'gcc', 'getent']);
if (missing.length > 0) console.warn(`DNS is not tested beside glibc, for want of ${missing.join(', ')}`);

describe.skipIf(missing.length > 0).sequential('the gateway\'s DNS beside the host\'s glibc', () => {
  let namespaces: Namespaces;

  const resolvConf = (side: Side, text: string): void => {
    mkdirSync(join(ETC, namespaces.names[side]), { recursive: true });
    // In place: each program has the file mounted over its own.
    writeFileSync(join(ETC, namespaces.names[side], 'resolv.conf'), text);
  };
  const servers = (...args: string[]): string[] => ['node', '--import', TSX, fileURLToPath(new URL('fixture/linux/name-servers.ts', import.meta.url)), ...args];
  const json = async (side: Side, command: string[]): Promise<unknown> => JSON.parse(await namespaces.output(side, command));
  const lookUp = async (side: Side, name: string): Promise<{ found: string; ms: number }> => {
    const startMs = performance.now();
    const { status, stdout } = await namespaces.run(side, ['getent', 'ahostsv4', name]);
    const addresses = [...new Set(stdout.match(/^[\d.]+/gm) ?? [])];
    return { found: `${status} ${addresses.length === 0 ? '' : addresses.toSorted()[0]} of ${addresses.length}`, ms: performance.now() - startMs };
  };

  beforeAll(async () => {
    namespaces = new Namespaces();
    resolvConf('host', TWO);
    resolvConf('guest', `nameserver ${GATEWAY}\n`);
    const spec = `unix:${join(namespaces.dir, 'net.sock')}`;
    const settings: RelayProcessOptions = { spec, config: {}, forwards: [] };
    const relay = namespaces.start('host', ['node', '--import', TSX, fileURLToPath(new URL('fixture/linux/relay-process.ts', import.meta.url)), JSON.stringify(settings)]);
    await Promise.all([relay.said(/^listening on/m), namespaces.start('host', servers('serve')).said(/^ready$/m)]);
    await TapGuest.start(namespaces, { connect: spec, mtu: 1500, address: { cidr: `${GUEST_IP}/24`, gateway: GATEWAY } });
  }, 60_000);

  afterAll(async () => {
    await namespaces?.close();
    for (const name of Object.values(namespaces?.names ?? {})) rmSync(join(ETC, name), { recursive: true, force: true });
  });

  test('a first resolver that refuses, fails, is lame, late, silent or cuts its answer: found as by glibc, and as soon', async () => {
    const names = [
      '1ok.2nx', '1nx.2ok', '1refused.2ok', '1servfail.2ok', '1notimp.2ok', '1lame.2ok', '1silent.2ok', '1many.2nx', '1late1500.2ok', '1late3000.2nx', '1late4000.2servfail',
      '1refused.2refused', '1servfail.2silent', '1nx.2silent',
    ];
    const results = await Promise.all(names.map(async (labels) => {
      const [host, guest] = await Promise.all((['host', 'guest'] as const).map((side) => lookUp(side, `${side}.${labels}.test`)));
      return { labels, host, guest };
    }));
    expect(results.map(({ labels, guest }) => `${labels}: ${guest.found}`)).toEqual(results.map(({ labels, host }) => `${labels}: ${host.found}`));
    expect(results.filter(({ host, guest }) => guest.ms > host.ms + SLACK_MS).map(({ labels, host, guest }) => `${labels}: ${guest.ms} ms, the host ${host.ms}`)).toEqual([]);
    const found = Object.fromEntries(results.map(({ labels, guest }) => [labels, guest.found]));
    expect([found['1refused.2ok'], found['1silent.2ok'], found['1many.2nx'], found['1late3000.2nx']]).toEqual(['0 10.0.0.2 of 1', '0 10.0.0.2 of 1', '0 10.1.1.0 of 100', '0 10.0.0.1 of 1']);
  }, 60_000);

  test('resolv.conf changes while the relay runs: asked at once are the new ones, what the old ones said is forgotten', async () => {
    expect((await lookUp('guest', '1nx.2ok.change.test')).found).toBe('2  of 0');
    for (const [text, found] of [['nameserver 127.0.0.3\n', '0 10.0.0.2 of 1'], ['nameserver 127.0.0.9\nnameserver 127.0.0.3\n', '0 10.0.0.2 of 1'], [TWO, '2  of 0']]) {
      resolvConf('host', text);
      expect([(await lookUp('host', '1nx.2ok.change.test')).found, (await lookUp('guest', '1nx.2ok.change.test')).found]).toEqual([found, found]);
    }
  }, 60_000);

  test.each([17, 100, 1000])('%i questions on one connection, then a half-close: as many answers', async (count) => {
    expect(await json('guest', servers('pipeline', GATEWAY, String(count)))).toEqual({ answers: count, end: 'end' });
  }, 60_000);

  test('c-ares, with a cookie of its own each: the second one is not kept waiting by the first one\'s', async () => {
    for (let i = 0; i < 2; i++) {
      const { found, ms } = await json('guest', servers('ares', GATEWAY, 'cookie.test')) as { found: string[]; ms: number };
      expect(found).toEqual(['10.0.0.1']);
      expect(ms).toBeLessThan(3000);
    }
  }, 60_000);

  test.skipIf(findCommand('dig') === null)('dig: cookie, client subnet, DO, sizes, TCP', async () => {
    const dig = (...args: string[]): Promise<string> => namespaces.output('guest', ['dig', `@${GATEWAY}`, ...args]);
    for (let i = 0; i < 2; i++) {
      const text = await dig('+cookie', '+subnet=192.0.2.0/24', '+nsid', '+dnssec', 'dig.test');
      expect(text).toMatch(/status: NOERROR[^]*flags: do; udp: 1232[^]*\s10\.0\.0\.1\n/);
      expect(text).not.toMatch(/; COOKIE|CLIENT-SUBNET|; NSID|Warning|malformed/);
    }
    expect(await dig('+noedns', '+ignore', '1many.test')).toMatch(/flags: qr tc rd ra; QUERY: 1, ANSWER: 30, AUTHORITY: 0, ADDITIONAL: 0/);
    expect(await dig('+bufsize=4096', '1many.test')).toMatch(/flags: qr rd ra; QUERY: 1, ANSWER: 100, /);
    expect(await dig('+tcp', '1many.test')).toMatch(/flags: qr rd ra; QUERY: 1, ANSWER: 100, /);
    expect(await dig('+edns=1', '+noednsnegotiation', 'dig.test')).toMatch(/status: BADVERS/);
  }, 60_000);
});
