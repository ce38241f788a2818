/*
 * What a container finds, against docs/container.md: each line of its table is a test here, by its name. Most are asked in one start each of
 * the busybox image (as root) and of an image made here, whose command is another user's and whose folders are links. Needs the locked packages.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildMachine } from '../machine/build.ts';
import { EPOCH, writeBootFiles } from './boot-files.ts';
import { readBusybox } from './convert/fixture.ts';
import { assembleProgram } from './enter.ts';
import { writeErofs } from './erofs.ts';
import { DISK_MODULES, NET_MODULES, SHARE_MODULES } from './kernel.ts';
import { currentLock, fetchPackages } from './locked.ts';
import { takeSnapshot } from './snapshot.ts';
import { makeInode, Tree } from './tree.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const BUSYBOX = join(ROOT, 'dist/images/busybox.wasm');
const RUNNER = join(ROOT, 'machine/dev-run.mjs');
const BIN = join(ROOT, 'bin/portside.mjs');
const TIMEOUT_MS = 120_000;
const USER = 999;
const GROUP = 998;

let dir: string;
/** an image whose command is USER's, with links where folders are expected */
let linked: string;

/**
 * An init as s6's: it refuses to be anything but PID 1, has a child that dies before its own child, and reaps until nobody is left. Status 0, or
 * what was wrong.
 */
const INIT = `
_start:
    li a7, 172
    ecall
    li t0, 1
    bne a0, t0, not_first
    li a7, 220
    li a0, 17
    li a1, 0
    li a2, 0
    li a3, 0
    li a4, 0
    ecall
    bnez a0, parent
    li a7, 220
    li a0, 17
    ecall
    li a0, 0
    li a7, 93
    ecall
parent:
    li s0, 0
    li s1, 2
reap:
    li a0, -1
    li a1, 0
    li a2, 0
    li a3, 0
    li a7, 260
    ecall
    li t0, -2048
    bgeu a0, t0, nobody
    addi s0, s0, 1
    j reap
nobody:
    bne s0, s1, missed
    li a0, 0
    li a7, 93
    ecall
not_first:
    li a0, 100
    li a7, 93
    ecall
missed:
    li a0, 101
    li a7, 93
    ecall
`;

async function makeLinked(): Promise<string> {
  const tree = new Tree(EPOCH);
  const directory = (path: string, mode = 0o755, fields: object = {}): void => tree.put(path, makeInode('directory', mode, { mtime: EPOCH, ...fields }));
  directory('bin');
  directory('var');
  tree.write('bin/busybox', await readBusybox(), 0o755);
  tree.write('bin/first', assembleProgram(INIT), 0o755);
  tree.write('bin/fault', assembleProgram('_start:\n    ld a0, 0(zero)\n'), 0o755);
  for (const applet of ['sh', 'cat', 'ls', 'stat', 'id', 'touch', 'grep', 'readlink', 'mount', 'env', 'sleep', 'hostname', 'pwd', 'init', 'nc', 'tr', 'head', 'mkdir', 'stty']) tree.symlink(`bin/${applet}`, 'busybox');
  for (const [place, target] of [['etc', '/writable/etc'], ['run', 'writable/run'], ['dev', '/writable/dev'], ['proc', '/writable/deep/proc'], ['sys', '/bin/../writable/sys'], ['tmp', '/writable/tmp'], ['var/run', '../run']]) tree.symlink(place, target);
  directory('writable');
  directory('writable/etc');
  directory('writable/run');
  directory('writable/run/mysqld', 0o755, { uid: USER, gid: GROUP });
  directory('writable/run/volume', 0o777);
  directory('writable/tmp', 0o1777);
  tree.write('writable/tmp/kept', 'of the image\n');
  tree.write('writable/etc/passwd', `root:x:0:0:root:/root:/bin/sh\napp:x:${USER}:${GROUP}::/home/app:/bin/sh\n`);
  directory('home');
  directory('home/app', 0o700, { uid: USER, gid: GROUP });
  const inDir = mkdtempSync(join(dir, 'in-'));
  writeFileSync(join(inDir, 'disk'), writeErofs(tree, { epoch: EPOCH, label: 'linked' }));
  const lock = await fetchPackages(await currentLock(), (from) => [...from.groups.kernel, ...from.groups.busybox], () => undefined);
  await writeBootFiles(inDir, lock, {
    memoryMiB: 128, modules: [...NET_MODULES, ...SHARE_MODULES, ...DISK_MODULES], disk: 'embedded',
    defaults: { name: 'linked', entrypoint: [], cmd: ['sh'], env: { PATH: '/bin', HOME: '/home/app', FROM_IMAGE: 'yes' }, workdir: '/home/app', identity: { uid: USER, gid: GROUP, groups: [7] }, greeting: '', warm: ':' },
  });
  const out = join(dir, 'linked.wasm');
  await takeSnapshot((await buildMachine()).path, inDir, out, { version: 1, name: 'linked', title: 'linked', net: 'qemu', resize: true, ports: true, pipes: true, terminals: 4, memoryMiB: 128 }, () => undefined, { embed: true });
  return out;
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'portside-container-'));
  linked = await makeLinked();
}, 300_000);
afterAll(() => rmSync(dir, { recursive: true }));

