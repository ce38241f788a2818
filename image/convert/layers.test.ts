/* Layers over layers, after the OCI image-spec; and archives that mean harm. */
import { describe, expect, test } from 'vitest';
import { writeErofs } from '../erofs.ts';
import { ImageBuildError } from '../image-error.ts';
import { Tree } from '../tree.ts';
import { tarOf, type TarMember } from './fixture.ts';
import { applyLayer } from './layers.ts';

function stack(...layers: TarMember[][]): Tree {
  const tree = new Tree(0);
  const budget = { entries: 1000, bytes: 1e6 };
  for (const layer of layers) applyLayer(tree, tarOf(layer), budget);
  return tree;
}

const names = (tree: Tree): string[] => [...tree.walk()].map(({ path }) => path).filter((path) => path !== '');
const dir = (path: string): TarMember => ({ path: `${path}/`, type: '5', mode: 0o755 });

describe('whiteouts', () => {
  test('a name, a whole folder, a name in a folder; what is not there is no matter', () => {
    const tree = stack(
      [{ path: 'a' }, { path: 'b' }, { path: 'd/x' }, { path: 'd/y' }, { path: 'e/z' }],
      [{ path: '.wh.a' }, { path: 'd/.wh.x' }, { path: '.wh.e' }, { path: 'no/where/.wh.q' }],
    );
    expect(names(tree)).toEqual(['b', 'd', 'd/y']);
  });

  test('an opaque folder shows only what its own layer has, wherever in the archive the mark stands', () => {
    for (const layer of [[{ path: 'd/new' }, { path: 'd/.wh..wh..opq' }], [{ path: 'd/.wh..wh..opq' }, { path: 'd/new' }]]) {
      expect(names(stack([{ path: 'd/old' }, { path: 'd/sub/deep' }, { path: 'k' }], layer))).toEqual(['d', 'd/new', 'k']);
    }
  });

  test('a whiteout is for the layers below: the same name in its own layer stays', () => {
    const tree = stack([{ path: 'a', data: 'old' }], [{ path: 'a', data: 'new' }, { path: '.wh.a' }]);
    expect(tree.readText('a')).toBe('new');
  });

  test('names of aufs are neither files nor whiteouts', () => {
    expect(names(stack([{ path: 'a' }, { path: '.wh..wh.aufs' }, { path: '.wh..wh.plnk/', type: '5' }]))).toEqual(['a']);
  });
});

describe('replacing', () => {
  test('a folder keeps its contents and takes new mode and owner; other kinds replace', () => {
    const tree = stack([{ path: 'd/f' }, { path: 'x/y' }, { path: 's', type: '2', link: 'd' }], [{ path: 'd/', type: '5', mode: 0o700, uid: 5 }, { path: 'x', data: 'file' }, dir('s'), { path: 's/own' }]);
    expect(names(tree)).toEqual(['d', 'd/f', 's', 's/own', 'x']);
    expect(tree.lookup('d')).toMatchObject({ mode: 0o700, uid: 5 });
  });

  test('a hard link of an upper layer to a file of a lower one is that file', () => {
    const tree = stack([{ path: 'a', data: 'a' }], [{ path: 'b', type: '1', link: 'a' }]);
    expect(tree.lookup('b')).toBe(tree.lookup('a'));
  });

  test('devices, owners, set-id bits', () => {
    const tree = stack([{ path: 'null', type: '3', major: 1, minor: 3, mode: 0o666 }, { path: 'su', mode: 0o4755, uid: 1000, gid: 1001 }]);
    expect(tree.lookup('null')).toMatchObject({ kind: 'char', major: 1, minor: 3 });
    expect(tree.lookup('su')).toMatchObject({ mode: 0o4755, uid: 1000, gid: 1001 });
  });
});

describe('hostile archives', () => {
  test('paths that climb, and hard links that do, are refused', () => {
    for (const member of [{ path: '../x' }, { path: 'a/../../x' }, { path: 'a', type: '1', link: '../etc/passwd' }, { path: '..', type: '5' }, { path: 'a', type: '1', link: 'none' }]) {
      expect(() => stack([member]), JSON.stringify(member)).toThrow(ImageBuildError);
    }
  });

  test('an absolute path, and symlinks that lead out, end inside the tree', () => {
    const tree = stack([{ path: '/etc/x', data: 'x' }, { path: 'up', type: '2', link: '../../..' }, { path: 'up/y' }, { path: 'abs', type: '2', link: '/etc' }, { path: 'abs/z' }]);
    expect(names(tree)).toEqual(['abs', 'etc', 'etc/x', 'etc/z', 'up', 'y']);
  });

  test('more entries than allowed are refused, across layers', () => {
    const tree = new Tree(0);
    const budget = { entries: 3, bytes: 1e6 };
    applyLayer(tree, tarOf([{ path: 'a' }, { path: 'b' }]), budget);
    expect(() => applyLayer(tree, tarOf([{ path: 'c' }, { path: 'd' }]), budget)).toThrow(/--max-entries/);
  });

  test('folders nested through symlinks beyond any path are refused before anything recurses', () => {
    const tree = new Tree(0);
    const deep = 'd/'.repeat(40).slice(0, -1);
    // Each round goes 40 folders below the end of the last one, which a symlink at the root names.
    const rounds = Array.from({ length: 100 }, (_, i) => [
      dir(i === 0 ? deep : `l${i - 1}/${deep}`), { path: `l${i}`, type: '2', link: i === 0 ? deep : `l${i - 1}/${deep}` },
    ]).flat();
    expect(() => applyLayer(tree, tarOf(rounds), { entries: 1e6, bytes: 1e9 })).toThrow(ImageBuildError);
  });

  test('a tree as deep as a path can be is written; a deeper one is refused', () => {
    const tree = new Tree(0);
    tree.mkdir('d/'.repeat(2000));
    expect(writeErofs(tree, { epoch: 0 }).length).toBeGreaterThan(4096);
    expect(() => tree.mkdir('e/'.repeat(5000))).toThrow(/too deep/);
  });

  test('an owner that no file system has is refused', () => {
    const archive = tarOf([{ path: 'a' }]);
    archive.set([0x80, 0, 0, 1, 0, 0, 0, 0], 108);
    archive.fill(0x20, 148, 156);
    archive.write(`${archive.subarray(0, 512).reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0`, 148);
    expect(() => applyLayer(new Tree(0), archive, { entries: 1, bytes: 1 })).toThrow(/owner/);
  });
});
