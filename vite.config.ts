import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

/** What the page needs to have SharedArrayBuffer; the relay sends the same. */
const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp', 'Cross-Origin-Resource-Policy': 'same-origin' };

const relay = process.env['PORTSIDE_RELAY'] ?? 'http://localhost:8081';

export default defineConfig({
  root: fileURLToPath(new URL('web', import.meta.url)),
  // Relative: the built page works below any path.
  base: './',
  build: {
    outDir: fileURLToPath(new URL('dist/web', import.meta.url)),
    emptyOutDir: true,
    target: 'esnext',
    cssTarget: 'esnext',
    sourcemap: true,
    // The strict CSP of the relay knows no data: URLs.
    assetsInlineLimit: 0,
  },
  worker: { format: 'es' },
  server: {
    headers: ISOLATION,
    proxy: {
      '^/api/': relay,
      '^/images/': relay,
      // Exactly: /link/worker.ts is a source file.
      '^/link($|\\?)': { target: relay, ws: true },
    },
  },
  preview: { headers: ISOLATION },
});
