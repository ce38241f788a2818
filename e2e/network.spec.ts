/* The container on the network: DHCP, DNS, TCP in both directions, apt, forwards, two tabs, a relay that goes and comes back. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { lookup } from 'node:dns/promises';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test, type BrowserContext } from '@playwright/test';
import { aptSetupCommand, buildAptRepository } from '../image/apt-repo.ts';
import { Guest, noise, Server, sha256, startHostHttp } from './guest.ts';

const MIB = 1024 * 1024;
const curl = promisify(execFile);

test.describe.configure({ mode: 'serial' });

let forwardPort = 0;
let server: Server;
let context: BrowserContext;
let guest: Guest;
let host: Awaited<ReturnType<typeof startHostHttp>>;
const file = noise(20 * MIB);

test.beforeAll(async ({ browser }) => {
  forwardPort = await freePort();
  server = new Server(['-p', `127.0.0.1:${forwardPort}:80`]);
  await server.start();
  host = await startHostHttp(file);
  context = await browser.newContext();
  guest = new Guest(await context.newPage());
  await guest.open(server.url);
  await waitForLease(guest);
});

test.afterAll(async () => {
  await context.close();
  await host.close();
  await server.stop();
});

test('DHCP gives 192.168.127.3, and the way out', async () => {
  expect((await guest.run('ip -4 -o addr show dev eth0')).output).toContain('192.168.127.3/24');
  expect((await guest.run('ip route')).output).toContain('default via 192.168.127.1');
  expect((await guest.run('cat /etc/resolv.conf')).output).toContain('nameserver 192.168.127.1');
});

test('a 20 MB download has the right SHA-256', async () => {
  const { output } = await guest.run(`curl -s http://192.168.127.254:${host.port}/file | sha256sum`, 110_000);
  expect(output).toBe(`${sha256(file)}  -`);
});

test('IPv6: an address, and the same download through ::254', async () => {
  expect((await guest.run('ip -6 -o addr show dev eth0')).output).toContain('fd70:6f72:7473:');
  const { output } = await guest.run(`curl -s 'http://[fd70:6f72:7473::254]:${host.port}/file' | sha256sum`, 110_000);
  expect(output).toBe(`${sha256(file)}  -`);
});

test('a 20 MB upload arrives intact', async () => {
  await guest.run(`head -c ${20 * MIB} /dev/urandom > /tmp/up`, 60_000);
  const sent = (await guest.run('sha256sum < /tmp/up', 60_000)).output.split(' ')[0];
  const { output } = await guest.run(`curl -s -T /tmp/up http://192.168.127.254:${host.port}/up; rm /tmp/up`, 110_000);
  expect(output).toBe(`${sent} ${20 * MIB}`);
});

test('names resolve: local ones, and the host\'s own', async () => {
  expect((await guest.run('getent ahostsv4 host.containers.internal')).output).toContain('192.168.127.254');
  expect((await guest.run('getent ahostsv4 gateway.containers.internal')).output).toContain('192.168.127.1');
  const name = mirrorHost();
  const addresses = (await lookup(name, { all: true, family: 4 })).map((entry) => entry.address);
  const seen = (await guest.run(`getent ahostsv4 ${name}`)).output;
  expect(addresses.some((address) => seen.includes(address)), `${seen} holds one of ${addresses.join()}`).toBe(true);
  expect((await guest.run('getent hosts no-such-name.invalid')).status).toBe(2);
});

test('a port that nobody listens on is refused, and at once', async () => {
  const closed = await freePort();
  const { output, status } = await guest.run(`curl -sS http://192.168.127.254:${closed}/`);
  expect(status).toBe(7);
  expect(output).toMatch(/Could not connect|refused/i);
});

test('the gateway answers echo', async () => {
  // ping is not in the image; busybox's arp cache and curl's connect show TCP; ICMP by a raw socket of perl.
  const probe = "perl -MSocket -e 'socket(S,PF_INET,SOCK_RAW,1)or die;$p=pack(q(CCnnn),8,0,0,7,1);$s=8*256+7+1;$p=pack(q(CCnnn),8,0,~$s&0xffff,7,1);send(S,$p,0,sockaddr_in(0,inet_aton(q(192.168.127.1))));alarm 5;recv(S,$b,99,0);print unpack(q(C),substr($b,20,1)),qq(\\n)'";
  expect((await guest.run(probe)).output).toBe('0');
});

test('apt-get installs a package, and it runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-apt-'));
  expect(await buildAptRepository(folder)).toContain('figlet');
  const files = new Map(readdirSync(folder).map((name) => [`/${name}`, readFileSync(join(folder, name))]));
  const repository = createHttpServer((request, response) => {
    const body = files.get(new URL(request.url ?? '/', 'http://x').pathname.replace('/./', '/'));
    response.writeHead(body === undefined ? 404 : 200);
    response.end(body);
  });
  await new Promise<void>((resolve) => repository.listen(0, '127.0.0.1', resolve));
  const { port } = repository.address() as AddressInfo;
  await guest.run(aptSetupCommand(`http://192.168.127.254:${port}`));
  const installed = await guest.run('apt-get update && apt-get install -y figlet', 110_000);
  expect(installed.status, installed.output).toBe(0);
  expect(installed.output).toContain('Setting up figlet');
  const banner = await guest.run('figlet hello');
  repository.closeAllConnections();
  repository.close();
  rmSync(folder, { recursive: true });
  expect(banner.status).toBe(0);
  expect(banner.output.split('\n').length).toBeGreaterThan(4);
  expect(banner.output).toContain('|_| |_|\\___|_|_|\\___/');
});

test('-p lets the host reach a web server in the container', async () => {
  await guest.run("mkdir -p /srv && echo 'It works!' > /srv/index.html");
  await guest.write("perl -MIO::Socket::INET -e '$l=IO::Socket::INET->new(LocalPort=>80,Listen=>5,ReuseAddr=>1)or die;while($c=$l->accept){while(<$c>){last if /^\\r?$/}print $c qq(HTTP/1.0 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nIt works!\\n);close $c}' &\n");
  await expect.poll(async () => {
    try {
      return (await curl('curl', ['-s', '--max-time', '5', `http://localhost:${forwardPort}/`])).stdout;
    } catch (error) {
      return String(error);
    }
  }, { timeout: 30_000 }).toBe('It works!\n');
  await guest.run('kill %1');
});

test('two tabs have networks of their own, and both work', async ({ browser }) => {
  const other = await browser.newContext();
  const second = new Guest(await other.newPage());
  await second.open(`${server.url}?image=busybox`);
  await waitForLease(second);
  for (const tab of [guest, second]) {
    expect((await tab.run('ip -4 -o addr show dev eth0')).output).toContain('192.168.127.3/24');
  }
  const get = `http://192.168.127.254:${host.port}/file`;
  const [first, last] = await Promise.all([
    guest.run(`curl -s ${get} | head -c 1000000 | sha256sum`),
    second.run(`wget -q -O - ${get} | head -c 1000000 | sha256sum`),
  ]);
  const expected = `${sha256(file.subarray(0, 1_000_000))}  -`;
  expect(first.output.split('\n').at(-1)).toBe(expected);
  expect(last.output.split('\n').at(-1)).toBe(expected);
  // Started from one snapshot, yet not with one stream of randomness.
  const random = 'head -c 16 /dev/urandom | od -An -tx1';
  expect((await second.run(random)).output).not.toBe((await guest.run(random)).output);
  await other.close();
});

test('?net=delegate speaks plain QEMU framing, as c2w-net does', async ({ page }) => {
  // A relay of another origin, reached without subprotocol: to it our page is what c2w's page would be.
  const delegate = new Server(['--allow-origin', new URL(server.url).origin]);
  await delegate.start();
  const third = new Guest(page);
  await third.open(`${server.url}?image=busybox&net=delegate=ws://localhost:${delegate.port}/link`);
  await waitForLease(third);
  const { output } = await third.run(`wget -q -O - http://192.168.127.254:${host.port}/file | head -c 1000 | sha256sum`);
  expect(output.split('\n').at(-1)).toBe(`${sha256(file.subarray(0, 1000))}  -`);
  await page.close();
  await delegate.stop();
});

test('a relay that stops is reported, the shell lives on, and the network comes back with it', async () => {
  const port = server.port;
  await server.stop();
  await expect(guest.page.getByTestId('net-state')).toHaveAttribute('data-state', /down|connecting/);
  expect((await guest.run('echo al"ive"')).output).toBe('alive');
  await server.start(port);
  await expect(guest.page.getByTestId('net-state')).toHaveAttribute('data-state', 'up', { timeout: 60_000 });
  await expect.poll(async () => (await guest.run(`curl -s --max-time 10 http://192.168.127.254:${host.port}/file | head -c 1000 | sha256sum`)).output.split('\n').at(-1), { timeout: 90_000 })
    .toBe(`${sha256(file.subarray(0, 1000))}  -`);
});

async function waitForLease(tab: Guest): Promise<void> {
  await tab.waitFor(/[#$] ?$/m);
  await expect.poll(async () => (await tab.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A name that this machine resolves through its own resolvers: the host of its configured package mirror. */
function mirrorHost(): string {
  const dir = '/etc/apt/sources.list.d';
  for (const name of readdirSync(dir).filter((entry) => entry.endsWith('.sources'))) {
    const uri = /^URIs:\s*(\S+)/m.exec(readFileSync(`${dir}/${name}`, 'utf8'));
    if (uri !== null) return new URL(uri[1]).hostname;
  }
  return 'localhost';
}
