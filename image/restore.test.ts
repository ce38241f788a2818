/*
 * Built images, restored under Node's own WASI as `machine/dev-run.mjs` does: what must be different in each container (clock, randomness,
 * names) and what the agent makes of flags. Needs dist/images; `npm test` builds it first.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readCustomSection } from './wasm-section.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DIST = join(ROOT, 'dist/images');
const REPORT = '\x1b_portside;ports=';

function run(image: string, args: string[], stdin = '', flags: string[] = []): { status: number | null; screen: string } {
  const child = spawnSync(process.execPath, ['--no-warnings', join(ROOT, 'machine/dev-run.mjs'), join(DIST, `${image}.wasm`), '--disk', DIST, ...flags, '--', ...args], { input: stdin, timeout: 25_000 });
  return { status: child.status, screen: child.stdout.toString().replaceAll('\r', '') };
}

/** Runs `args`; `answer` gets the screen each time that it has changed, and says what is typed then. */
async function conversation(image: string, args: string[], answer: (screen: string) => string): Promise<string> {
  const child = spawn(process.execPath, ['--no-warnings', join(ROOT, 'machine/dev-run.mjs'), join(DIST, `${image}.wasm`), '--disk', DIST, '--', ...args], { timeout: 25_000 });
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk.toString();
    child.stdin.write(answer(screen));
  });
  await once(child, 'close');
  return screen;
}

for (const image of ['busybox', 'debian']) {
  describe.skipIf(!existsSync(join(DIST, `${image}.wasm`)))(image, () => {
    test('much output causes no interrupts, and goes before the kernel thread that each line wakes', () => {
      const { screen } = run(image, ['sh', '-c', 'i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i + 1)); done; grep virtio0 /proc/interrupts; mkdir /tmp/d; mount -t debugfs d /tmp/d && grep khvcd /tmp/d/sched/debug']);
      expect(screen).toContain('line 1999\n');
      expect(Number(/^ *\d+: +(\d+) .*virtio0$/m.exec(screen)?.[1])).toBeLessThan(1000);
      // The thread is none of the container's, and seen in the scheduler's own account only (Debian's root has no mount(8)): a nice value of 19 is priority 139.
      if (image === 'busybox') expect(screen).toMatch(/ khvcd +\d+ .* 139 /);
    });

    test('the portside section', () => {
      const section = JSON.parse(Buffer.from(readCustomSection(readFileSync(join(DIST, `${image}.wasm`)), 'portside')!).toString()) as Record<string, unknown>;
      expect(section).toMatchObject({ version: 1, name: image, net: 'qemu', resize: true, ports: true });
    });

    test('two containers of one image: fresh randomness, the right time, the name they were given', () => {
      const startedMs = Date.now();
      const [one, two] = ['one', 'two'].map((name) => run(image, ['--hostname', name, 'sh', '-c', 'hostname; touch now; TZ=UTC stat -c %y now; od -An -tx1 -N16 /dev/urandom; cat /proc/sys/kernel/random/uuid']).screen.trim().split('\n'));
      expect([one[0], two[0]]).toEqual(['one', 'two']);
      // As YYYY-MM-DD HH:MM:SS.nanoseconds. Never ahead of the host, nor as far behind as the start.
      for (const lines of [one, two]) expect(Date.parse(`${lines[1].slice(0, 23)}Z`)).toBeGreaterThan(startedMs);
      expect(Date.parse(`${two[1].slice(0, 23)}Z`)).toBeLessThan(Date.now());
      expect(one[2]).toMatch(/^( [0-9a-f]{2}){16}$/);
      expect(one[2]).not.toBe(two[2]);
      expect(one[3]).not.toBe(two[3]);
    });

    test('the clock is right again after the host has slept', () => {
      // The other clock counts on: nothing in the guest sees time stand still.
      const { screen } = run(image, ['sh', '-c', 'a=$(date +%s); while [ $(($(date +%s) - a)) -lt 60 ]; do sleep 0.2; done; echo $(($(date +%s) - a)); cat /proc/uptime'], '', ['--slept', '3600']);
      expect(Number(screen.split('\n')[0])).toBeGreaterThan(3599);
      expect(Number(screen.split('\n')[0])).toBeLessThan(3660);
    });

    test('exit status, a signal, a command that is not there, an entrypoint, no stdin, a controlling terminal', () => {
      expect(run(image, ['sh', '-c', 'exit 7']).status).toBe(7);
      // PID 1 can't end itself so: image/container.test.ts.
      expect(run(image, ['sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?']).status).toBe(137);
      expect(run(image, ['no-such-command']).status).toBe(127);
      expect(run(image, ['--entrypoint', '/bin/echo', '--', 'a', "b  c'd"])).toEqual({ status: 0, screen: "a b  c'd\n" });
      expect(run(image, ['--no-stdin', 'sh', '-c', 'cat; tty </dev/tty; echo "$HOME $PWD"']).screen).toMatch(/\/dev\/(tty|hvc0)\n\/root \/root\n/);
      expect(run(image, [], 'exit 9\n').status).toBe(9);
    });

    // A host without modes: what is set holds for the run (relay/run/share.test.ts has the rest, on our own host).
    test('a shared directory of any WASI host', () => {
      const shared = mkdtempSync(join(tmpdir(), 'portside-restore-'));
      try {
        writeFileSync(join(shared, 'text'), 'from outside\n');
        const { status, screen } = run(image, ['sh', '-c', 'cd /mnt/share; cat text; stat -c "%a %u %n" . text; chmod 750 text; chown 7 text; stat -c "%a %u" text; mkdir d; ln -s text link; cat link >d/copy; mv d moved; rm text; readlink link; ls moved; df . >/dev/null'], '', ['--share', shared]);
        expect([status, screen]).toEqual([0, 'from outside\n755 0 .\n644 0 text\n750 7\ntext\ncopy\n']);
        expect(readFileSync(join(shared, 'moved/copy'), 'utf8')).toBe('from outside\n');
      } finally {
        rmSync(shared, { recursive: true });
      }
    });
  });
}

