/*
 * Folders for a guest that lies: the same tree as a folder of this computer (twice: by descriptors, and by real paths) and in memory, with things
 * beside it that nobody may reach, and links that lead there.
 */
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import type { Share } from '../../shared/wasi/share.ts';
import { NodeShare } from '../../relay/run/node-share.ts';
import { check } from './target.ts';

const PREFIX = `portside-fuzz-${process.pid}-${threadId}-`;

/** what the files beside the folder hold: it is seen nowhere */
export const CANARY = 'CANARY-d41d8cd9';
export const MEMORY_CAPACITY = 1 << 20;

/** files get the modes that those in memory have: else folders are not compared */
export const COMPARES = process.umask() === 0o022;

/** a file system in memory, where there is one: thousands of trees are made and removed */
const BASE = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

const FILES: [path: string, text: string][] = [['file', 'a file\n'], ['dir/file', 'inside\n'], ['dir/deep/long', 'x'.repeat(5000)]];
const DIRECTORIES = ['dir', 'dir/deep', 'empty'];
const LINKS: [path: string, target: string][] = [['in', 'dir'], ['out', '..'], ['to', '../beside'], ['dir/up', '../../outside'], ['loop', 'loop'], ['winding', 'dir/../in/deep'], ['absolute', '/etc']];

/** A folder of this computer with things beside it. */
export class FolderWorld {
  readonly share: NodeShare;
  readonly #base: string;
  readonly #beside: string;

  constructor(pinned: boolean) {
    this.#base = mkdtempSync(join(BASE, PREFIX));
    const root = join(this.#base, 'root');
    mkdirSync(root);
    mkdirSync(join(this.#base, 'outside'));
    for (const name of ['beside', 'outside/file']) writeFileSync(join(this.#base, name), CANARY, { mode: 0o640 });
    for (const path of DIRECTORIES) mkdirSync(join(root, path));
    for (const [path, text] of FILES) writeFileSync(join(root, path), text, { mode: 0o644 });
    for (const [path, target] of LINKS) symlinkSync(target, join(root, path));
    this.#beside = this.#look();
    this.share = new NodeShare(root, pinned);
  }

  /** Throws when anything beside the folder is not as it was; then all is gone. */
  end(): void {
    try {
      this.share.close();
      const now = this.#look();
      check(now === this.#beside, () => `beside the folder there is\n${now}\nand not\n${this.#beside}`);
    } finally {
      rmSync(this.#base, { recursive: true, force: true });
    }
  }

  /** All that is beside the folder, with what a touch would change. */
  #look(): string {
    const lines: string[] = [];
    const walk = (path: string): void => {
      for (const name of readdirSync(path).toSorted()) {
        const below = join(path, name);
        const stat = lstatSync(below, { bigint: true });
        // Its own times and links are its own affair.
        if (below === join(this.#base, 'root')) lines.push(`root ${stat.ino}`);
        else lines.push(`${below} ${stat.ino} ${stat.mode} ${stat.nlink} ${stat.uid} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs} ${stat.isFile() ? readFileSync(below, 'utf8') : stat.isSymbolicLink() ? readlinkSync(below) : ''}`);
        if (stat.isDirectory() && below !== join(this.#base, 'root')) walk(below);
      }
    };
    walk(this.#base);
    return lines.join('\n');
  }
}

/** The same tree in memory. */
export function memoryWorld(): MemoryShare {
  const share = new MemoryShare(MEMORY_CAPACITY);
  fill(share);
  return share;
}

function fill(share: Share): void {
  for (const path of DIRECTORIES) share.makeDirectory(path);
  for (const [path, text] of FILES) {
    const file = share.open(path, false, { reads: false, writes: true, creates: true, exclusive: true, truncates: false, appends: false, directory: false });
    file.write(0, [new TextEncoder().encode(text)]);
    file.close();
  }
  for (const [path, target] of LINKS) share.symlink(target, path);
}

/** How many descriptors this process has in this thread's worlds, those that are gone as well; 0 where that is not told. Other threads fuzz at the same time. */
export function openDescriptors(): number {
  if (!existsSync('/proc/self/fd')) return 0;
  return readdirSync('/proc/self/fd').filter((fd) => targetOf(fd).includes(`/${PREFIX}`)).length;
}

function targetOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // It was that of this very listing, or another thread's.
    return '';
  }
}
