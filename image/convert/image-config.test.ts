/* Configurations as tools write them, and as nobody should; users and groups against a root. */
import { expect, test } from 'vitest';
import { ImageBuildError } from '../image-error.ts';
import { Tree } from '../tree.ts';
import { findIdentity, parseImageConfig, PLAIN_CONFIG, usableEnv } from './image-config.ts';
import { parsePlatform } from './oci.ts';
import { elfFor } from './fixture.ts';
import { checkPrograms } from './programs.ts';

const parse = (value: unknown): ReturnType<typeof parseImageConfig> => parseImageConfig(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));

test('every field that is honoured', () => {
  expect(parse({
    os: 'linux', architecture: 'riscv64', rootfs: { type: 'layers', diff_ids: ['sha256:x'] },
    config: { Entrypoint: ['/e'], Cmd: ['a b'], Env: ['A=1=2', 'B'], User: 'u:g', WorkingDir: 'srv', ExposedPorts: { '80/tcp': {} }, Volumes: { '/v': {} }, Labels: { k: 'v' } },
  })).toEqual({
    os: 'linux', architecture: 'riscv64', entrypoint: ['/e'], cmd: ['a b'], env: [['A', '1=2'], ['B', '']], user: 'u:g', workdir: '/srv', ports: ['80/tcp'], volumes: ['/v'], labels: { k: 'v' }, diffIds: ['sha256:x'],
  });
  expect(parse({ os: 'linux', architecture: 'riscv64', config: { Entrypoint: null, Cmd: null, Volumes: null } })).toMatchObject({ entrypoint: [], cmd: [], workdir: '/', diffIds: null });
  expect(parse({})).toMatchObject({ os: '', architecture: '', user: '' });
});

test('what is no configuration is refused', () => {
  for (const value of ['', '{', '[]', '"x"', 'null', { config: 1 }, { config: { Cmd: 'sh' } }, { config: { Cmd: [1] } }, { config: { Env: {} } }, { config: { User: ['x'] } }, { config: { Entrypoint: ['a\0b'] } }, { config: { Labels: { a: 1 } } }, { rootfs: [] }, { config: { Volumes: [] } }]) {
    expect(() => parse(value), JSON.stringify(value)).toThrow(ImageBuildError);
  }
  expect(() => parseImageConfig(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(/not JSON/);
});

test('variables that would change the agent are left out, the last of two counts', () => {
  expect(usableEnv([['A', '1'], ['PS1', '$ '], ['a.b', ''], ['IFS', 'x'], ['PS_NET', '1'], ['ps_root', '/'], ['image_cmd', 'reboot'], ['A', '2'], ['__proto__', 'p']])).toEqual({
    env: JSON.parse('{"A":"2","PS1":"$ ","__proto__":"p"}'), left: ['a.b', 'IFS', 'PS_NET', 'ps_root', 'image_cmd'],
  });
});

test('users and groups', () => {
  const tree = new Tree(0);
  tree.write('etc/passwd', 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nbad:x:oops:1::/:\n\n:\n');
  tree.write('etc/group', 'root:x:0:\napp:x:1001:\nextra:x:2000:x,app\nmore:x:2001:app\nother:x:3:xapp\n');
  expect(findIdentity(tree, '')).toEqual({ uid: 0, gid: 0, groups: [], home: '/root' });
  expect(findIdentity(tree, 'app')).toEqual({ uid: 1000, gid: 1001, groups: [2000, 2001], home: '/home/app' });
  expect(findIdentity(tree, '1000')).toEqual({ uid: 1000, gid: 1001, groups: [2000, 2001], home: '/home/app' });
  expect(findIdentity(tree, 'app:extra')).toEqual({ uid: 1000, gid: 2000, groups: [], home: '/home/app' });
  expect(findIdentity(tree, '77:88')).toEqual({ uid: 77, gid: 88, groups: [], home: null });
  expect(findIdentity(tree, '77')).toEqual({ uid: 77, gid: 0, groups: [], home: null });
  for (const spec of ['nobody', 'app:none', 'bad', '99999999999', '4294967295']) expect(() => findIdentity(tree, spec), spec).toThrow(ImageBuildError);
  expect(findIdentity(new Tree(0), '5:6')).toMatchObject({ uid: 5, gid: 6 });
});

test('platforms', () => {
  expect(parsePlatform('linux/arm/v7')).toEqual({ os: 'linux', architecture: 'arm', variant: 'v7' });
  for (const text of ['', 'linux', 'linux/', '/x', 'a/b/c/d', 'Linux/AMD64']) expect(parsePlatform(text), text).toBeNull();
});

test('a root of programs for another processor is refused with its name', () => {
  const tree = new Tree(0);
  tree.write('usr/bin/tool', elfFor(62), 0o755);
  tree.write('bin/sh', elfFor(243), 0o755);
  expect(() => checkPrograms(tree, PLAIN_CONFIG, 'x')).not.toThrow();
  expect(() => checkPrograms(tree, { ...PLAIN_CONFIG, cmd: ['tool'] }, 'x')).toThrow(/x is made for linux\/amd64, .*--platform linux\/riscv64$/);
  expect(() => checkPrograms(tree, { ...PLAIN_CONFIG, cmd: ['/script'] }, 'x')).not.toThrow();
});