test.skipIf(!existsSync(join(DIST, 'busybox.wasm')))('who asks in-band hears what listens, twice by one question each', async () => {
  const code = 'httpd -p 8080; httpd -p 127.0.0.1:70; httpd -p [::1]:71; httpd -p 0.0.0.0:80; while [ $(netstat -ltn | grep -c LISTEN) -lt 4 ]; do :; done; stty -echo; echo as"k"; read x; echo as"k"; read x; read x';
  const count = (screen: string, text: string): number => screen.split(text).length - 1;
  let asked = 0;
  const screen = await conversation('busybox', ['sh', '-c', code], (seen) => {
    if (asked < count(seen, 'ask')) {
      asked++;
      return '\x1b_portside;ports\x1b\\\x1b_portside;nonsense\x1b\\\n';
    }
    return count(seen, REPORT) === 2 ? '\n' : '';
  });
  const reports = screen.split(REPORT).slice(1).map((rest) => rest.slice(0, rest.indexOf('\x1b')).split(',').sort());
  expect(reports).toEqual([['70l', '71l', '80', '8080'], ['70l', '71l', '80', '8080']]);
}, 30_000);

test.skipIf(!existsSync(join(DIST, 'debian.wasm')))('debian: dpkg finds its database in order, every program its libraries', () => {
  const { status, screen } = run('debian', ['bash', '-c', 'dpkg --audit; dpkg --configure -a; for p in apt curl ip ps nano vim.tiny less sqv; do ldd $(command -v $p) | grep "not found"; done; dpkg -s curl | grep ^Status; vi --version | head -1 | cut -c1-3']);
  expect([status, screen]).toEqual([0, 'Status: install ok installed\nVIM\n']);
});

test.skipIf(!existsSync(join(DIST, 'debian.wasm')))('debian: apt and dpkg see what 90portside says, and keep both caches', () => {
  const shown = ['APT::Sandbox::User', 'APT::Keep-Downloaded-Packages', 'APT::AutoRemove::SuggestsImportant', 'Dir::Cache::srcpkgcache', 'Dir::Cache::pkgcache', 'Acquire::Languages', 'Acquire::CompressionTypes::Order', 'DPkg::Options', 'DPkg::Pre-Install-Pkgs'];
  const { status, screen } = run('debian', ['bash', '-c', [
    `apt-config dump --format '%F=%v%n' ${shown.join(' ')}`,
    'apt-cache gencaches >/dev/null; cd /var/cache/apt; echo *.bin', '/usr/sbin/policy-rc.d; echo "$?"',
    'ls /usr/share/doc/bash; ls /usr/share/man 2>/dev/null | wc -l',
  ].join('; ')]);
  expect(screen.trim().split('\n').sort()).toEqual([
    '0', '101', 'APT::AutoRemove::SuggestsImportant=false', 'APT::Keep-Downloaded-Packages=false', 'APT::Sandbox::User=root', 'Acquire::CompressionTypes::Order=', 'Acquire::CompressionTypes::Order::=gz', 'Acquire::Languages=', 'Acquire::Languages::=none', 'DPkg::Options=', 'DPkg::Options::=--force-unsafe-io',
    'Dir::Cache::pkgcache=pkgcache.bin', 'Dir::Cache::srcpkgcache=srcpkgcache.bin', 'copyright', 'pkgcache.bin srcpkgcache.bin',
  ].sort());
  expect(status).toBe(0);
});
