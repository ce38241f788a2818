/* The initramfs of an image: busybox, the guest agent, kernel modules and the image's defaults. `busybox` has its container's root in it, too. */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ImageBuildError } from './image-error.ts';
import type { Deb } from './deb.ts';
import { buildClock, buildEnter, type Identity } from './enter.ts';
import { makeInode, Tree } from './tree.ts';

/** What an image runs when it is told nothing else. */
export interface ImageDefaults {
  /** also the default hostname */
  name: string;
  entrypoint: string[];
  cmd: string[];
  env: Record<string, string>;
  /** where the command starts, absolute */
  workdir: string;
  identity: Identity;
  /** line above the first prompt, '' for none */
  greeting: string;
  /** shell command that is run once in the container before the snapshot, so that what it reads is in memory */
  warm: string;
}

/** Builds the tree. `modules` are stripped modules in the order to load them. */
export async function buildInitramfs(busybox: Deb, modules: Map<string, Uint8Array>, defaults: ImageDefaults, epoch: number): Promise<Tree> {
  const binary = busybox.entries.find(({ path }) => path === 'usr/bin/busybox' || path === 'bin/busybox');
  if (binary === undefined) throw new ImageBuildError('the busybox package has no busybox');
  const tree = new Tree(epoch);
  for (const dir of ['bin', 'etc/portside/modules', 'dev', 'proc', 'sys', 'root']) tree.mkdir(dir);
  tree.write('bin/busybox', binary.data, 0o755);
  // Before virtio_mmio is loaded there is no console; the kernel wants the node all the same.
  tree.put('dev/console', makeInode('char', 0o600, { major: 5, minor: 1, mtime: epoch }));
  tree.put('dev/null', makeInode('char', 0o666, { major: 1, minor: 3, mtime: epoch }));
  for (const [name, module] of modules) tree.write(`etc/portside/modules/${name}.ko`, module);
  tree.write('etc/portside/modules/order', [...modules.keys()].map((name) => `${name}\n`).join(''));
  tree.write('etc/portside/image.conf', configLines(defaults));
  tree.write('init', await guestFile('init'), 0o755);
  for (const name of ['dhcp', 'container', 'trust']) tree.write(`etc/portside/${name}`, await guestFile(name), 0o755);
  tree.write('etc/portside/enter', await buildEnter(defaults.workdir, defaults.identity), 0o755);
  tree.write('etc/portside/clock', await buildClock(), 0o755);
  return tree;
}

/** The container's root for an image without a disk: busybox (the agent's own file, by a second name), users, names, a page for the web server. */
export function addBusyboxRoot(tree: Tree): void {
  for (const dir of ['bin', 'sbin', 'usr/bin', 'usr/sbin', 'dev', 'proc', 'sys', 'run', 'var']) tree.mkdir(`root/${dir}`);
  tree.mkdir('root/root', 0o700);
  tree.mkdir('root/tmp', 0o1777);
  tree.put('root/bin/busybox', tree.lookup('bin/busybox')!);
  tree.write('root/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n');
  tree.write('root/etc/group', 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n');
  tree.write('root/etc/shadow', 'root:*:20000:0:99999:7:::\n', 0o600);
  tree.write('root/etc/os-release', 'NAME="BusyBox"\nID=busybox\nPRETTY_NAME="BusyBox on Portside"\n');
  tree.write('root/etc/profile', "export PS1='\\h:\\w\\$ '\nalias ll='ls -l'\n");
  tree.write('root/var/www/index.html', '<!doctype html><title>Portside</title><h1>It works!</h1>\n');
}

function guestFile(name: string): Promise<Uint8Array> {
  return readFile(fileURLToPath(new URL(`guest/${name}`, import.meta.url)));
}

/** Read by guest/init with the shell's `.`. */
export function configLines(defaults: ImageDefaults): string {
  const lines = [
    `image_name=${quote(defaults.name)}`,
    // Evaluated: each word is quoted, then the list.
    `image_entrypoint=${quote(defaults.entrypoint.map(quote).join(' '))}`,
    `image_cmd=${quote(defaults.cmd.map(quote).join(' '))}`,
    // Whom shared directories belong to.
    `image_owner=${defaults.identity.uid}:${defaults.identity.gid}`,
    `image_greeting=${quote(defaults.greeting)}`,
    `image_warm=${quote(defaults.warm)}`,
    ...Object.entries(defaults.env).map(([name, value]) => {
      if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new ImageBuildError(`${JSON.stringify(name)} can't be the name of an environment variable`);
      return `export ${name}=${quote(value)}`;
    }),
  ];
  return `${lines.join('\n')}\n`;
}

/** One word of POSIX shell. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
