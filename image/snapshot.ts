/*
 * Machine + boot files → image: wizer runs `wizer.initialize` of the machine, in which the guest boots on virtual time up to
 * its handshake, and writes the module anew with its memory as it is then. The `portside` section says what the image is.
 */
import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { ImageBuildError } from './image-error.ts';
import { addCustomSection } from './wasm-section.ts';

/** Custom section `portside` of an image (ARCHITECTURE.md, "An image"). */
export interface ImageSection {
  version: 1;
  name: string;
  title: string;
  net: 'qemu' | 'socket';
  resize: boolean;
  memoryMiB: number;
  disk?: { file: string; bytes: number; sha256: string };
}

/** Kept of the guest's boot messages, in characters: what to show when it did not reach its handshake. */
const MAX_BOOT_LOG = 4000;
/** Instructions end some time; a guest that hangs does not. */
const BOOT_TIMEOUT_MS = 300_000;

/** Boots `inDir` (kernel, initrd, config, disk) in `machine` and writes the image to `out`. `report` gets boot messages. */
export async function takeSnapshot(machine: string, inDir: string, out: string, section: ImageSection, report: (line: string) => void): Promise<void> {
  await runWizer(['--allow-wasi', '--mapdir', `/in::${inDir}`, '-f', 'wizer.initialize', '-o', out, machine], report);
  const module = await readFile(out);
  await writeFile(out, addCustomSection(module, 'portside', Buffer.from(JSON.stringify(section))));
}

async function runWizer(args: string[], report: (line: string) => void): Promise<void> {
  const wizer = await import('@bytecodealliance/wizer' as string).then((module: { default: string }) => module.default, (error: Error) => {
    throw new ImageBuildError(`images can't be built on this kind of machine (${process.platform} ${process.arch}): ${error.message.split('\n')[0]}`);
  });
  await new Promise<void>((resolve, reject) => {
    const child = spawn(wizer, args, { stdio: ['ignore', 'pipe', 'pipe'] });
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
    child.on('error', (error) => reject(new Error(`wizer does not run: ${error.message}`)));
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve();
      else reject(new Error(`the guest did not reach its handshake (wizer ended with ${signal ?? code}); it last said:\n${log.trim()}`));
    });
  });
}
