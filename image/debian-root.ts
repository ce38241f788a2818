/*
 * A Debian root from packages, without dpkg and without running anything of theirs.
 *
 * Maintainer scripts can't run at build time (they are programs of another architecture), so what those of the essential
 * packages do to a fresh system is done here, each step named after the package whose postinst it stands for. The dpkg
 * database is written as dpkg would leave it (status, file lists, maintainer scripts, triggers, alternatives): apt in the
 * container goes on from there as on any Debian system.
 *
 * Left out: documentation but for the copyright files, manual pages, translations; dpkg.cfg.d keeps them out of what is
 * installed later, too. Also left out: ld.so.cache (every library lies in the loader's default directories) and the hash
 * links in /etc/ssl/certs (the bundle is OpenSSL's default file instead).
 */
import { createHash } from 'node:crypto';
import type { Deb } from './deb.ts';
import { parseStanzas } from './control-file.ts';
import { ImageBuildError } from './image-error.ts';
import { makeInode, Tree } from './tree.ts';

const EXCLUDED = /^usr\/share\/(doc|man|info|locale|lintian|linda|bug|doc-base)\/./;
const INCLUDED = /^usr\/share\/(doc\/[^/]+(\/copyright)?|locale\/locale\.alias)$/;
const DPKG = 'var/lib/dpkg';
/** Maintainer files that dpkg keeps; shlibs and symbols serve only those who build packages. */
const KEPT_INFO = ['conffiles', 'config', 'md5sums', 'postinst', 'postrm', 'preinst', 'prerm', 'templates', 'triggers'];
const decoder = new TextDecoder();

export interface DebianOptions {
  /** mtime of what is made here, in seconds */
  epoch: number;
  suite: string;
  /** base URI of the mirror for the container's own apt; null where none is known */
  mirror: string | null;
}

/** Builds the root from unpacked packages by name. */
export function buildDebianRoot(debs: Map<string, Deb>, options: DebianOptions): Tree {
  const tree = new Tree(options.epoch);
  for (const dir of ['bin', 'lib', 'sbin']) {
    tree.mkdir(`usr/${dir}`);
    tree.symlink(dir, `usr/${dir}`);
  }
  for (const deb of debs.values()) {
    for (const entry of deb.entries) if (!EXCLUDED.test(entry.path) || INCLUDED.test(entry.path)) tree.addEntry(entry);
  }
  baseFiles(tree);
  basePasswd(tree);
  small(tree);
  caCertificates(tree);
  for (const alternative of ALTERNATIVES) updateAlternatives(tree, alternative);
  dpkgDatabase(tree, debs);
  aptConfiguration(tree, options);
  return tree;
}

function baseFiles(tree: Tree): void {
  for (const dir of ['boot', 'dev', 'etc/opt', 'home', 'media', 'mnt', 'opt', 'proc', 'run', 'srv', 'sys', 'var/local', 'var/opt', 'var/spool']) tree.mkdir(dir);
  for (const dir of ['bin', 'etc', 'games', 'include', 'lib', 'sbin', 'share', 'share/man', 'src']) tree.mkdir(`usr/local/${dir}`);
  tree.put('root', makeInode('directory', 0o700, { mtime: tree.root.mtime }));
  tree.put('tmp', makeInode('directory', 0o1777, { mtime: tree.root.mtime }));
  tree.put('var/tmp', makeInode('directory', 0o1777, { mtime: tree.root.mtime }));
  tree.put('var/mail', makeInode('directory', 0o2775, { gid: 8, mtime: tree.root.mtime }));
  const links: Array<[path: string, target: string]> = [
    ['var/run', '/run'], ['var/lock', '/run/lock'], ['var/spool/mail', '../mail'], ['usr/local/man', 'share/man'], ['etc/dpkg/origins/default', 'debian'],
    ['etc/mtab', '../proc/self/mounts'], ['etc/os-release', '../usr/lib/os-release'],
  ];
  for (const [path, target] of links) if (tree.lookup(path, false)?.kind !== 'symlink') tree.symlink(path, target);
  copy(tree, 'usr/share/base-files/profile', 'etc/profile');
  copy(tree, 'usr/share/base-files/dot.profile', 'root/.profile');
  copy(tree, 'usr/share/base-files/dot.bashrc', 'root/.bashrc');
}

