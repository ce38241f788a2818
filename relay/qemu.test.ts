/**
 * `portside listen` with Linux in QEMU at the other end: an unmodified kernel's driver, IP stack and tools over
 * `-netdev stream`, on a UNIX socket and over TCP.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { QemuGuest } from '../image/qemu.ts';
import { CMDLINE } from '../image/recipes.ts';
import { emittedFrames, hasTshark } from './fixture/tshark.ts';

const BIN = fileURLToPath(new URL('../bin/portside.mjs', import.meta.url));
const FILES = process.env['PORTSIDE_TEST_GUEST'] ?? fileURLToPath(new URL('../.cache/guest/busybox', import.meta.url));
const hasQemu = spawnSync('qemu-system-riscv64', ['--version']).status === 0;
const canRun = hasQemu && existsSync(join(FILES, 'kernel'));
if (!canRun) console.warn(hasQemu ? 'skipped: no kernel; `npm run build` makes it' : 'skipped: no qemu-system-riscv64 (Debian: qemu-system-misc)');

const PAYLOAD = randomBytes(12_000_000);
const PAYLOAD_SHA256 = sha256(PAYLOAD);

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** `portside listen` in a process of its own. */
class Network {
  spec = '';
  stderr = '';
  readonly #child: ChildProcess;
  #onNews = (): void => {};

