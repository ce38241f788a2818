/*
 * The command line and the environment of an image: the flags that the host adds (ARCHITECTURE.md, "An image"), in
 * front of what the user gave.
 */
import type { ImageInfo } from './image-info.ts';
import { LISTEN_FD } from './imports.ts';

/** MAC of a guest that is alone on its network: the one that the network's DHCP gives .3 */
export const DEFAULT_MAC = '02:00:00:00:00:01';

/** c2w's images write environment, arguments and mounts down for their guest in so many bytes, and exit with 1 beyond */
const FOREIGN_LIMIT_BYTES = 1024;
/** `t: ` and the seconds since 1970 in a line, which they add */
const FOREIGN_TIME_BYTES = 14;
/** devices for shared directories that our machine has (SHARES_MAX in machine/map.h) */
const MAX_DIRECTORIES = 8;
/** what our images are given at most, in bytes */
const OUR_LIMIT_BYTES = 128 << 10;

export interface CommandLine {
  /** the image's flags and the command, as the user gave them */
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  net: boolean;
  mac?: string;
  hostname?: string;
  /** descriptor of the listening socket, where it is not LISTEN_FD */
  listenFd?: number;
  /** the image's own when absent */
  memoryMiB?: number;
  /** the command gets a terminal, the default, or pipes, where the image knows them */
  tty?: boolean;
  /** false: the host's stdin is left alone */
  stdin?: boolean;
}

/** The whole argv, with the image's name as argv[0]. */
export function guestArguments(info: ImageInfo, line: CommandLine): string[] {
  const argv = [info.name === '' ? 'container' : info.name];
  if (line.net) {
    // c2w's new images take `listenfd=` and their old ones a bare `qemu`; 3 is what both assume.
    const place = (line.listenFd ?? LISTEN_FD) === LISTEN_FD ? '' : `=listenfd=${line.listenFd}`;
    argv.push(`--net=${info.net}${place}`, '--mac', line.mac ?? DEFAULT_MAC);
  }
  if (info.ours && line.hostname) argv.push('--hostname', line.hostname);
  if (info.ours && line.memoryMiB !== undefined) argv.push(`--memory=${line.memoryMiB}`);
  if (info.pipes && line.tty === false) argv.push('--no-tty');
  if (info.ours && line.stdin === false) argv.push('--no-stdin');
  argv.push(...line.args);
  return argv;
}

/** What guestArguments gave, with the other word for the network: c2w's images before 2024 know `qemu` only, and take `socket` silently. */
export function otherNetArguments(args: readonly string[]): string[] {
  return args.map((arg, i) => (i === 1 && arg === '--net=socket' ? '--net=qemu' : arg));
}

/** `NAME=value` lines for WASI, without names that no environment can hold. */
export function guestEnvironment(line: CommandLine): string[] {
  return Object.entries(line.env)
    .filter(([name, value]) => name !== '' && !name.includes('=') && !`${name}${value}`.includes('\0'))
    .map(([name, value]) => `${name}=${value}`);
}

/**
 * Why an image cannot take these arguments, and directories by these names; null when it can. `argv` and `env` are guestArguments' and
 * guestEnvironment's.
 */
export function argumentsFit(info: ImageInfo, argv: readonly string[], env: readonly string[], directories: readonly string[] = []): string | null {
  if (info.ours && directories.length > MAX_DIRECTORIES) return `This image takes at most ${MAX_DIRECTORIES} shared directories.`;
  const { flags, command } = parseImageFlags(argv.slice(1));
  const bundle = flags.findLast(({ name }) => name === 'external-bundle')?.value;
  if (bundle !== undefined) {
    const problem = bundleProblem(info, bundle, flags.some(({ name }) => name === 'net'));
    if (problem !== null) return problem;
  }
  const bytes = info.ours ? sum([...argv, ...env, ...directories].map((item) => byteLength(item) + 1)) : foreignBytes(flags, command, env, directories);
  const limit = info.ours ? OUR_LIMIT_BYTES : FOREIGN_LIMIT_BYTES;
  if (bytes <= limit) return null;
  return `Arguments and environment together take ${bytes} bytes; this image has room for ${limit}.`;
}

