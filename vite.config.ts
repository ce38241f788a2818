import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';

/** What the page needs to have SharedArrayBuffer; the relay sends the same. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'same-origin' };

const ROOT = fileURLToPath(new URL('web', import.meta.url));
const OUT = fileURLToPath(new URL('dist/web', import.meta.url));
/** a smaller one fits its packet as it is */
const COMPRESS_MIN_BYTES = 1000;
const SERVICE_WORKER = 'service-worker';

/** files.json: what the service worker keeps for a visit without the server. */
const listFiles: Plugin = {
  name: 'portside-files',
  apply: 'build',
  closeBundle() {
    const names = readdirSync(OUT, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`.slice(OUT.length + 1))
      .filter((name) => !/\.(map|br|gz)$/.test(name) && name !== `${SERVICE_WORKER}.js` && name !== 'index.html' && name !== 'files.json');
    writeFileSync(`${OUT}/files.json`, JSON.stringify(names.toSorted()));
  },
};

/** NAME.br and NAME.gz beside each text: servers that can, ours too, send these. */
const compressFiles: Plugin = {
  name: 'portside-compress',
  apply: 'build',
  closeBundle() {
    for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.(css|html|js|json|svg)$/.test(entry.name)) continue;
      const path = `${entry.parentPath}/${entry.name}`;
      const bytes = readFileSync(path);
      if (bytes.length < COMPRESS_MIN_BYTES) continue;
      writeFileSync(`${path}.br`, brotliCompressSync(bytes));
      writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
    }
  },
};

const relay = process.env['PORTSIDE_RELAY'] ?? 'http://localhost:8081';

export default defineConfig({
  root: ROOT,
  // Relative: the built page works below any path.
  base: './',
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: 'esnext',
    cssTarget: 'esnext',
    // Every browser that can run a container knows modulepreload.
    modulePreload: { polyfill: false },
    sourcemap: true,
    rollupOptions: {
      input: {
        index: `${ROOT}/index.html`,
        embed: `${ROOT}/embed.html`,
        portside: `${ROOT}/embed/portside.ts`,
      },
      // portside.js is imported by others: of one name, and with its exports.
      preserveEntrySignatures: 'exports-only',
      output: { entryFileNames: ({ name }) => (name === 'portside' ? 'portside.js' : 'assets/[name]-[hash].js') },
    },
    // The strict CSP of the relay knows no data: URLs.
    assetsInlineLimit: 0,
  },
  plugins: [listFiles, compressFiles],
  define: { PORTSIDE_VERSION: JSON.stringify((JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8')) as { version: string }).version) },
  worker: {
    format: 'es',
    rollupOptions: {
      output: {
        // At the root and always of one name: its scope is the folder that it lies in.
        entryFileNames: ({ facadeModuleId }) => (facadeModuleId?.includes('/web/service/') ? `${SERVICE_WORKER}.js` : 'assets/[name]-[hash].js'),
      },
    },
  },
  server: {
    headers: ISOLATION,
    proxy: {
      '^/api/': relay,
      '^/images/': relay,
      // Exactly: /link/link.ts is a source file.
      '^/link($|\\?)': { target: relay, ws: true },
      '^/wsproxy($|\\?)': { target: relay, ws: true },
    },
  },
  preview: { headers: ISOLATION },
});
