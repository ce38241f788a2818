/* Builds what is missing: machine and images (image/build.ts), then the page (vite). Keyed by content; shows its steps. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildImages, ImageBuildError } from '../image/build.ts';
import { buildMachine } from '../machine/build.ts';
import { contentKey } from './content-key.ts';
import { Progress } from './progress.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const IMAGES = ['busybox', 'debian'];
const PAGE_SOURCES = ['web', 'shared', 'vite.config.ts', 'package.json', 'package-lock.json'];

/** Builds machine, images and (unless `page` is false) the page. Without packages it says what is missing and goes on. */
export async function build(options: { page?: boolean; images?: string[] } = {}): Promise<void> {
  const progress = new Progress();
  progress.begin('[2/4] Machine');
  const machine = await buildMachine((text) => progress.update(text));
  progress.end(`ready, ${machine.hash.slice(0, 12)}`);

  progress.begin('[3/4] Images');
  try {
    const built = await buildImages(options.images ?? IMAGES, (event) => progress.update(`${event.step}: ${event.text}`, event.done, event.total));
    progress.end(`${built.map((image) => image.name).join(', ')} ready`);
  } catch (error) {
    if (!(error instanceof ImageBuildError)) throw error;
    progress.end('not built');
    console.log(`\n${error.message}\n`);
  }

  if (options.page !== false) await buildPage(progress);
}

async function buildPage(progress: Progress): Promise<void> {
  progress.begin('[4/4] Page');
  const key = contentKey(ROOT, PAGE_SOURCES);
  const stamp = join(ROOT, '.cache/page.key');
  const index = join(ROOT, 'dist/web/index.html');
  if (readIfThere(stamp) === key && readIfThere(index) !== null) return progress.end('ready');
  const vite = await import('vite');
  await vite.build({ root: join(ROOT, 'web'), configFile: join(ROOT, 'vite.config.ts'), logLevel: 'warn' });
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  writeFileSync(stamp, key);
  progress.end('built');
}

function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = process.argv.slice(2);
  await build(names.length > 0 ? { images: names } : {});
}