/**
 * c2w's images without a container take one over 9P, from port 80 of an address in their network (`9p=ADDRESS`), or from a folder of
 * the host's. The first is theirs alone; we offer them no folders.
 */
function bundleProblem(info: ImageInfo, bundle: string, net: boolean): string | null {
  if (info.ours) return 'This image has its container in it: leave --external-bundle out.';
  if (!bundle.startsWith('9p=')) {
    return `--external-bundle=${bundle}: a container is taken over the network only, by 9p=ADDRESS (192.168.127.254 is this computer, port 80). `
      + '`portside convert` makes one image of a container and its machine.';
  }
  return net ? null : `--external-bundle=${bundle} needs a network.`;
}

/** Length of what c2w's images write down: a line per setting, with a backslash before what would end a word or a line. */
function foreignBytes(flags: readonly ImageFlag[], command: readonly string[], env: readonly string[], directories: readonly string[]): number {
  const last = (name: string): string | undefined => flags.findLast((flag) => flag.name === name)?.value;
  const entrypoint = last('entrypoint');
  const bundle = last('external-bundle');
  let bytes = FOREIGN_TIME_BYTES;
  if (entrypoint !== undefined) bytes += byteLength(`e: ${quoted(entrypoint, /\n/g)}\n`);
  if (command.length > 0) bytes += byteLength(`c: ${command.map((word) => quoted(word, /[ \n]/g)).join(' ')}\n`);
  if (last('net') !== undefined) bytes += byteLength(`n: ${last('mac') ?? ''}\n`);
  if (bundle !== undefined) bytes += byteLength(`b: ${bundle}\n`);
  bytes += sum(directories.map((path) => byteLength(`m: ${quoted(path.replace(/^[/.]+/, ''), /\n/g)}\n`)));
  return bytes + sum(env.map((line) => byteLength(`env: ${quoted(line, /\n/g)}\n`)));
}

function quoted(text: string, what: RegExp): string {
  return text.replaceAll(what, '\\$&');
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** Why an image cannot be given so much memory; null when it can, or when nothing is asked for. */
export function memoryFits(info: ImageInfo, memoryMiB: number | undefined): string | null {
  return memoryMiB === undefined || info.ours ? null : 'The memory of an image that container2wasm made is what it was made with: it can’t be asked for more or less.';
}

// The listening socket's place is part of what the flags promise.
LISTEN_FD satisfies 3;

/** flags of an image that take a value as the next argument */
const VALUE_FLAGS = /^--?(net|mac|memory|hostname|entrypoint|external-bundle)$/;

interface ImageFlag {
  name: string;
  value: string;
}

/** An image's flags and what follows them. */
function parseImageFlags(args: readonly string[]): { flags: ImageFlag[]; command: readonly string[] } {
  const flags: ImageFlag[] = [];
  let i = 0;
  for (; i < args.length && args[i].startsWith('-') && args[i] !== '--'; i++) {
    const [, name, value] = /^--?([^=]*)(?:=([^]*))?$/.exec(args[i])!;
    flags.push({ name, value: value ?? (VALUE_FLAGS.test(args[i]) ? args[++i] ?? '' : '') });
  }
  return { flags, command: args.slice(args[i] === '--' ? i + 1 : i) };
}

/** `args` less the image's `--net`: for a host that says itself where the socket is. */
export function withoutNetFlag(args: readonly string[]): string[] {
  const { flags, command } = parseImageFlags(args);
  const kept = flags.filter(({ name }) => name !== 'net').map(({ name, value }) => (value === '' && !VALUE_FLAGS.test(`--${name}`) ? `--${name}` : `--${name}=${value}`));
  return [...kept, ...(command[0]?.startsWith('-') === true ? ['--'] : []), ...command];
}

/** Which of `--tty` and `--no-tty` the image's flags say last; null: neither. */
export function saysTty(args: readonly string[]): boolean | null {
  const said = parseImageFlags(args).flags.findLast(({ name }) => name === 'tty' || name === 'no-tty');
  return said === undefined ? null : said.name === 'tty';
}

/** Whether the image's flags say `--no-stdin`: then the host's stdin is left alone. */
export function skipsStdin(args: readonly string[]): boolean {
  return parseImageFlags(args).flags.some(({ name }) => name === 'no-stdin');
}
