/*
 * The command line and the environment of an image: the flags that the host adds (ARCHITECTURE.md, "An image"), in
 * front of what the user gave.
 */
import type { ImageInfo } from './image-info.ts';
import { LISTEN_FD } from './imports.ts';

/** MAC of a guest that is alone on its network: the one that the network's DHCP gives .3 */
export const DEFAULT_MAC = '02:00:00:00:00:01';

/** c2w's images read environment, arguments and mounts through a buffer of so many bytes, and exit with 1 beyond */
const FOREIGN_LIMIT_BYTES = 1024;
/** what our images are given at most, in bytes */
const OUR_LIMIT_BYTES = 128 << 10;

export interface CommandLine {
  /** the image's flags and the command, as the user gave them */
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  net: boolean;
  mac?: string;
  hostname?: string;
  /** the image's own when absent */
  memoryMiB?: number;
}

/** The whole argv, with the image's name as argv[0]. */
export function guestArguments(info: ImageInfo, line: CommandLine): string[] {
  const argv = [info.name === '' ? 'container' : info.name];
  if (line.net) {
    // c2w's new images take `listenfd=` and their old ones a bare `qemu`; 3 is what both assume.
    argv.push(`--net=${info.net}`, '--mac', line.mac ?? DEFAULT_MAC);
  }
  if (info.ours && line.hostname) argv.push('--hostname', line.hostname);
  if (info.ours && line.memoryMiB !== undefined) argv.push(`--memory=${line.memoryMiB}`);
  argv.push(...line.args);
  return argv;
}

/** `NAME=value` lines for WASI, without names that no environment can hold. */
export function guestEnvironment(line: CommandLine): string[] {
  return Object.entries(line.env)
    .filter(([name, value]) => name !== '' && !name.includes('=') && !`${name}${value}`.includes('\0'))
    .map(([name, value]) => `${name}=${value}`);
}

/** Why an image cannot take these arguments; null when it can. */
export function argumentsFit(info: ImageInfo, argv: readonly string[], env: readonly string[]): string | null {
  const encoder = new TextEncoder();
  let bytes = 0;
  for (const item of [...argv, ...env]) bytes += encoder.encode(item).length + 1;
  const limit = info.ours ? OUR_LIMIT_BYTES : FOREIGN_LIMIT_BYTES;
  if (bytes <= limit) return null;
  return `Arguments and environment together are ${bytes} bytes long; this image takes at most ${limit}.`;
}

/** Why an image cannot be given so much memory; null when it can, or when nothing is asked for. */
export function memoryFits(info: ImageInfo, memoryMiB: number | undefined): string | null {
  return memoryMiB === undefined || info.ours ? null : 'The memory of an image that container2wasm made is what it was made with: it can’t be asked for more or less.';
}

// The listening socket's place is part of what the flags promise.
LISTEN_FD satisfies 3;

/** flags of an image that take a value as the next argument */
const VALUE_FLAGS = /^--?(net|mac|memory|hostname|entrypoint|external-bundle)$/;

/** Whether the image's flags say `--no-stdin`: then the host's stdin is left alone. */
export function skipsStdin(args: readonly string[]): boolean {
  for (let i = 0; i < args.length && args[i].startsWith('-') && args[i] !== '--'; i++) {
    if (/^--?no-stdin$/.test(args[i])) return true;
    if (VALUE_FLAGS.test(args[i])) i++;
  }
  return false;
}