interface Ended {
  status: number | null;
  screen: string;
}

function run(image: string, args: string[], flags: string[] = []): Ended {
  const child = spawnSync(process.execPath, ['--no-warnings', RUNNER, image, ...flags, '--', ...args], { input: '', timeout: TIMEOUT_MS });
  return { status: child.status, screen: child.stdout.toString().replaceAll('\r', '') };
}

/** Types keys each time that the screen shows what is next; null: that was all, the machine is turned off. */
async function typed(image: string, args: string[], steps: Array<[shows: RegExp, keys: string | null]>): Promise<Ended> {
  const child = spawn(process.execPath, ['--no-warnings', RUNNER, image, '--', ...args], { timeout: TIMEOUT_MS, stdio: ['pipe', 'pipe', 'inherit'] });
  let screen = '';
  let step = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk.toString().replaceAll('\r', '');
    if (step === steps.length || !steps[step][0].test(screen)) return;
    const keys = steps[step++][1];
    if (keys === null) child.kill('SIGKILL');
    else child.stdin.write(keys);
  });
  const [status] = await once(child, 'close') as [number | null];
  return { status, screen };
}

test('streams of a user, without a terminal', () => {
  const script = 'id -u; for i in 0 1 2; do [ -p /dev/fd/$i ] || echo "no pipe $i"; done; echo out >/dev/stdout; echo err >/dev/stderr; echo again >/proc/self/fd/1; stat -Lc %u:%g:%a /proc/self/fd/1; cat; exit 3';
  const child = spawnSync(process.execPath, ['--no-warnings', RUNNER, linked, '--no-tty', '--', 'sh', '-c', script], { input: 'a\nb\x04', encoding: 'utf8', timeout: TIMEOUT_MS });
  expect([child.status, child.stdout, child.stderr]).toEqual([3, `${USER}\nout\nagain\n${USER}:${GROUP}:600\na\nb\x04`, 'err\n']);
}, TIMEOUT_MS);

interface Line {
  /** a shell's; what it says on both outputs is judged */
  command: string;
  says: string | RegExp;
}

/** Asks all of it in one start; what each command said, by name. */
function ask(image: string, lines: Record<string, Line>): Map<string, string> {
  // The names are numbers in the guest: nothing that a command says is taken for one.
  const names = Object.keys(lines);
  const script = names.map((name, index) => `echo "=$((${index}))="; { ${lines[name].command}\n} 2>&1`).join('\n');
  const { screen, status } = run(image, ['sh', '-c', `stty -echo -onlcr 2>/dev/null\n${script}\necho ==; exit 0`]);
  expect([status, screen.endsWith('==\n')], screen).toEqual([0, true]);
  const parts = screen.slice(0, -3).split(/^=\d+=\n/m).slice(1);
  expect(parts).toHaveLength(names.length);
  return new Map(names.map((name, index) => [name, parts[index].trimEnd()]));
}

