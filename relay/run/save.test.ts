/*
 * A container that is saved and goes on in another process: the busybox image in the terminal runner, with a web server of this host
 * to talk to. Needs dist/images.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url));
const IMAGES = fileURLToPath(new URL('../../dist/images', import.meta.url));
const IMAGE = join(IMAGES, 'busybox.wasm');
const WAIT_MS = 60_000;
const dir = mkdtempSync(join(tmpdir(), 'portside-save-'));
const saved = join(dir, 'one.portside');
const running = new Set<Container>();

afterAll(async () => {
  for (const container of running) await container.end('SIGKILL');
  rmSync(dir, { recursive: true });
});

/** `portside run` with pipes. */
class Container {
  output = '';
  readonly #child: ReturnType<typeof spawn>;
  readonly #closed: Promise<unknown[]>;

  constructor(args: string[]) {
    this.#child = spawn(process.execPath, [BIN, 'run', ...args]);
    this.#closed = once(this.#child, 'close');
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) stream.on('data', (bytes: Buffer) => { this.output += bytes.toString().replaceAll('\r', ''); });
    running.add(this);
  }

  /** Types a line whose output ends in a mark, and returns what came before the mark. */
  async run(line: string): Promise<string> {
    const from = this.output.length;
    const mark = `end-${Math.random().toString(36).slice(2)}`;
    this.send(`${line}\necho ${mark.slice(0, 5)}''${mark.slice(5)}\n`);
    const end = await this.waitFor(mark, from);
    return this.output.slice(from, end).trim();
  }

  /** The number that a line's output ends in: the shell may have something to say of its jobs before it. */
  async number(line: string): Promise<number> {
    const output = await this.run(line);
    const found = /(\d+)$/.exec(output);
    if (found === null) throw new Error(`no number: ${JSON.stringify(output)}`);
    return Number(found[1]);
  }

  send(text: string): void {
    this.#child.stdin!.write(text);
  }

  async waitFor(text: string, from = 0): Promise<number> {
    for (const end = Date.now() + WAIT_MS; Date.now() < end; await new Promise((resolve) => { setTimeout(resolve, 20); })) {
      const at = this.output.indexOf(text, from);
      if (at >= 0) return at;
    }
    throw new Error(`no ${text} in ${this.output}`);
  }

  /** Its status, or the signal that ended it. */
  async end(signal?: NodeJS.Signals): Promise<unknown> {
    if (signal !== undefined) this.#child.kill(signal);
    const [status, by] = await this.#closed;
    running.delete(this);
    return status ?? by;
  }
}

