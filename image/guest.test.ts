/* What goes into the guest: the shell lines of its configuration, a Debian root from two made-up packages, stripped modules. */
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { buildDebianRoot } from './debian-root.ts';
import type { Deb } from './deb.ts';
import { ROOT_IDENTITY } from './enter.ts';
import { ImageBuildError } from './image-error.ts';
import { configLines, quote } from './initramfs.ts';
import { loadOrder, moduleDepends, stripModule } from './kernel-modules.ts';
import type { TarEntry } from './tar.ts';

const DEFAULTS = { name: 'x', entrypoint: [], cmd: [], env: {}, workdir: '/', identity: ROOT_IDENTITY, greeting: '', warm: '' };
const AWKWARD = ["it's", '$(reboot)', 'two  words', '', '`x`', '"', '\\', 'ü'];

describe('image.conf', () => {
  test('a shell gets back every word as it was', () => {
    const conf = configLines({ ...DEFAULTS, entrypoint: AWKWARD, cmd: ['a b'], env: { NAME: "it's $HOME" } });
    const out = execFileSync('sh', ['-c', `${conf}eval "set -- $image_entrypoint"; printf '%s\\n' "$@" "$NAME"`]).toString();
    expect(out).toBe([...AWKWARD, "it's $HOME", ''].join('\n'));
    expect(() => configLines({ ...DEFAULTS, env: { 'A=1;reboot': '' } })).toThrow(ImageBuildError);
    expect(configLines({ ...DEFAULTS, identity: { uid: 1000, gid: 100, groups: [4] } })).toContain('\nimage_owner=1000:100\n');
    expect(quote("a'b")).toBe(`'a'\\''b'`);
  });

  test('the agent is valid shell', () => {
    for (const file of ['init', 'container', 'trust', 'dhcp']) execFileSync('sh', ['-n', new URL(`guest/${file}`, import.meta.url).pathname]);
  });
});

describe('a Debian root', () => {
  const entry = (path: string, data = '', fields: Partial<TarEntry> = {}): TarEntry => ({
    path, kind: 'file', mode: 0o644, uid: 0, gid: 0, mtime: 1, link: '', major: 0, minor: 0, xattrs: new Map(), data: Buffer.from(data), ...fields,
  });
  const deb = (control: string, entries: TarEntry[], files: Record<string, string> = {}): Deb => ({
    control: new Map(Object.entries({ control, ...files }).map(([name, text]) => [name, Buffer.from(text)])), entries,
  });
  const base = deb('Package: base\nVersion: 1\nArchitecture: riscv64\nMulti-Arch: same\nDescription: x\n y', [
    entry('bin', '', { kind: 'directory', mode: 0o755 }), entry('bin/nano', 'nano', { mode: 0o755 }), entry('etc/base.conf', 'conf\n'), entry('etc/apt/apt.conf.d/70debconf', 'hook'),
    entry('usr/share/doc/base/changelog.gz'), entry('usr/share/doc/base/copyright', 'free'), entry('usr/share/locale/de/x.mo'),
    entry('usr/share/base-passwd/passwd.master', 'root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/:/usr/sbin/nologin\n'), entry('usr/share/base-passwd/group.master', 'root:*:0:\nshadow:*:42:\n'),
    entry('usr/share/base-files/profile', 'profile'), entry('usr/share/base-files/dot.profile', 'p'), entry('usr/share/base-files/dot.bashrc', 'b'), entry('usr/share/libc-bin/nsswitch.conf', 'n'),
    entry('usr/share/ca-certificates/mozilla/B.crt', 'CERT B\n'), entry('usr/share/ca-certificates/mozilla/A.crt', 'CERT A'),
  ], { conffiles: '/etc/base.conf\n/etc/apt/apt.conf.d/70debconf\n', postinst: '#!/bin/sh\n', shlibs: 'x', triggers: 'interest-noawait /usr/lib\ninterest ldconfig\n' });
  const tree = buildDebianRoot(new Map([['base', base]]), { epoch: 5, suite: 'trixie', mirror: 'http://mirror.example/debian/' });

  test('dpkg\'s database', () => {
    expect(tree.readText('var/lib/dpkg/status')).toBe('Package: base\nStatus: install ok installed\nVersion: 1\nArchitecture: riscv64\nMulti-Arch: same\nDescription: x\n y\nConffiles:\n /etc/base.conf b9a771b420047cfaa3543e66c78f44f6\n /etc/apt/apt.conf.d/70debconf 5a582ef17d6a088d9cb644e4c1ea3cdd\n');
    expect(tree.readText('var/lib/dpkg/info/base:riscv64.list')?.split('\n')).toContain('/usr/share/doc/base/changelog.gz');
    expect(tree.lookup('var/lib/dpkg/info/base:riscv64.postinst')?.mode).toBe(0o755);
    expect(tree.lookup('var/lib/dpkg/info/base:riscv64.shlibs')).toBeNull();
    expect(tree.readText('var/lib/dpkg/triggers/File')).toBe('/usr/lib base:riscv64/noawait\n');
    expect(tree.readText('var/lib/dpkg/triggers/ldconfig')).toBe('base:riscv64\n');
  });

  test('what postinst scripts would have made, and what is left out', () => {
    expect(tree.readText('etc/passwd')).toBe('root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n');
    expect(tree.lookup('etc/shadow')).toMatchObject({ mode: 0o640, gid: 42 });
    expect(tree.readText('etc/ssl/certs/ca-certificates.crt')).toBe('CERT A\nCERT B\n');
    expect(tree.lookup('bin', false)?.kind).toBe('symlink');
    expect(tree.readText('usr/bin/editor')).toBe('nano');
    expect(tree.lookup('usr/bin/vi', false)).toBeNull();
    expect(tree.readText('usr/share/doc/base/copyright')).toBe('free');
    expect([tree.lookup('usr/share/doc/base/changelog.gz'), tree.lookup('usr/share/locale/de')]).toEqual([null, null]);
    expect(tree.readText('etc/apt/sources.list.d/debian.sources')).toContain('URIs: http://mirror.example/debian/\nSuites: trixie\n');
  });

  test('apt and dpkg are configured for a container in memory', () => {
    const apt = tree.readText('etc/apt/apt.conf.d/90portside');
    for (const line of ['APT::Sandbox::User "root";', 'Acquire::Languages "none";', 'Acquire::CompressionTypes::Order { "gz"; };', 'APT::Keep-Downloaded-Packages "false";', 'DPkg::Options { "--force-unsafe-io"; };']) expect(apt).toContain(`\n${line}\n`);
    // Both caches are kept: a rebuild after an install costs half.
    expect(apt).not.toMatch(/pkgcache/);
    expect(tree.lookup('usr/sbin/policy-rc.d')?.mode).toBe(0o755);
    // dpkg knows of the hook, so its absence is a wish that upgrades respect.
    expect(tree.lookup('etc/apt/apt.conf.d/70debconf')).toBeNull();
    expect(spawnSync('sh', ['-c', tree.readText('usr/sbin/policy-rc.d')!]).status).toBe(101);
    const dpkg = tree.readText('etc/dpkg/dpkg.cfg.d/portside')!.trim().split('\n');
    expect(dpkg).toContain('path-exclude=/usr/share/man/*');
    expect(dpkg.indexOf('path-include=/usr/share/doc/*/copyright')).toBeGreaterThan(dpkg.indexOf('path-exclude=/usr/share/doc/*'));
  });
});