  constructor(args: string[]) {
    this.#child = spawn(process.execPath, [BIN, 'listen', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
      this.#onNews();
    });
    this.#child.on('exit', () => this.#onNews());
  }

  async start(): Promise<void> {
    this.spec = (await this.#says(/listening on (\S+)\n/, 0))[1];
  }

  async stats(): Promise<Record<string, number>> {
    const from = this.stderr.length;
    this.#child.kill('SIGUSR1');
    return JSON.parse((await this.#says(/^\{.*\}$/m, from))[0]) as Record<string, number>;
  }

  /** Idempotent. */
  async stop(): Promise<void> {
    if (!this.#child.kill('SIGTERM')) return;
    await once(this.#child, 'close');
  }

  async #says(pattern: RegExp, from: number): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stderr.slice(from));
      if (match !== null) return match;
      if (this.#child.exitCode !== null) throw new Error(`portside listen ended: ${this.stderr}`);
      await new Promise<void>((resolve) => { this.#onNews = resolve; });
    }
  }
}

/** A guest with a shell that waits for commands. */
class Guest {
  readonly #qemu: QemuGuest;
  #commands = 0;

  constructor(netdev: string, mac: string) {
    this.#qemu = new QemuGuest({
      kernel: join(FILES, 'kernel'), initrd: join(FILES, 'initrd'), memoryMiB: 128, cmdline: CMDLINE, network: true, netdev: `stream,${netdev}`, mac,
      argv: ['sh', '-c', 'stty -echo; exec sh'], timeoutMs: 600_000,
    });
    // Whoever waits for the guest hears of its end; nobody need wait.
    this.#qemu.exited.catch(() => undefined);
  }

  /** Resolves when the shell is there, with the address that the guest got. */
  async boot(): Promise<string> {
    await this.#qemu.waitFor(/# $/);
    // On a busy machine the lease may come after the shell.
    return /inet addr:(\S+)/.exec(await this.run('until ifconfig eth0 | grep "inet addr"; do usleep 100000; done'))![1];
  }

  /** Runs a command; resolves with its output, rejects unless it succeeded. */
  async run(command: string): Promise<string> {
    const n = ++this.#commands;
    this.#qemu.type(`echo "[${n}"; { ${command}; } 2>&1; echo "${n}:$?]"\n`);
    const whole = new RegExp(`\\[${n}\r\n([^]*)${n}:(\\d+)\\]`);
    await this.#qemu.waitFor(whole);
    const [, output, status] = whole.exec(this.#qemu.screen)!;
    if (status !== '0') throw new Error(`${command}: status ${status}\n${output}`);
    return output.replaceAll('\r', '');
  }

  /** Pulls the plug. */
  async end(): Promise<void> {
    this.#qemu.kill();
    await this.#qemu.exited.catch(() => undefined);
  }
}

/** A link that breaks: joins QEMU, which listens, to the network, and cuts both after as many bytes to the guest as told. */
class BreakingLink {
  /** how often it was cut */
  cuts = 0;
  readonly #qemuPath: string;
  readonly #networkPath: string;
  readonly #cutAfter: number[];
  #sockets: Socket[] = [];

  constructor(qemuPath: string, networkPath: string, cutAfter: number[]) {
    this.#qemuPath = qemuPath;
    this.#networkPath = networkPath;
    this.#cutAfter = cutAfter;
  }

  join(): void {
    const [guest, network] = this.#sockets = [connect(this.#qemuPath), connect(this.#networkPath)];
    const cutAfter = this.#cutAfter.shift() ?? Infinity;
    let toGuest = 0;
    guest.pipe(network);
    network.on('data', (chunk: Buffer) => {
      toGuest += chunk.length;
      if (toGuest < cutAfter) return void guest.write(chunk);
      this.close();
      this.cuts++;
      this.join();
    });
    for (const socket of this.#sockets) socket.on('error', () => undefined);
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}

describe.skipIf(!canRun)('Linux in QEMU', { timeout: 180_000 }, () => {
  let folder: string;
  let server: HttpServer;
  /** answers with the hash of what it was sent */
  let hasher: Server;
  let url: string;
  let lan: Network;
  let jumbo: Network;
  let alice: Guest;
  let bob: Guest;
  let carol: Guest;
  let addresses: string[];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'portside-qemu-net-'));
    server = createHttpServer((_, response) => void response.end(PAYLOAD)).listen(0, '127.0.0.1');
    hasher = createServer({ allowHalfOpen: true }, (socket) => {
      const hash = createHash('sha256');
      socket.on('data', (chunk: Buffer) => hash.update(chunk)).on('end', () => socket.end(`${hash.digest('hex')}  -\n`));
    }).listen(0, '127.0.0.1');
    await Promise.all([once(server, 'listening'), once(hasher, 'listening')]);
    url = `http://192.168.127.254:${(server.address() as AddressInfo).port}/`;
    lan = new Network([`unix:${folder}/lan`, '--pcap', `${folder}/lan.pcapng`]);
    jumbo = new Network(['tcp:127.0.0.1:0', '--mtu', '9000', '--pcap', `${folder}/jumbo.pcapng`]);
    await Promise.all([lan.start(), jumbo.start()]);
    const port = jumbo.spec.split(':')[2];
    alice = new Guest(`addr.type=unix,addr.path=${folder}/lan,server=off`, '02:00:00:00:00:0a');
    bob = new Guest(`addr.type=unix,addr.path=${folder}/lan,server=off`, '02:00:00:00:00:0b');
    carol = new Guest(`addr.type=inet,addr.host=127.0.0.1,addr.port=${port},server=off`, '02:00:00:00:00:0c');
    addresses = await Promise.all([alice.boot(), bob.boot(), carol.boot()]);
  }, 120_000);

  afterAll(async () => {
    await Promise.all([alice, bob, carol].map((guest) => guest?.end()));
    await Promise.all([lan, jumbo].map((network) => network?.stop()));
    server?.close();
    hasher?.close();
    rmSync(folder, { recursive: true });
  });

  test('DHCP gives every guest its address, the network its MTU', async () => {
    expect([addresses.slice(0, 2).toSorted(), addresses[2]]).toEqual([['192.168.127.3', '192.168.127.4'], '192.168.127.3']);
    expect(await alice.run('ip route; cat /etc/resolv.conf')).toBe(
      `default via 192.168.127.1 dev eth0 \n192.168.127.0/24 dev eth0 scope link  src ${addresses[0]} \nsearch containers.internal\nnameserver 192.168.127.1\n`,
    );
    expect(await carol.run('cat /sys/class/net/eth0/mtu')).toBe('9000\n');
  });

  test('ping and DNS of the gateway; fragments both ways', async () => {
    expect(await alice.run('ping -c 2 -i 0.1 192.168.127.1')).toContain(' 0% packet loss');
    expect(await alice.run('ping -c 2 -i 0.1 -s 4000 192.168.127.1')).toContain(' 0% packet loss');
    expect(await carol.run('ping -c 2 -i 0.1 -s 8900 192.168.127.1')).toContain(' 0% packet loss');
    expect(await bob.run('nslookup host.containers.internal')).toContain('Address: 192.168.127.254');
  });

  test.each([['UNIX', () => alice], ['TCP, MTU 9000', () => carol]] as const)('over %s: download and upload through the host alias', async (_, guest) => {
    expect(await guest().run(`wget -q -O - ${url} | sha256sum`)).toBe(`${PAYLOAD_SHA256}  -\n`);
    const [own, theirs] = (await guest().run(`head -c 4000000 /dev/urandom > /tmp/up; sha256sum < /tmp/up; nc 192.168.127.254 ${(hasher.address() as AddressInfo).port} < /tmp/up`)).split('\n');
    expect(theirs).toBe(own);
  });

  test('a closed port refuses at once', async () => {
    expect(await alice.run('! nc -w 9 192.168.127.254 1')).toContain('Connection refused');
  });

  test('guests of one network reach each other through the switch', async () => {
    const before = (await lan.stats())['framesSwitched'];
    await alice.run('mkdir /tmp/www; head -c 4000000 /dev/urandom > /tmp/www/f; httpd -h /tmp/www');
    expect(await bob.run(`ping -c 2 -i 0.1 ${addresses[0]}`)).toContain(' 0% packet loss');
    expect(await bob.run(`wget -q -O - http://${addresses[0]}/f | sha256sum`)).toBe(await alice.run('sha256sum < /tmp/www/f'));
    expect((await lan.stats())['framesSwitched']).toBeGreaterThan(before + 4_000_000 / 1460);
  });

  test('a guest leaves and comes back: the same address by another link, which breaks twice in a download', async () => {
    await bob.end();
    await expect.poll(async () => (await lan.stats())['linksOpen'], { timeout: 10_000 }).toBe(1);
    bob = new Guest(`addr.type=unix,addr.path=${folder}/bob,server=on`, '02:00:00:00:00:0b');
    await expect.poll(() => existsSync(join(folder, 'bob')), { timeout: 10_000 }).toBe(true);
    const link = new BreakingLink(join(folder, 'bob'), join(folder, 'lan'), [3_000_000, 5_000_000]);
    try {
      link.join();
      expect(await bob.boot()).toBe(addresses[1]);
      expect(await bob.run(`wget -q -O - http://${addresses[0]}/f | sha256sum`)).toBe(await alice.run('sha256sum < /tmp/www/f'));
      expect(await bob.run(`wget -q -O - ${url} | sha256sum`)).toBe(`${PAYLOAD_SHA256}  -\n`);
      expect(link.cuts).toBe(2);
      // Their last words need the link.
      await expect.poll(async () => (await lan.stats())['tcpNatFlowsOpen'], { timeout: 10_000 }).toBe(0);
    } finally {
      link.close();
    }
  });

  test('nothing is left when all is said', async () => {
    const left = async (network: Network): Promise<string[]> => Object.entries(await network.stats()).filter(([name, value]) => /^(tcpNatFlowsOpen|.*Held|dnsQueriesOpen)$/.test(name) && value > 0).map(([name]) => name);
    await expect.poll(() => left(lan), { timeout: 10_000 }).toEqual([]);
    await expect.poll(() => left(jumbo), { timeout: 10_000 }).toEqual([]);
  });

  test.skipIf(!hasTshark)('of all that the network said, tshark finds no frame malformed and no checksum wrong', async () => {
    await Promise.all([lan.stop(), jumbo.stop()]);
    for (const name of ['lan', 'jumbo']) {
      const { frames, complaints } = emittedFrames(join(folder, `${name}.pcapng`));
      expect(frames).toBeGreaterThan(1000);
      expect(complaints).toEqual([]);
    }
  });
});
