/* What a root needs before it becomes a disk: folders and files that engines make, wherever the image's links lead to; users and programs found by them. */
import { describe, expect, test } from 'vitest';
import { writeErofs } from '../erofs.ts';
import { ImageBuildError } from '../image-error.ts';
import { Tree } from '../tree.ts';
import { elfFor, tarOf, type TarMember } from './fixture.ts';
import { findIdentity, PLAIN_CONFIG, type ImageConfig } from './image-config.ts';
import { applyLayer } from './layers.ts';
import { checkPrograms } from './programs.ts';
import { prepareRoot, refuseUnbootable } from './root.ts';

function rootOf(members: TarMember[]): Tree {
  const tree = new Tree(0);
  applyLayer(tree, tarOf(members), { entries: 1000, bytes: 1e6 });
  return tree;
}

function prepared(members: TarMember[], config: Partial<ImageConfig> = {}): Tree {
  const tree = rootOf(members);
  prepareRoot(tree, { ...PLAIN_CONFIG, ...config });
  expect(writeErofs(tree, { epoch: 0 }).length % 4096).toBe(0);
  return tree;
}

const paths = (tree: Tree): string[] => [...tree.walk()].map(({ path, inode }) => (inode.kind === 'symlink' ? `${path} -> ${Buffer.from(inode.data)}` : path)).slice(1);
const PASSWD: TarMember = { path: 'writable/etc/passwd', data: 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n' };
const LINKS = ['writable/etc', '/writable/etc', '../../writable/etc', './writable/../writable//etc', '/chain', 'chain'];
const FOLDERS = ['proc', 'sys', 'dev', 'run', 'etc', 'tmp'];

describe('links of an image are followed inside its root', () => {
  test.each(LINKS)('/etc -> %s keeps passwd, configuration and the link, and gets what the agent writes', (link) => {
    const tree = prepared([PASSWD, { path: 'writable/etc/app.conf', data: 'x=1' }, { path: 'chain', type: '2', link: 'writable/../again' }, { path: 'again', type: '2', link: '/writable/etc' }, { path: 'etc', type: '2', link }]);
    expect(tree.lookup('etc', false)).toMatchObject({ kind: 'symlink', data: Buffer.from(link) });
    expect([tree.readText('etc/app.conf'), tree.readText('writable/etc/hosts'), tree.readText('etc/resolv.conf'), tree.readText('etc/hostname')]).toEqual(['x=1', '', '', '']);
    expect(findIdentity(tree, 'app')).toMatchObject({ uid: 1000, gid: 1001, home: '/home/app' });
  });

  test.each(FOLDERS)('/%s -> what is there, relative and absolute: nothing of it is replaced', (name) => {
    for (const link of [`var/${name}`, `/var/${name}`, `../../var/${name}`]) {
      const tree = prepared([{ path: `var/${name}/mine`, data: 'm' }, { path: name, type: '2', link }]);
      expect([tree.readText(`${name}/mine`), tree.lookup(name, false)?.kind]).toEqual(['m', 'symlink']);
    }
  });

  test.each(FOLDERS)('/%s -> nothing: the target is made, inside', (name) => {
    for (const [link, target] of [['not/there', 'not/there'], ['/not/there', 'not/there'], ['../../../not/there/', 'not/there'], ['/..', ''], ['/.', '']]) {
      const tree = prepared([{ path: 'x' }, { path: name, type: '2', link }]);
      expect([link, tree.lookup(name, false)?.kind, tree.lookup(name) === tree.lookup(target)]).toEqual([link, 'symlink', true]);
      if (target !== '') expect(tree.lookup(target)).toMatchObject({ kind: 'directory', mode: name === 'tmp' ? 0o1777 : 0o755 });
    }
  });

  test.each(FOLDERS)('/%s in a loop, to a file, or a file: a folder takes its place', (name) => {
    for (const members of [[{ path: name, type: '2', link: name }], [{ path: name, type: '2', link: 'b' }, { path: 'b', type: '2', link: `/${name}` }], [{ path: 'file', data: 'f' }, { path: name, type: '2', link: 'file/x' }], ...(name === 'tmp' ? [] : [[{ path: name, data: 'f' }]])]) {
      const tree = prepared(members);
      expect(tree.lookup(name, false)?.kind, JSON.stringify(members)).toBe('directory');
      if (members.length === 2 && members[0].path === 'file') expect(tree.readText('file')).toBe('f');
    }
  });

  test('/etc/resolv.conf of systemd is written where it leads to; below /proc, /sys and /dev, in loops and at folders a file takes its place', () => {
    for (const [link, at] of [['../run/systemd/resolve/stub-resolv.conf', 'run/systemd/resolve/stub-resolv.conf'], ['/run/resolv.conf', 'run/resolv.conf'], ['../../../../x', 'x']]) {
      const tree = prepared([{ path: 'etc/resolv.conf', type: '2', link }]);
      expect([tree.lookup(at, false)?.kind, tree.lookup('etc/resolv.conf', false)?.kind], link).toEqual(['file', 'symlink']);
    }
    for (const link of ['/proc/net/pnp', '/dev/null', '/sys/x', 'resolv.conf', '/run', 'hosts/x', '']) {
      const tree = prepared([{ path: 'etc/hosts', data: 'mine' }, ...(link === '' ? [] : [{ path: 'etc/resolv.conf', type: '2', link }])]);
      expect([link, tree.lookup('etc/resolv.conf', false)?.kind, tree.lookup('run', false)?.kind, tree.readText('etc/hosts')]).toEqual([link, 'file', 'directory', 'mine']);
    }
  });

  test('working directory and volumes go through links, as well; a file there is refused by name', () => {
    const tree = prepared([{ path: 'var/run', type: '2', link: '/run' }, { path: 'srv', type: '2', link: 'gone/away' }], { workdir: '/srv/app', volumes: ['/var/run/db', '/srv'] });
    expect(paths(tree)).toEqual(expect.arrayContaining(['gone', 'gone/away', 'gone/away/app', 'run/db', 'srv -> gone/away', 'var/run -> /run']));
    expect(() => prepared([{ path: 'data' }], { volumes: ['/data'] })).toThrow(/the image's configuration has "\/data" as a folder, and its root as a file/);
    expect(() => prepared([{ path: 'x' }], { workdir: '/../x' })).toThrow(ImageBuildError);
  });
});

test('which processor programs are for is told by the program itself: in the working directory, and through links', () => {
  const config = { ...PLAIN_CONFIG, cmd: ['./app'], workdir: '/srv' };
  for (const [machine, isRight] of [[243, true], [62, false]] as const) {
    for (const members of [[{ path: 'srv/app', data: elfFor(machine) }], [{ path: 'opt/app-1', data: elfFor(machine) }, { path: 'srv', type: '2', link: '/opt' }, { path: 'opt/app', type: '2', link: '../../opt/app-1' }]]) {
      const check = (): void => checkPrograms(rootOf([{ path: 'bin/sh', data: elfFor(243) }, ...members]), config, 'x');
      if (isRight) check();
      else expect(check).toThrow(/x is made for linux\/amd64/);
    }
  }
});

test('a tar without anything to run is no root; an image with a configuration may be', () => {
  const tree = rootOf([{ path: 'project-1.0/README', data: 'read me' }, { path: 'project-1.0/main.c', data: 'int main;' }]);
  expect(() => refuseUnbootable(tree, PLAIN_CONFIG, 'project.tar')).toThrow(/project\.tar has no program in it: convert takes container images, and tars of a root/);
  refuseUnbootable(tree, { ...PLAIN_CONFIG }, 'image');
  for (const data of [elfFor(243), '#!/bin/sh\n']) refuseUnbootable(rootOf([{ path: 'hello', data, mode: 0o755 }]), PLAIN_CONFIG, 'x');
  expect(() => refuseUnbootable(new Tree(0), { ...PLAIN_CONFIG }, 'x')).toThrow(/x is empty/);
});