function judge(lines: Record<string, Line>, answers: Map<string, string>): void {
  for (const [name, { says }] of Object.entries(lines)) {
    test(name, () => {
      if (typeof says === 'string') expect(answers.get(name)).toBe(says);
      else expect(answers.get(name)).toMatch(says);
    });
  }
}

/** Namespaces of the machine's own start (include/linux/proc_ns.h). */
const FIRST_SPACES = { cgroup: 0xeffffffb, pid: 0xeffffffc, user: 0xeffffffd, uts: 0xeffffffe, ipc: 0xefffffff };
const space = (name: keyof typeof FIRST_SPACES): string => `[ "$(readlink /proc/self/ns/${name})" = "${name}:[${FIRST_SPACES[name]}]" ] && echo ${name} is shared`;

const AS_ROOT: Record<string, Line> = {
  'PID 1': { command: 'echo $$; read -r line </proc/1/cmdline; echo "${line%%-*}"; grep -E "^PPid" /proc/self/status', says: /^1\nsh.?\nPPid:\t1$/ },
  'processes': { command: 'for p in /proc/[0-9]*; do [ -e $p/exe ] && readlink $p/exe; done | sort -u; for p in /proc/[0-9]*; do cat $p/comm; done | sort -u | tr "\\n" " "; echo', says: /^\/bin\/sh\n(sh ?|sort ?|tr ?|cat ?|exe ?)+$/ },
  'namespaces': { command: `${space('pid')}; ${space('uts')}; ${space('ipc')}; ${space('cgroup')}; ${space('user')}; unshare -U true; echo $?`, says: 'user is shared\n0' },
  'first child': { command: 'true & echo $(($! < 60))', says: '1' },
  'terminal': { command: 'tty; echo written >&0; for fd in 0 1 2; do grep ^flags /proc/1/fdinfo/$fd; done; stat -Lc %t:%T /proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2; ls -C /proc/1/fd', says: /^\/dev\/hvc0\nwritten\n(flags:\t0\d*2\n){3}(e5:0\n){3}0 +1( +10)? +2$/ },
  'session': { command: 'read -r stat </proc/1/stat; set -- ${stat##*) }; echo $3 $4 $6; true </dev/tty && echo has one', says: '1 1 1\nhas one' },
  'root': { command: 'grep -cE "^([^ ]+ ){4}/(run|tmp|var|etc|root|home)" /proc/self/mountinfo; mount | grep -c " on / "', says: '0\n1' },
  '/proc': { command: 'mount | grep " on /proc "', says: 'proc on /proc type proc (rw,nosuid,nodev,noexec,relatime)' },
  '/proc, hidden': {
    command: 'for f in kcore keys timer_list; do stat -c "%F %t:%T" /proc/$f; done; ls -A /proc/acpi /proc/scsi /sys/firmware 2>/dev/null; grep -c . /proc/interrupts | grep -vx 0 >/dev/null && echo interrupts',
    says: /^(character special file 1:3\n){3}(\/sys\/firmware:\n)?interrupts$/,
  },
  '/proc, read-only': { command: 'for f in sys/kernel/hostname sysrq-trigger irq/default_smp_affinity; do echo 1 >/proc/$f; done; mount | grep -E " on /proc/(bus|fs|irq|sys|sysrq-trigger) .*[(]ro,nosuid,nodev,noexec" | grep -c .', says: /^(sh: can't create .*: Read-only file system\n){3}5$/ },
  '/proc/sys/net': { command: 'echo 1 >/proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward', says: '1' },
  '/sys': { command: 'mount | grep " on /sys "; true >/sys/kernel/uevent_helper', says: /^sysfs on \/sys type sysfs \(ro,nosuid,nodev,noexec,relatime\)\n.*Read-only file system$/ },
  '/sys/fs/cgroup': { command: 'mount | grep " on /sys/fs/cgroup "; cat /proc/self/cgroup; cut -d" " -f4,5 /proc/self/mountinfo | grep cgroup; grep -c . /sys/fs/cgroup/cgroup.procs | grep -vx 0 >/dev/null && echo lists', says: 'cgroup on /sys/fs/cgroup type cgroup2 (ro,nosuid,nodev,noexec,relatime)\n0::/\n/ /sys/fs/cgroup\nlists' },
  '/dev': {
    command: 'mount | grep " on /dev "; stat -c "%n %t:%T %a" /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty; for l in core fd stdin stdout stderr ptmx; do readlink /dev/$l; done; ls /dev | tr "\\n" " "; echo',
    says: 'tmpfs on /dev type tmpfs (rw,nosuid,relatime,size=65536k,mode=755,inode64)\n/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n/dev/urandom 1:9 666\n/dev/tty 5:0 666\n'
      + '/proc/kcore\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\nconsole core fd full fuse hvc0 hvc2 hvc3 hvc4 mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero',
  },
  '/dev/console': { command: 'stat -c "%t:%T %a %u:%g" /dev/console; echo seen >/dev/console', says: 'e5:0 620 0:5\nseen' },
  '/dev/pts': { command: 'mount | grep " on /dev/pts "; script -qc "tty" /dev/null 2>/dev/null || ls /dev/pts', says: /^devpts on \/dev\/pts type devpts \(rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666\)\n(\/dev\/pts\/0|ptmx)$/ },
  '/dev/shm': { command: 'mount | grep " on /dev/shm "; stat -c %a /dev/shm; [ $(df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2) -gt 40000 ] && echo large', says: /^shm on \/dev\/shm type tmpfs \(rw,nosuid,nodev,noexec,relatime,(size=\d+k,)?inode64\)\n1777\nlarge$/ },
  '/dev/mqueue': { command: 'mount | grep " on /dev/mqueue "; true >/dev/mqueue/q && ls /dev/mqueue', says: 'mqueue on /dev/mqueue type mqueue (rw,nosuid,nodev,noexec,relatime)\nq' },
  'devices': { command: 'stat -c "%a %t:%T" /dev/fuse; true <>/dev/fuse && echo opened; ls /dev/hvc1 /dev/vda /dev/mem', says: /^666 a:e5\nopened\n(ls: .*No such file or directory\n?){3}$/ },
  'host name': { command: 'hostname; cat /etc/hostname; hostname other && hostname; hostname busybox', says: 'busybox\nbusybox\nother' },
  '/etc/hosts': { command: 'cat /etc/hosts; echo "1.2.3.4 x" >>/etc/hosts && mv /etc/hosts /etc/h && mv /etc/h /etc/hosts && echo moved', says: '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\nfe00:: ip6-localnet\nff00:: ip6-mcastprefix\nff02::1 ip6-allnodes\nff02::2 ip6-allrouters\n127.0.1.1 busybox\nmoved' },
  '/etc/mtab': { command: 'readlink /etc/mtab; grep -c " /dev/pts " /etc/mtab', says: '/proc/mounts\n1' },
  'capabilities': { command: 'grep ^Cap /proc/self/status', says: 'CapInh:\t0000000000000000\nCapPrm:\t000001ffffbcffff\nCapEff:\t000001ffffbcffff\nCapBnd:\t000001ffffbcffff\nCapAmb:\t0000000000000000' },
  'mounting': { command: 'mkdir -p /n; mount -t tmpfs n /n; mkdir -p /n/bin /n/old; cp /bin/busybox /n/bin/; (cd /n; unshare -m sh -c "pivot_root . old && exec /bin/busybox ls -1 /"); mkdir /m; mount -t tmpfs x /m && mount --bind /etc /m && ls /m/passwd; umount /m; umount /m; chroot / true && echo chroot', says: 'bin\nold\n/m/passwd\nchroot' },
  'the machine': { command: 'reboot -f; insmod /x.ko; echo still here', says: /Operation not permitted\n.*\nstill here$/ },
  'privileges': { command: 'grep -E "^(NoNewPrivs|Seccomp):" /proc/self/status', says: 'NoNewPrivs:\t0\nSeccomp:\t0' },
  'umask': { command: 'umask; true >/tmp/u; stat -c %a /tmp/u', says: '0022\n644' },
  'nofile': { command: 'ulimit -Sn; ulimit -Hn; ulimit -n 100000 && ulimit -n', says: '1024\n524288\n100000' },
  'other limits': { command: 'ulimit -u; ulimit -c; ulimit -Hc; ulimit -s; ulimit -l; cat /proc/self/oom_score_adj', says: 'unlimited\n0\nunlimited\n8192\n8192\n0' },
  'sysctls': { command: 'cat /proc/sys/net/ipv4/ping_group_range /proc/sys/net/ipv4/ip_unprivileged_port_start', says: '0\t2147483647\n0' },
  'environment': { command: 'tr "\\0" "\\n" </proc/1/environ | sort', says: 'HOME=/root\nHOSTNAME=busybox\nLANG=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nTERM=xterm' },
  'orphans': {
    command: 'sh -c "sh -c \\"read -r x </proc/self/stat; sleep 0.3\\" & exit" ; n=0; while grep -qs "^State:.Z" /proc/[0-9]*/status && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done; for s in /proc/[0-9]*/status; do grep "^State:.Z" $s; done; echo none left',
    says: 'none left',
  },
  'kill -9 -1': { command: 'sleep 1000 & kill -9 -1; wait; echo alive', says: /^(Killed\n)?alive$/ },
};

const AS_USER: Record<string, Line> = {
  'user': { command: 'id -u; id -g; id -G; grep -E "^(CapPrm|CapEff|CapBnd|CapAmb)" /proc/self/status', says: `${USER}\n${GROUP}\n${GROUP} 7\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t000001ffffbcffff\nCapAmb:\t0000000000000000` },
  'streams of a user': { command: 'echo a >/dev/stdout; echo b >/dev/stderr; echo c >/proc/self/fd/1; echo d >/dev/console; true </dev/stdin; echo e >&0; stat -c "%u:%g %a" /dev/hvc0', says: `a\nb\nc\nd\ne\n${USER}:5 620` },
  '/run': { command: 'touch /run/mysqld/x /run/volume/y /var/run/volume/z && ls -1d /run/*/*; cat /tmp/kept; touch /tmp/t && echo tmp', says: '/run/mysqld/x\n/run/volume/y\n/run/volume/z\nof the image\ntmp' },
  'working directory': { command: 'pwd; touch here && echo written', says: '/home/app\nwritten' },
  'links in the root': {
    command: 'for l in etc run dev proc sys tmp; do [ -L /$l ] && echo $l; done; mount | grep -oE " on [^ ]* type (proc|sysfs|devpts|mqueue|cgroup2)"; cat /writable/etc/hostname; head -1 /etc/hosts; id -un; [ /proc/self/ -ef /writable/deep/proc/self/ ] && echo same; echo x >/proc/sys/kernel/hostname',
    says: /^etc\nrun\ndev\nproc\nsys\ntmp\n on \/writable\/deep\/proc type proc\n on \/writable\/sys type sysfs\n on \/writable\/sys\/fs\/cgroup type cgroup2\n on \/writable\/dev\/pts type devpts\n on \/writable\/dev\/mqueue type mqueue\n( on \/writable\/deep\/proc\/\S+ type proc\n){6}linked\n127.0.0.1 localhost\napp\nsame\n.*(Read-only file system|Permission denied)$/,
  },
  'low ports': { command: 'nc -l -p 80 -w 1 -e true 2>&1; grep -qi ": 00000000:0050" /proc/net/tcp; nc -l -p 80 </dev/null & sleep 0.3; grep -ciE ":0050 .* 0A " /proc/net/tcp /proc/net/tcp6 | grep -vq ":0$" && echo listens; kill $!', says: /listens$/ },
};

describe.skipIf(!existsSync(BUSYBOX))('what root finds', () => {
  const answers = new Map<string, string>();
  beforeAll(() => { for (const [name, text] of ask(BUSYBOX, AS_ROOT)) answers.set(name, text); }, TIMEOUT_MS);
  judge(AS_ROOT, answers);
});

describe('what another user finds, in a root of links', () => {
  const answers = new Map<string, string>();
  beforeAll(() => { for (const [name, text] of ask(linked, AS_USER)) answers.set(name, text); }, TIMEOUT_MS);
  judge(AS_USER, answers);

  test('/etc/resolv.conf', () => {
    const child = spawnSync(process.execPath, [BIN, 'run', '--net', linked, 'sh', '-c', 'cat /writable/etc/resolv.conf'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], timeout: TIMEOUT_MS });
    expect(child.stdout).toMatch(/^nameserver \d/m);
  }, TIMEOUT_MS);

  test('inits', async () => {
    expect(run(linked, ['first']).status).toBe(0);
    // Whoever is not the command is not PID 1.
    expect(run(linked, ['sh', '-c', 'first; exit $?']).status).toBe(100);
    const { screen } = await typed(linked, ['init'], [[/activate this console/, '\n'], [/[$#] /, 'echo "<$PPID>"\n'], [/<1>/, null]]);
    expect(screen).toContain('<1>');
  }, TIMEOUT_MS);

  test('exit status', () => {
    expect(run(linked, ['sh', '-c', 'exit 7']).status).toBe(7);
    expect(run(linked, ['sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?']).status).toBe(137);
    // Of its own sending PID 1 gets no signal that it does not handle; a fault ends it all the same.
    expect(run(linked, ['sh', '-c', 'kill -9 $$; kill -15 $$; exit 3']).status).toBe(3);
    expect(run(linked, ['fault']).status).toBe(139);
    expect(run(linked, ['no-such-program'])).toEqual({ status: 127, screen: 'portside: no-such-program: not found\n' });
    expect(run(linked, ['/etc/passwd'])).toEqual({ status: 126, screen: 'portside: /etc/passwd: can\'t be run\n' });
    expect(run(linked, ['sh', '-c', 'sleep 1000 & (sleep 1000 &) ; exit 4']).status).toBe(4);
  }, TIMEOUT_MS);

  test('^C and ^\\', async () => {
    const go = 'echo go; ';
    expect((await typed(linked, ['sh', '-c', `${go} exec sleep 1000`], [[/go\n/, '\x03']])).status).toBe(130);
    expect((await typed(linked, ['sh', '-c', `${go} exec sleep 1000`], [[/go\n/, '\x1c']])).status).toBe(131);
    expect((await typed(linked, ['sh', '-c', `trap 'exit 5' INT; ${go} while true; do sleep 0.1; done`], [[/go\n/, '\x03']])).status).toBe(5);
    expect((await typed(linked, ['sh', '-c', `trap '' INT; ${go} read -r line; exit 6`], [[/go\n/, '\x03'], [/\^C/, 'x\n']])).status).toBe(6);
    // Only what the terminal makes a signal of is one.
    expect((await typed(linked, ['sh', '-c', `stty -isig; ${go} head -c 1 | tr '\\003' C; exit 8`], [[/go\n/, '\x03\n']]))).toMatchObject({ status: 8, screen: expect.stringMatching(/C$/) });
  }, TIMEOUT_MS);
});

test('the table says what is tested', () => {
  const rows = readFileSync(join(ROOT, 'docs/container.md'), 'utf8').split('\n').filter((line) => line.startsWith('| ')).map((line) => line.split('|')[1].trim().replaceAll('`', '')).filter((name) => name !== 'what' && !/^-+$/.test(name));
  expect(rows.sort()).toEqual([...Object.keys(AS_ROOT), ...Object.keys(AS_USER), '/etc/resolv.conf', 'inits', 'exit status', '^C and ^\\', 'streams of a user, without a terminal', 'further terminals'].sort());
});
