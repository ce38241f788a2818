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

/** Packages that only some layers may see; all others are free. */
const NODE_LAYERS = ['relay', 'relay/host', 'relay/run', 'machine', 'image'];
const SOCKET_MODULES = ['node:net', 'node:dgram', 'node:dns', 'node:dns/promises', 'node:tls'];

function sources(dir: string): string[] {
  return readdirSync(join(ROOT, dir), { withFileTypes: true }).flatMap((entry) => {
    const path = `${dir}/${entry.name}`;
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : sources(path);
    return /\.(ts|mts|mjs)$/.test(entry.name) ? [path] : [];
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

const files = PRODUCT.flatMap(sources);

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
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (file: string, way: string[]): void => {
    if (way.includes(file)) return void circles.push([...way.slice(way.indexOf(file)), file].join(' -> '));
    if (done.has(file)) return;
    for (const target of imports.get(file)!) walk(target, [...way, file]);
    done.add(file);
  };
  for (const file of page) walk(file, []);
  expect(circles).toEqual([]);
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
