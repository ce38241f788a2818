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

/** An archive with one pax header, for what follows. */
const paxOf = (record: string): Buffer => tarOf([{ path: 'pax', type: 'x', data: `${record.length + 4} ${record}\n` }]);
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

describe('whiteouts and what their own layer brings', () => {
  test('a link that the layer replaces is not the way to what lies behind it', () => {
    const tree = stack([{ path: 'writable/etc/passwd', data: 'p' }, { path: 'etc', type: '2', link: 'writable/etc' }], [dir('etc'), { path: 'etc/.wh.passwd' }, { path: 'etc/.wh..wh..opq' }, { path: 'etc/new' }]);
    expect(names(tree)).toEqual(['etc', 'etc/new', 'writable', 'writable/etc', 'writable/etc/passwd']);
  });

  test('a folder of the layer\'s own, below its whiteout, keeps what is its own alone, in either order', () => {
    const lower = [{ path: 'd/old' }, { path: 'd/sub/old' }, { path: 'd/sub/both', data: 'old' }];
    const upper = [dir('d'), { path: 'd/new' }, { path: 'd/sub/both', data: 'new' }];
    for (const layer of [[{ path: '.wh.d' }, ...upper], [...upper, { path: '.wh.d' }]]) {
      const tree = stack(lower, layer);
      expect(names(tree)).toEqual(['d', 'd/new', 'd/sub', 'd/sub/both']);
      expect(tree.readText('d/sub/both')).toBe('new');
    }
  });

  test('a hard link to what the same layer takes away, before it does', () => {
    const tree = stack([{ path: 'a', data: 'kept' }], [{ path: 'b', type: '1', link: 'a' }, { path: '.wh.a' }]);
    expect([names(tree), tree.readText('b')]).toEqual([['b'], 'kept']);
  });

  test('overlayfs\' own: a device 0:0, an opaque folder; contents that are elsewhere are refused by name', () => {
    const opaque = Buffer.concat([paxOf('SCHILY.xattr.trusted.overlay.opaque=y').subarray(0, -1024), tarOf([dir('d'), { path: 'd/new' }, { path: 'gone', type: '3', major: 0, minor: 0 }])]);
    const tree = stack([{ path: 'd/old' }, { path: 'gone' }]);
    applyLayer(tree, opaque, { entries: 10, bytes: 1e6 });
    expect(names(tree)).toEqual(['d', 'd/new']);
    expect([...tree.lookup('d')!.xattrs.keys()]).toEqual([]);
    for (const record of ['trusted.overlay.redirect=/x', 'user.overlay.metacopy=']) {
      expect(() => applyLayer(new Tree(0), Buffer.concat([paxOf(`SCHILY.xattr.${record}`).subarray(0, -1024), tarOf([{ path: 'f' }])]), { entries: 10, bytes: 1e6 })).toThrow(/a layer has "f" from inside of an overlay.*: pack the mounted root/);
    }
  });

  test('aufs: its files are not there, hard links to them are', () => {
    const tree = stack([{ path: '.wh..wh.plnk/', type: '5' }, { path: '.wh..wh.plnk/12.3', data: 'x' }, { path: 'a', type: '1', link: '.wh..wh.plnk/12.3' }, { path: 'b', type: '1', link: '/.wh..wh.plnk/12.3' }, { path: '.wh..wh.orph', type: '5' }]);
    expect([names(tree), tree.readText('a'), tree.lookup('a') === tree.lookup('b')]).toEqual([['a', 'b'], 'x', true]);
    expect(() => stack([{ path: '.wh.d/x' }])).toThrow(/"\.wh\.d\/x" inside of a whiteout/);
  });

  test('estargz: its list and landmarks are not there, files of those names for other reasons are', () => {
    const toc = '{\n\t"version": 1,\n\t"entries": []\n}';
    expect(names(stack([{ path: 'a' }, { path: '.no.prefetch.landmark', data: '\x0f' }, { path: '.prefetch.landmark', data: '\x0f' }, { path: 'stargz.index.json', data: toc }]))).toEqual(['a']);
    expect(names(stack([{ path: '.prefetch.landmark', data: 'mine' }, { path: 'stargz.index.json', data: '{"mine": 1}' }, { path: 'd/stargz.index.json', data: toc }]))).toEqual(['.prefetch.landmark', 'd', 'd/stargz.index.json', 'stargz.index.json']);
    expect(names(stack([{ path: '.prefetch.landmark', data: 'lower' }], [{ path: 'stargz.index.json', data: toc }]))).toEqual(['.prefetch.landmark']);
  });
});

describe('links of lower layers', () => {
  const target = (link: string): string | null => stack([{ path: 'writable/etc/old', data: 'o' }, { path: 'deep/er/x' }, { path: 'etc', type: '2', link }], [{ path: 'etc/new', data: 'n' }]).readText('writable/etc/new');

  test('are the way for what upper ones write: relative, absolute, in chains, above the root', () => {
    for (const link of ['writable/etc', '/writable/etc', './/writable/../writable/etc/', '../../../writable/etc', '/../writable/etc']) expect(target(link), link).toBe('n');
    const tree = stack([{ path: 'etc', type: '2', link: '/a' }, { path: 'a', type: '2', link: 'b/c' }, { path: 'b/c', type: '2', link: '../writable' }], [{ path: 'etc/new' }, dir('etc/d'), { path: 'etc/d/x' }, { path: 'etc/.wh.none' }]);
    expect(names(tree)).toEqual(['a', 'b', 'b/c', 'etc', 'writable', 'writable/d', 'writable/d/x', 'writable/new']);
  });

  test('to nothing have their targets made; loops, and links to files, are refused with the entry\'s name', () => {
    expect(names(stack([{ path: 'etc', type: '2', link: '/not/there' }], [{ path: 'etc/new' }]))).toEqual(['etc', 'not', 'not/there', 'not/there/new']);
    for (const link of ['etc', 'other', 'file']) {
      expect(() => stack([{ path: 'file' }, { path: 'other', type: '2', link: 'etc' }, { path: 'etc', type: '2', link }], [{ path: 'etc/new' }]), link).toThrow(/"etc\/new" can't be: "etc" is not a directory/);
    }
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
    expect(() => applyLayer(new Tree(0), archive, { entries: 1, bytes: 1 })).toThrow(/a layer has "a" with the owner 4294967296:0, which Linux can't have/);
    expect(() => stack([{ path: 'dev/big', type: '3', major: 5000, minor: 1 }])).toThrow(/a layer has "dev\/big" as the device 5000:1/);
  });

  test('what is wrong with an entry is said with its name', () => {
    for (const [member, text] of [
      [{ path: 'odd', type: 'A' }, /its entry "odd" is of the unknown type "A": pack it again/], [{ path: 'l', type: '2' }, /its entry "l" is a symlink to nothing/],
      [{ path: 'f', type: '1', link: 'none' }, /a layer has "f" as a hard link to something that is not there \(yet\): "none"/], [{ path: 'f', type: '1', link: '.' }, /"f" as a hard link to a folder/],
      [{ path: 'later', type: 'M' }, /its entry "later" goes on from another volume/], [{ path: 'n'.repeat(99), data: 'x' }, /its entry "n+" is cut off/], [{ path: '\u009b2J\u007f', type: '1', link: 'x' }, /"\\u009b2J\\u007f"/],
    ] as const) {
      const archive = tarOf([member]);
      expect(() => applyLayer(new Tree(0), text.source.includes('cut off') ? archive.subarray(0, 512) : archive, { entries: 10, bytes: 1e6 })).toThrow(text);
    }
  });
});