function basePasswd(tree: Tree): void {
  const master = (name: string): string => {
    const text = tree.readText(`usr/share/base-passwd/${name}.master`);
    if (text === null) throw new ImageBuildError(`base-passwd has no ${name}.master`);
    return text;
  };
  const users = master('passwd').trim().split('\n').map((line) => line.split(':'));
  tree.write('etc/passwd', `${users.map(([name, , ...rest]) => [name, 'x', ...rest].join(':')).join('\n')}\n`);
  tree.write('etc/group', master('group').split('\n').map((line) => line.replace(/^([^:]+):\*:/, '$1:x:')).join('\n'));
  // As `shadowconfig on`: no password logs in. 20000: a day in 2024, when "last changed" has to have a value.
  tree.put('etc/shadow', makeInode('file', 0o640, { gid: 42, mtime: tree.root.mtime, data: Buffer.from(users.map(([name]) => `${name}:*:20000:0:99999:7:::\n`).join('')) }));
  tree.write('etc/subuid', '');
  tree.write('etc/subgid', '');
}

/** Postinst scripts that come down to a file or two. */
function small(tree: Tree): void {
  // debianutils (update-shells)
  tree.write('etc/shells', '# /etc/shells: valid login shells\n/bin/sh\n/usr/bin/sh\n/bin/bash\n/usr/bin/bash\n/bin/rbash\n/usr/bin/rbash\n/usr/bin/dash\n');
  // libc-bin
  copy(tree, 'usr/share/libc-bin/nsswitch.conf', 'etc/nsswitch.conf');
  // libpam-modules, libpam-runtime (pam-auth-update with its defaults)
  tree.put('etc/security/opasswd', makeInode('file', 0o600, { mtime: tree.root.mtime }));
  tree.write('etc/environment', '');
  tree.write('etc/pam.d/common-auth', 'auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n');
  tree.write('etc/pam.d/common-account', 'account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\naccount required pam_permit.so\n');
  tree.write('etc/pam.d/common-password', 'password [success=1 default=ignore] pam_unix.so obscure yescrypt\npassword requisite pam_deny.so\npassword required pam_permit.so\n');
  for (const name of ['common-session', 'common-session-noninteractive']) tree.write(`etc/pam.d/${name}`, 'session required pam_unix.so\n');
  // The agent writes these before the command starts.
  for (const path of ['etc/hostname', 'etc/hosts', 'etc/resolv.conf']) tree.write(path, '');
}

/** update-ca-certificates, all certificates trusted. */
function caCertificates(tree: Tree): void {
  const dir = 'usr/share/ca-certificates';
  const names = [...(tree.lookup(`${dir}/mozilla`)?.children.keys() ?? [])].filter((name) => name.endsWith('.crt')).sort();
  if (names.length === 0) throw new ImageBuildError('ca-certificates has no certificates');
  let bundle = '';
  for (const name of names) {
    bundle += `${tree.readText(`${dir}/mozilla/${name}`)!.trimEnd()}\n`;
    tree.symlink(`etc/ssl/certs/${name.replace(/\.crt$/, '.pem')}`, `/${dir}/mozilla/${name}`);
  }
  tree.write('etc/ca-certificates.conf', names.map((name) => `mozilla/${name}\n`).join(''));
  tree.write('etc/ssl/certs/ca-certificates.crt', bundle);
  tree.mkdir('usr/local/share/ca-certificates');
  tree.symlink('usr/lib/ssl/cert.pem', '/etc/ssl/certs/ca-certificates.crt');
}