describe.skipIf(!existsSync(IMAGE))('a saved container', () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      if (bytes.toString().startsWith('GET')) socket.end('HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello');
    });
  });
  let port = 0;
  /** until the network is up */
  const fetchLine = (): string => `until wget -q -O - http://host.containers.internal:${port} 2>/dev/null; do sleep 0.2; done`;

  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
    const container = new Container(['--net', '--save', saved, IMAGE]);
    await container.waitFor(':~#');
    await container.run("stty -echo; PS1=''");
    expect(await container.run(fetchLine())).toContain('hello');
    // A connection that will wait for ever unless somebody ends it.
    await container.run(`echo kept >/tmp/file; (while :; do echo x >>/tmp/count; sleep 0.1; done) & mkfifo /tmp/never; (nc 192.168.127.254 ${port} <>/tmp/never >/dev/null; echo gone >/tmp/nc) &`);
    const peer = `:${port.toString(16).toUpperCase().padStart(4, '0')} 01`;
    await container.run(`until grep -q '${peer}' /proc/net/tcp; do sleep 0.1; done`);
    expect(await container.run('[ -e /tmp/nc ] || echo it waits')).toContain('it waits');
    expect(await container.end('SIGTERM')).toBe(143);
    expect(container.output).toMatch(/saved to .*one\.portside \(\d+\.\d MiB\)/);
  }, 2 * WAIT_MS);
  afterAll(() => server.close());

  test('is small', () => {
    expect(statSync(saved).size).toBeGreaterThan(50_000);
    expect(statSync(saved).size).toBeLessThan(20_000_000);
  });

  test('goes on: files, processes, the right time, randomness of its own, the network', async () => {
    const random: string[] = [];
    for (let i = 0; i < 2; i++) {
      const container = new Container(['--net', '--resume', saved, IMAGE]);
      expect(await container.run('cat /tmp/file')).toContain('kept');
      const count = await container.number('wc -l </tmp/count');
      expect(count).toBeGreaterThan(0);
      await container.run(`while [ $(wc -l </tmp/count) -le ${count} ]; do sleep 0.1; done`);
      // The agent sets the clock when it hears of the resume.
      await expect.poll(async () => Math.abs(await container.number('date +%s') - Date.now() / 1000), { timeout: WAIT_MS }).toBeLessThan(2);
      random.push(await container.run('head -c 16 /dev/urandom | md5sum'));
      expect(await container.run(fetchLine())).toContain('hello');
      await expect.poll(() => container.number('ip -6 addr show dev eth0 | grep -c fd70'), { timeout: WAIT_MS }).toBe(1);
      // Who waited for a peer that knows nothing of it any more is told so.
      await container.run('while [ ! -e /tmp/nc ]; do sleep 0.1; done');
      container.send('exit 7\n');
      expect(await container.end()).toBe(7);
    }
    expect(random[0]).not.toBe(random[1]);
  }, 4 * WAIT_MS);

  test('goes on in its shared directories, in files that were open there, in as much memory, and with a new authority', async () => {
    const shared = join(dir, 'shared');
    const file = join(dir, 'shared.portside');
    mkdirSync(shared);
    const container = new Container(['--dir', `${shared}::/mnt/here`, '--memory', '256', '--save', file, IMAGE]);
    await container.waitFor(':~#');
    await container.run("stty -echo; PS1=''");
    // What is kept lies beyond the memory that the image has by itself.
    const sum = /[0-9a-f]{32}/.exec(await container.run('cd /mnt/here; exec 7>>log; echo one >&7; head -c 1000000 /dev/urandom >/tmp/one; for i in $(seq 110); do cat /tmp/one; done >/dev/shm/big; tail -c 1000000 /dev/shm/big | md5sum'))![0];
    expect(await container.end('SIGTERM')).toBe(143);
    // With a network the host's descriptors have other numbers.
    const resumed = new Container(['--net', '--env', "PORTSIDE_CA=it's\nnew", '--dir', `${shared}::/mnt/here`, '--resume', file, IMAGE]);
    expect(await resumed.run('echo two >&7; cat log; ls; tail -c 1000000 /dev/shm/big | md5sum')).toMatch(new RegExp(`one\ntwo\nlog\n${sum}`));
    // A network within the browser has another authority each time.
    await expect.poll(() => resumed.run('cat /etc/portside-ca.pem'), { timeout: WAIT_MS }).toContain("it's\nnew");
    resumed.send('exec 7>&-; exit\n');
    expect(await resumed.end()).toBe(0);
    expect(readFileSync(join(shared, 'log'), 'utf8')).toBe('one\ntwo\n');
    // Without them it goes on, too, and hears of errors.
    const bare = new Container(['--resume', file, IMAGE]);
    expect(await bare.run('ls /mnt/here; echo still here')).toMatch(/Bad file descriptor[^]*still here/);
    expect(await bare.end('SIGTERM')).toBe(143);
  }, 4 * WAIT_MS);

  test('does not go on with another image or another version of its own, and says so', async () => {
    const bytes = readFileSync(IMAGE);
    const at = bytes.indexOf(`"id":"`) + 6;
    const other = join(dir, 'busybox.wasm');
    writeFileSync(other, bytes.with(at, bytes[at] === 0x30 ? 0x31 : 0x30));
    const refusals = [[other, 'saved with another version of the image busybox'], [join(IMAGES, 'debian.wasm'), 'saved with the image busybox, and debian is another']];
    for (const [image, why] of refusals) {
      if (!existsSync(image)) continue;
      const container = new Container(['--resume', saved, image]);
      expect(await container.end()).toBe(1);
      expect(container.output).toContain(why);
    }
  }, WAIT_MS);

  test('that was cut off or altered is refused', async () => {
    const bytes = readFileSync(saved);
    const bad = join(dir, 'bad.portside');
    for (const [content, why] of [
      [bytes.subarray(0, bytes.length - 100), 'it is cut off'], [bytes.with(bytes.length - 60, bytes[bytes.length - 60] ^ 1), 'its checksum is wrong'], [Buffer.from('hello'), 'no saved container'],
    ] as const) {
      writeFileSync(bad, content);
      const container = new Container(['--resume', bad, IMAGE]);
      expect(await container.end()).toBe(1);
      expect(container.output).toContain(why);
    }
  }, 3 * WAIT_MS);
});
