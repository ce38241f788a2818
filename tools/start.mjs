#!/usr/bin/env node
/*
 * `npm start`: installs, builds what is missing, then serves. Plain JavaScript, as it runs before anything is installed.
 * With --dev it starts vite's dev server with the relay behind it. All other arguments go to `portside serve`.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const NODE_FLOOR = [20, 19];

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor < NODE_FLOOR[1])) {
  console.error(`Portside needs Node ${NODE_FLOOR.join('.')} or newer; this is ${process.version}.`);
  process.exit(1);
}

/** Runs `npm ci` unless what is installed comes from this very package-lock.json. */
export async function ensureInstalled() {
  const lock = createHash('sha256').update(readFileSync(join(ROOT, 'package-lock.json'))).digest('hex');
  const stamp = join(ROOT, 'node_modules/.portside-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  const started = Date.now();
  console.log('[1/4] Installing packages (npm ci) …');
  await new Promise((resolve, reject) => {
    const child = spawn('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`npm ci ended with status ${code}; see its output above`))));
  });
  mkdirSync(join(ROOT, 'node_modules'), { recursive: true });
  writeFileSync(stamp, lock);
  console.log(`[1/4] Packages installed in ${((Date.now() - started) / 1000).toFixed(0)} s`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await ensureInstalled();
    const { register } = await import('tsx/esm/api');
    register();
    const argv = process.argv.slice(2);
    const dev = argv.includes('--dev');
    const rest = argv.filter((arg) => arg !== '--dev');
    if (!rest.some((arg) => arg === '--help' || arg === '-h')) {
      const { build } = await import('./build.ts');
      await build({ page: !dev });
    }
    if (dev) {
      const { dev: startDev } = await import('./dev.ts');
      await startDev(rest);
    } else {
      process.argv.splice(2, process.argv.length, 'serve', ...rest);
      await import('../bin/portside.mjs');
    }
  } catch (error) {
    console.error(`npm start: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
}