interface Alternative {
  name: string;
  link: string;
  /** best first */
  choices: Array<{ path: string; priority: number; slaves?: Record<string, string> }>;
  /** link by name */
  slaves?: Record<string, string>;
}

/** What the postinst scripts register, manual pages left out. */
const ALTERNATIVES: Alternative[] = [
  { name: 'awk', link: '/usr/bin/awk', slaves: { nawk: '/usr/bin/nawk' }, choices: [{ path: '/usr/bin/mawk', priority: 5, slaves: { nawk: '/usr/bin/mawk' } }] },
  { name: 'editor', link: '/usr/bin/editor', choices: [{ path: '/bin/nano', priority: 40 }, { path: '/usr/bin/vim.tiny', priority: 15 }] },
  { name: 'pager', link: '/usr/bin/pager', choices: [{ path: '/usr/bin/less', priority: 77 }, { path: '/bin/more', priority: 50 }] },
  { name: 'pico', link: '/usr/bin/pico', choices: [{ path: '/bin/nano', priority: 10 }] },
  { name: 'rmt', link: '/usr/sbin/rmt', choices: [{ path: '/usr/sbin/rmt-tar', priority: 50 }] },
  ...['ex', 'rview', 'vi', 'view'].map((name) => ({ name, link: `/usr/bin/${name}`, choices: [{ path: '/usr/bin/vim.tiny', priority: 15 }] })),
  { name: 'which', link: '/usr/bin/which', choices: [{ path: '/usr/bin/which.debianutils', priority: 0 }] },
];

/** The links, and update-alternatives' own record: mode, link, slaves, empty line, then each choice with its slaves, empty line. */
function updateAlternatives(tree: Tree, { name, link, choices, slaves = {} }: Alternative): void {
  const there = choices.filter(({ path }) => tree.lookup(path) !== null);
  if (there.length === 0) return;
  tree.symlink(link, `/etc/alternatives/${name}`);
  tree.symlink(`etc/alternatives/${name}`, there[0].path);
  for (const [slave, slaveLink] of Object.entries(slaves)) {
    tree.symlink(slaveLink, `/etc/alternatives/${slave}`);
    tree.symlink(`etc/alternatives/${slave}`, there[0].slaves![slave]);
  }
  const head = ['auto', link, ...Object.entries(slaves).flat(), ''];
  const body = there.flatMap(({ path, priority, slaves: own = {} }) => [path, String(priority), ...Object.keys(slaves).map((slave) => own[slave] ?? '')]);
  tree.write(`${DPKG}/alternatives/${name}`, `${[...head, ...body, ''].join('\n')}\n`);
}

function dpkgDatabase(tree: Tree, debs: Map<string, Deb>): void {
  const status: string[] = [];
  const fileTriggers: string[] = [];
  const namedTriggers = new Map<string, string[]>();
  for (const [name, deb] of debs) {
    const control = decoder.decode(deb.control.get('control')).trimEnd();
    const [stanza] = parseStanzas(control);
    const id = stanza.get('multi-arch') === 'same' ? `${name}:${stanza.get('architecture')}` : name;
    const info = `${DPKG}/info/${id}`;
    tree.write(`${info}.list`, `${deb.entries.map(({ path }) => (path === '' ? '/.' : `/${path}`)).join('\n')}\n`);
    for (const file of KEPT_INFO) {
      const data = deb.control.get(file);
      if (data !== undefined) tree.write(`${info}.${file}`, data, /^(config|pre|post)/.test(file) ? 0o755 : 0o644);
    }
    const conffiles = decoder.decode(deb.control.get('conffiles') ?? new Uint8Array(0)).split('\n').map((line) => line.trim()).filter((line) => line.startsWith('/'));
    const sums = conffiles.map((path) => ` ${path} ${md5(tree.lookup(path)?.data ?? new Uint8Array(0))}`);
    const lines = control.replace(/^(Package: .*)$/m, '$1\nStatus: install ok installed');
    status.push(`${lines}${sums.length > 0 ? `\nConffiles:\n${sums.join('\n')}` : ''}\n`);
    for (const line of decoder.decode(deb.control.get('triggers') ?? new Uint8Array(0)).split('\n')) {
      const [verb, what] = line.trim().split(/\s+/);
      if (!verb.startsWith('interest') || what === undefined) continue;
      const interested = `${id}${verb === 'interest-noawait' ? '/noawait' : ''}`;
      if (what.startsWith('/')) fileTriggers.push(`${what} ${interested}`);
      else namedTriggers.set(what, [...(namedTriggers.get(what) ?? []), interested]);
    }
  }
  tree.write(`${DPKG}/status`, status.join('\n'));
  tree.write(`${DPKG}/info/format`, '1\n');
  for (const file of ['available', 'diversions', 'lock', 'lock-frontend', 'statoverride', 'triggers/Lock', 'triggers/Unincorp']) tree.write(`${DPKG}/${file}`, '');
  tree.write(`${DPKG}/triggers/File`, fileTriggers.map((line) => `${line}\n`).join(''));
  for (const [name, interested] of namedTriggers) tree.write(`${DPKG}/triggers/${name}`, interested.map((line) => `${line}\n`).join(''));
  tree.mkdir(`${DPKG}/updates`);
  tree.mkdir(`${DPKG}/parts`);
  for (const dir of ['var/lib/apt/lists/partial', 'var/cache/apt/archives/partial', 'var/log/apt']) tree.mkdir(dir);
}