describe('kernel modules', () => {
  const module = elf();

  test('names of what a module needs, needed ones first, built-in ones skipped, circles refused', async () => {
    expect(moduleDepends(module)).toEqual(['needed', 'builtin']);
    const store: Record<string, Uint8Array> = { top: module, needed: elf('') };
    expect([...(await loadOrder(['top'], async (name) => store[name] ?? null)).keys()]).toEqual(['needed', 'top']);
    store.needed = elf('top');
    await expect(loadOrder(['top'], async (name) => store[name] ?? null)).rejects.toThrow(/need each other/);
  });

  test('stripping drops unused symbols and names, renumbers relocations, empties BTF', () => {
    const stripped = stripModule(module);
    expect(stripped.length).toBeLessThan(module.length);
    expect(moduleDepends(stripped)).toEqual(['needed', 'builtin']);
    const text = Buffer.from(stripped).toString('latin1');
    expect(text).toContain('printk\0');
    for (const gone of ['unused_label', 'used_label', 'BTFDATA']) expect(text).not.toContain(gone);
  });

  test('truncations and garbage never crash', () => {
    for (let end = 0; end < module.length; end++) expect(() => stripModule(module.subarray(0, end))).toThrow(ImageBuildError);
    for (let at = 0; at < module.length; at++) {
      try {
        stripModule(module.with(at, 0xff));
      } catch (error) {
        expect(error).toBeInstanceOf(ImageBuildError);
      }
    }
  });
});

/** A relocatable ELF with .modinfo, .BTF, and relocations against one local label and one undefined symbol. */
function elf(depends = 'needed,builtin'): Uint8Array {
  const strings = '\0unused_label\0used_label\0printk\0';
  const symbols = Buffer.alloc(4 * 24);
  [['unused_label', 1], ['used_label', 1], ['printk', 0]].forEach(([name, section], i) => {
    symbols.writeUInt32LE(strings.indexOf(String(name)), (i + 1) * 24);
    symbols.writeUInt16LE(Number(section), (i + 1) * 24 + 6);
  });
  const rela = Buffer.alloc(2 * 24);
  rela.writeUInt32LE(2, 12);
  rela.writeUInt32LE(3, 24 + 12);
  const names = '\0.modinfo\0.BTF\0.rela.text\0.symtab\0.strtab\0.shstrtab\0';
  const sections: Array<[name: string, type: number, data: Buffer, link: number, info: number]> = [
    ['', 0, Buffer.alloc(0), 0, 0], ['.modinfo', 1, Buffer.from(`license=GPL\0depends=${depends}\0`), 0, 0], ['.BTF', 1, Buffer.from('BTFDATA'.repeat(20)), 0, 0],
    ['.rela.text', 4, rela, 4, 1], ['.symtab', 2, symbols, 5, 3], ['.strtab', 3, Buffer.from(strings), 0, 0], ['.shstrtab', 3, Buffer.from(names), 0, 0],
  ];
  const header = Buffer.alloc(64);
  header.writeUInt32BE(0x7f454c46, 0);
  header.set([2, 1, 1], 4);
  const parts: Buffer[] = [header];
  const table = Buffer.alloc(sections.length * 64);
  let off = 64;
  sections.forEach(([name, type, data, link, info], i) => {
    table.writeUInt32LE(name === '' ? 0 : names.indexOf(`\0${name}\0`) + 1, i * 64);
    table.writeUInt32LE(type, i * 64 + 4);
    table.writeBigUInt64LE(BigInt(off), i * 64 + 24);
    table.writeBigUInt64LE(BigInt(data.length), i * 64 + 32);
    table.writeUInt32LE(link, i * 64 + 40);
    table.writeUInt32LE(info, i * 64 + 44);
    table.writeBigUInt64LE(1n, i * 64 + 48);
    parts.push(data);
    off += data.length;
  });
  header.writeBigUInt64LE(BigInt(off), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(sections.length, 60);
  header.writeUInt16LE(6, 62);
  return Uint8Array.from(Buffer.concat([...parts, table]));
}
