/*
 * The import table of ARCHITECTURE.md, as a test. The tsconfig of each layer refuses the same imports while compiling;
 * this one also sees tests, type-only imports and what a path alias could hide, and fails when it has seen no files.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PRODUCT = ['shared', 'relay', 'web', 'machine', 'image'];

/** The layer of a file is its longest prefix here; it may import from itself and from what is listed. */
const MAY_IMPORT: Record<string, string[]> = {
  'shared': [],
  'shared/net/wire': ['shared'],
  'shared/net/stack': ['shared', 'shared/net/wire'],
  'shared/net/nat': ['shared', 'shared/net/wire', 'shared/net/stack'],
  'shared/net/services': ['shared', 'shared/net/wire', 'shared/net/stack', 'shared/net/nat'],
  'relay': ['shared', 'shared/net/wire', 'shared/net/stack', 'shared/net/nat', 'shared/net/services'],
  'relay/host': ['shared', 'shared/net/wire', 'shared/net/stack', 'shared/net/nat', 'shared/net/services'],
  'relay/run': ['shared', 'shared/net/wire', 'shared/net/stack', 'shared/net/nat', 'shared/net/services', 'relay', 'relay/host'],
  'web': ['shared'],
  // Each other's: embed/ is made of parts of the page, which itself uses what embed/ offers to anybody. The test of circles draws the line.
  'web/page': ['shared', 'web', 'web/embed'],
  // own-thread.ts holds the link, too.
  'web/container': ['shared', 'web', 'web/link', 'web/files', 'web/store'],
  'web/link': ['shared', 'web', 'web/net'],
  'web/net': ['shared', 'shared/net/wire', 'shared/net/stack', 'shared/net/nat', 'shared/net/services', 'web'],
  'web/embed': ['shared', 'web', 'web/page'],
  'web/store': ['shared', 'web'],
  'web/files': ['shared', 'web'],
  'web/service': ['shared', 'web'],
  // On another origin than everything else.
  'web/frame': ['web'],
  'machine': [],
  'image': ['machine', 'shared'],
};

/**
 * What the C code of machine/ may include of each other, base.h aside. `floor` is the part of board/ that cpu/ and dev/ both stand on: so neither
 * knows the other.
 */
const MAY_INCLUDE: Record<string, string[]> = {
  'host': [],
  'floor': ['host'],
  'cpu': ['host', 'floor'],
  'dev': ['host', 'floor'],
  'guest': ['host', 'floor', 'dev'],
  'board': ['host', 'floor', 'cpu', 'dev', 'guest'],
};
const FLOOR = ['board/ram', 'board/bus', 'board/map', 'board/clock'];

/** Packages that only some layers may see; all others are free. */
const NODE_LAYERS = ['relay', 'relay/host', 'relay/run', 'machine', 'image'];
const SOCKET_MODULES = ['node:net', 'node:dgram', 'node:dns', 'node:dns/promises', 'node:tls'];

function sources(dir: string, wanted = /\.(ts|mts|mjs)$/): string[] {
  return readdirSync(join(ROOT, dir), { withFileTypes: true }).flatMap((entry) => {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : sources(path, wanted);
    return wanted.test(entry.name) ? [path] : [];
  });
}

function layerOf(path: string): string {
  const dir = dirname(path);
  const layers = Object.keys(MAY_IMPORT).filter((layer) => dir === layer || dir.startsWith(`${layer}/`));
  return layers.reduce((best, layer) => (layer.length > best.length ? layer : best), '');
}

function importsOf(path: string): string[] {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*['"]([^'"]+)['"]/g)].map((match) => match[1]);
}

/** Each way that comes back to where it began. */
function circlesOf(edges: ReadonlyMap<string, Iterable<string>>): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (node: string, way: string[]): void => {
    if (way.includes(node)) return void circles.push([...way.slice(way.indexOf(node)), node].join(' -> '));
    if (done.has(node)) return;
    for (const target of edges.get(node) ?? []) walk(target, [...way, node]);
    done.add(node);
  };
  for (const node of edges.keys()) walk(node, []);
  return circles;
}

/** A .c file and its .h; for what a host offers, both files that do it. */
function unitOf(path: string): string {
  return path.replace(/\.[ch]$/, '').replace(/^(host\/host(?:_files)?)_(?:wasi|posix)$/, '$1');
}

function machineLayerOf(path: string): string {
  return FLOOR.includes(unitOf(path)) ? 'floor' : path.split('/')[0]!;
}