/** What apt and dpkg do otherwise than Debian's defaults. Measured, and compared with Debian's container images, in RATIONALE.md. */
const APT_CONFIGURATION = `// One user in one container: dropping to _apt would only cost time.
APT::Sandbox::User "root";
// The disk is memory: nothing to be safe from by fsync, and packages that were installed need not lie in it twice.
DPkg::Options { "--force-unsafe-io"; };
APT::Keep-Downloaded-Packages "false";
Acquire::Languages "none";
// A third more to download than xz, and half the time to unpack.
Acquire::CompressionTypes::Order { "gz"; };
APT::AutoRemove::SuggestsImportant "false";
`;

/** As in Debian's container images: no init is there to look after a service, so installing one does not start it. */
const POLICY_RC_D = '#!/bin/sh\n\n# Installing a package starts no service here. Remove this file to have it otherwise.\nexit 101\n';

const DEBCONF_HOOK = 'etc/apt/apt.conf.d/70debconf';

function aptConfiguration(tree: Tree, options: DebianOptions): void {
  tree.write('etc/apt/apt.conf.d/90portside', APT_CONFIGURATION);
  // debconf's hook asks all questions before anything is unpacked, and opens apt's cache once more for it. dpkg takes a conffile that is gone for
  // the administrator's wish, and doesn't bring it back; packages ask when they are configured.
  if (tree.lookup(DEBCONF_HOOK) !== null) tree.remove(DEBCONF_HOOK);
  tree.write('usr/sbin/policy-rc.d', POLICY_RC_D, 0o755);
  tree.write('etc/dpkg/dpkg.cfg.d/portside', [
    ...['doc', 'man', 'info', 'locale', 'lintian', 'linda'].map((dir) => `path-exclude=/usr/share/${dir}/*`), 'path-include=/usr/share/doc/*/copyright', '',
  ].join('\n'));
  if (options.mirror === null) return;
  tree.write('etc/apt/sources.list.d/debian.sources', [
    'Types: deb', `URIs: ${options.mirror}`, `Suites: ${options.suite}`, 'Components: main', 'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg', '',
  ].join('\n'));
}

function copy(tree: Tree, from: string, to: string): void {
  const inode = tree.lookup(from);
  if (inode === null) throw new ImageBuildError(`the packages have no ${from}`);
  if (tree.lookup(to) === null) tree.put(to, makeInode('file', 0o644, { mtime: inode.mtime, data: inode.data }));
}

function md5(data: Uint8Array): string {
  return createHash('md5').update(data).digest('hex');
}
