/*
 * Machine + boot files → image: wizer runs `wizer.initialize` of the machine, in which the guest boots on virtual time up to
 * its handshake, and writes the module anew with its memory as it is then. The `portside` section says what the image is.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageBuildError } from './image-error.ts';
import { SPARE_BYTES } from './memory.ts';
import { addCustomSection, endMemory } from './wasm-section.ts';

/** Custom section `portside` of an image (ARCHITECTURE.md, "An image"). */
export interface ImageSection {
  version: 1;
  /** SHA-256 of the snapshot and of its disk: a saved container is resumed on the same and on no other; takeSnapshot fills it in */
  id?: string;
  name: string;
  title: string;
  net: 'qemu' | 'socket';
  resize: boolean;
  ports: boolean;
  /** without a terminal the command's streams are pipes, and it gets signals */
  pipes: boolean;
  /** how many terminals the machine has */
  terminals: 4;
  memoryMiB: number;
  disk?: { file: string; bytes: number; sha256: string };
  /** of a converted image: what its configuration says and the machine has no use for */
  container?: { ports: string[]; volumes: string[]; labels: Record<string, string> };
}

/** Kept of the guest's boot messages, in characters: what to show when it did not reach its handshake. */
const MAX_BOOT_LOG = 4000;
/** Instructions end some time; a guest that hangs does not. */
const BOOT_TIMEOUT_MS = 300_000;

export interface SnapshotOptions {
  /** put the disk of `inDir` into the image; otherwise its configuration names the file that lies beside it at run time */
  embed?: boolean;
  signal?: AbortSignal;
}

/**
 * Boots `inDir` (kernel, initrd, config, disk) in `machine` and writes the image to `out`. `report` gets boot messages.
 * A disk to embed goes in afterwards, where the machine expects it: wizer would hold it in memory several times over.
 */
export async function takeSnapshot(machine: string, inDir: string, out: string, section: ImageSection, report: (line: string) => void, options: SnapshotOptions = {}): Promise<void> {
  await runWizer(['--allow-wasi', '--mapdir', `/in::${inDir}`, '-f', 'wizer.initialize', '-o', out, machine], report, options.signal);
  const snapshot = await readFile(out);
  section.id = createHash('sha256').update(snapshot).update(section.disk?.sha256 ?? '').digest('hex');
  const disk = options.embed ? await readFile(join(inDir, 'disk')) : null;
  if (disk !== null) section.id = createHash('sha256').update(section.id).update(disk).digest('hex');
  const module = addCustomSection(snapshot, 'portside', Buffer.from(JSON.stringify(section)));
  const parts = endMemory(module, SPARE_BYTES, disk);
  const file = await open(out, 'w');
  try {
    for (const part of parts) await file.writeFile(part);
  } finally {
    await file.close();
  }
}

async function runWizer(args: string[], report: (line: string) => void, abort?: AbortSignal): Promise<void> {
  const wizer = await import('@bytecodealliance/wizer' as string).then((module: { default: string }) => module.default, (error: Error) => {
    throw new ImageBuildError(`images can't be built on this kind of machine (${process.platform} ${process.arch}): ${error.message.split('\n')[0]}`);
  });
  await new Promise<void>((resolve, reject) => {
    const child = spawn(wizer, args, { stdio: ['ignore', 'pipe', 'pipe'], ...(abort === undefined ? {} : { signal: abort, killSignal: 'SIGKILL' as const }) });
    let log = '';
    const take = (chunk: Buffer): void => {
      const text = chunk.toString();
      log = (log + text).slice(-MAX_BOOT_LOG);
      const line = text.trimEnd().split('\n').pop();
      if (line) report(line.trim());
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    const timer = setTimeout(() => child.kill('SIGKILL'), BOOT_TIMEOUT_MS);
    child.on('error', (error) => reject(error.name === 'AbortError' ? error : new Error(`wizer does not run: ${error.message}`)));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve();
      else reject(new Error(`the guest did not reach its handshake (wizer ended with ${signal ?? code}); it last said:\n${log.trim()}`));
    });
  });
}
