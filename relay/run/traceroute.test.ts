/*
 * traceroute and ping of a real guest over a real way of three hops: the gateway, a router, the destination.
 *
 *   guest -- relay in namespace A -- router B -- destination C
 *
 * What lies between must be a silence and the destination the third hop: never an answer from the wrong distance. Needs root, `ip`, `ping` and
 * dist/images; the namespaces are the test's own.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const IMAGE = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
const [A, B, C] = ['a', 'b', 'c'].map((name) => `portside-${process.pid}-${name}`);
const canRun = process.getuid?.() === 0 && ['/usr/sbin/ip', '/sbin/ip', '/usr/bin/ip'].some((path) => existsSync(path)) && existsSync(IMAGE);

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

function cable(from: string, to: string, net: string): void {
  const [left, right] = [`l${net}`, `r${net}`];
  ip('-n', from, 'link', 'add', left, 'type', 'veth', 'peer', 'name', right, 'netns', to);
  for (const [where, name, host] of [[from, left, '1'], [to, right, '2']]) {
    ip('-n', where, 'addr', 'add', `10.99.${net}.${host}/24`, 'dev', name);
    ip('-n', where, '-6', 'addr', 'add', `fd99:${net}::${host}/64`, 'dev', name, 'nodad');
    ip('-n', where, 'link', 'set', name, 'up');
  }
}

async function inGuest(script: string): Promise<string[]> {
  // An address that is still being asked for can't be spoken from.
  const ready = 'echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; for i in $(seq 100); do ip -6 addr show dev eth0 >/tmp/a; '
    + 'if grep -q fd70 /tmp/a && ! grep -q tentative /tmp/a; then break; fi; usleep 100000; done';
  const child = spawn('ip', ['netns', 'exec', A, process.execPath, BIN, 'run', '--net', IMAGE, 'sh', '-c', `${ready}; ${script}`]);
  child.stdin.end();
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => { text += bytes.toString(); });
  await once(child, 'close');
  return text.replaceAll('\r', '').trim().split('\n');
}

/** The hops that busybox's traceroute saw. */
async function traceroute(target: string): Promise<string[]> {
  const lines = await inGuest(`${target.includes(':') ? 'traceroute6' : 'traceroute'} -n -q 1 -w 1 -m 5 ${target}`);
  return lines.flatMap((line) => /^ *\d+ +(\S+)/.exec(line)?.[1] ?? []);
}

describe.skipIf(!canRun)('a way of three hops', () => {
  beforeAll(() => {
    for (const name of [A, B, C]) {
      ip('netns', 'add', name);
      ip('-n', name, 'link', 'set', 'lo', 'up');
    }
    cable(A, B, '1');
    cable(B, C, '2');
    ip('netns', 'exec', B, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding');
    ip('-n', A, 'route', 'add', 'default', 'via', '10.99.1.2');
    ip('-n', A, '-6', 'route', 'add', 'default', 'via', 'fd99:1::2');
    ip('-n', C, 'route', 'add', 'default', 'via', '10.99.2.1');
    ip('-n', C, '-6', 'route', 'add', 'default', 'via', 'fd99:2::1');
  });
  afterAll(() => { for (const name of [A, B, C]) ip('netns', 'del', name); });

  test('traceroute by IPv4', async () => {
    expect(await traceroute('10.99.2.2')).toEqual(['192.168.127.1', '*', '10.99.2.2']);
  }, 60_000);

  test('traceroute by IPv6', async () => {
    expect(await traceroute('fd99:2::2')).toEqual(['fd70:6f72:7473::1', '*', 'fd99:2::2']);
  }, 60_000);

  // Those that are lost go one hop short, or to nobody. (busybox's ping can't set a hop limit for IPv6.)
  test.skipIf(!existsSync('/usr/bin/ping') && !existsSync('/bin/ping'))('ping through the system\'s own', async () => {
    const pings = ['-4 -t 3 10.99.2.2', '-4 -t 2 10.99.2.2', '-4 10.99.2.9', '-6 fd99:2::2', '-6 fd99:2::9'];
    const lines = await inGuest(pings.map((args) => `ping -q -c 1 -W 2 ${args} | sed -n 's/.* \\([01]\\) packets received.*/\\1/p'`).join('; '));
    expect(lines).toEqual(['1', '0', '0', '1', '0']);
  }, 60_000);
});