const files = PRODUCT.flatMap((dir) => sources(dir));
/** path below machine/ → the paths that it includes */
const includes = new Map(sources('machine', /(?<!\.test)\.[ch]$/).map((path) => {
  const text = readFileSync(join(ROOT, path), 'utf8');
  return [path.slice('machine/'.length), [...text.matchAll(/^#include "([^"]+)"/gm)].map((match) => match[1]!)] as const;
}));

test('the table is checked against real files, every layer among them', () => {
  expect(files.length).toBeGreaterThan(60);
  const seen = new Set(files.map(layerOf));
  expect(Object.keys(MAY_IMPORT).filter((layer) => !seen.has(layer))).toEqual([]);
});

test('arrows point one way', () => {
  const wrong: string[] = [];
  for (const file of files) {
    const layer = layerOf(file);
    for (const spec of importsOf(file)) {
      // With ?url it is an address that is asked for, and no code.
      if (!spec.startsWith('.') || spec.endsWith('&url')) continue;
      const target = relative(ROOT, join(ROOT, dirname(file), spec));
      const to = layerOf(target);
      const inTest = file.endsWith('.test.ts');
      // main.ts and the commands are the composition root of relay/: they build what the layers below implement.
      const root = (layer === 'relay' && (to === 'relay/host' || to === 'relay/run')) || (['relay/cli/convert.ts', 'relay/cli/doctor.ts'].includes(file) && to === 'image')
        // The runner for development offers a device of the product's.
        || (file === 'machine/dev-run.mjs' && to === 'shared');
      if (to !== layer && !MAY_IMPORT[layer].includes(to) && !root && !inTest) wrong.push(`${file} -> ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('no module of the page comes back to itself by what it imports; types aside', () => {
  const page = files.filter((file) => /^web\/(page|embed)\//.test(file) && !file.endsWith('.test.ts'));
  const imports = new Map(page.map((file) => {
    const text = readFileSync(join(ROOT, file), 'utf8');
    const specs = [...text.matchAll(/^(?:import|export) (?!type\b)[^;]*?from '(\.[^'?]+)'/gm)].map((match) => relative(ROOT, join(ROOT, dirname(file), match[1])));
    return [file, specs.filter((target) => page.includes(target))] as const;
  }));
  expect(imports.get('web/page/main.ts')).toContain('web/embed/portside.ts');
  expect(circlesOf(imports)).toEqual([]);
});

test('only Node layers see node:*, and only relay/host opens sockets', () => {
  const wrong: string[] = [];
  for (const file of files.filter((path) => !/\.test\.ts$|fixtures?\//.test(path))) {
    const layer = layerOf(file);
    for (const spec of importsOf(file)) {
      if (!spec.startsWith('node:')) continue;
      if (!NODE_LAYERS.includes(layer)) wrong.push(`${file} -> ${spec}`);
      const opener = layer === 'relay/host' || ['relay/server.ts', 'relay/frame-server.ts', 'relay/listen.ts', 'relay/connect.ts'].includes(file);
      if (layer.startsWith('relay') && SOCKET_MODULES.includes(spec) && !opener) wrong.push(`${file} -> ${spec}`);
    }
  }
  expect(wrong).toEqual([]);
});

test('the machine: cpu knows no device, dev no hart, and all includes go down', () => {
  const wrong: string[] = [];
  for (const [file, targets] of includes) {
    for (const target of targets) {
      const from = machineLayerOf(file), to = machineLayerOf(target);
      // Includes name the path below machine/.
      if (!includes.has(target)) wrong.push(`${file} -> ${target}, which is not there`);
      else if (target !== 'base.h' && to !== from && !MAY_INCLUDE[from]?.includes(to)) wrong.push(`${file} -> ${target}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(new Set([...includes.keys()].filter((file) => file !== 'base.h').map(machineLayerOf))).toEqual(new Set(Object.keys(MAY_INCLUDE)));
  expect(FLOOR.filter((unit) => !includes.has(`${unit}.h`))).toEqual([]);
});

test('the machine: what a unit offers is in its own header, and no unit comes back to itself', () => {
  const units = new Map<string, Set<string>>();
  for (const [file, targets] of includes) {
    const unit = unitOf(file), uses = units.get(unit) ?? new Set();
    for (const target of targets) if (unitOf(target) !== unit) uses.add(unitOf(target));
    units.set(unit, uses);
  }
  expect(units.get('board/main')).toContain('cpu/hart');
  expect(units.get('host/host')).toContain('host/entries');
  const headless = [...includes].filter(([file, targets]) => file.endsWith('.c') && file !== 'board/main.c' && !targets.includes(`${unitOf(file)}.h`));
  expect(headless.map(([file]) => file)).toEqual([]);
  expect(circlesOf(units)).toEqual([]);
  // Headers are in units, so theirs are found as well; one that includes itself isn't.
  expect([...includes].filter(([file, targets]) => targets.includes(file)).map(([file]) => file)).toEqual([]);
});
