/*
 * The command line and the environment of an image: the flags that the host adds (ARCHITECTURE.md, "An image"), in
 * front of what the user gave.
 */
import type { ImageInfo } from './image-info.ts';
import { LISTEN_FD } from './imports.ts';
import { MEMORY_ADVICE, parseMemory } from './memory-size.ts';

/** MAC of a guest that is alone on its network: the one that the network's DHCP gives .3 */
export const DEFAULT_MAC = '02:00:00:00:00:01';

/** c2w's images write environment, arguments and mounts down for their guest in so many bytes, and exit with 1 beyond */
const FOREIGN_LIMIT_BYTES = 1024;
/** `t: ` and the seconds since 1970 in a line, which they add */
const FOREIGN_TIME_BYTES = 14;
/** devices for shared directories that our machine has (SHARES_MAX in machine/board/map.h) */
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
 * guestEnvironment's. A sentence that names the flag, and says what to do.
 */
export function argumentsFit(info: ImageInfo, argv: readonly string[], env: readonly string[], directories: readonly string[] = []): string | null {
  if (info.ours && directories.length > MAX_DIRECTORIES) return `This image takes at most ${MAX_DIRECTORIES} shared directories.`;
  const { flags, command } = parseImageFlags(argv.slice(1), info);
  for (const flag of flags) {
    const problem = flagProblem(info, flag);
    if (problem !== null) return problem;
  }
  const bundle = flags.findLast(({ name }) => name === 'external-bundle')?.value;
  if (bundle !== undefined && bundle !== null) {
    const problem = bundleProblem(info, bundle, flags.some(({ name }) => name === 'net'));
    if (problem !== null) return problem;
  }
  const bytes = info.ours ? sum([...argv, ...env, ...directories].map((item) => byteLength(item) + 1)) : foreignBytes(flags, command, env, directories);
  const limit = info.ours ? OUR_LIMIT_BYTES : FOREIGN_LIMIT_BYTES;
  if (bytes <= limit) return null;
  return `Arguments and environment together take ${bytes} bytes; this image has room for ${limit}.`;
}

/** Why an image cannot be given so much memory; null when it can, or when nothing is asked for. `name` is how it was asked for. */
export function memoryFits(info: ImageInfo, memoryMiB: number | undefined, name = '--memory'): string | null {
  return memoryMiB === undefined || info.ours ? null : madeWith(name, 'memory');
}

/** Why an image cannot have this host name; null when it can, or when nothing is asked for. */
export function hostnameFits(info: ImageInfo, hostname: string | undefined, name = '--hostname'): string | null {
  return hostname === undefined || hostname === '' || info.ours ? null : madeWith(name, 'host name');
}

function madeWith(flag: string, what: string): string {
  return `${flag}: the ${what} of an image that container2wasm made is what it was made with. Leave ${flag} out, or make an image with \`portside convert\`.`;
}

/** What is wrong with one of an image's flags; null when the image takes it. */
function flagProblem(info: ImageInfo, { name, value, text }: ImageFlag): string | null {
  if (name === null) {
    const known = (info.ours ? OUR_FLAGS : FOREIGN_FLAGS).map((flag) => `--${flag}`).join(', ');
    const what = FOREIGN_LACKS.get(text.replace(/^--?/, ''));
    return what !== undefined && !info.ours ? madeWith(text, what)
      : `${text} is no flag of this image. It takes ${known}; a command that begins with "-" goes behind "--".`;
  }
  if (value === null) return `--${name} takes a value.`;
  if (name === 'mac' && !(info.ours ? OUR_MAC : FOREIGN_MAC).test(value)) return `--mac takes an address such as 02:00:00:00:00:42, not "${value}".`;
  if (name === 'memory' && parseMemory(value) === null) return `--memory takes ${MEMORY_ADVICE}; not "${value}".`;
  if (name === 'net' && info.ours && !/^(qemu|socket)(=listenfd=\d+)?$/.test(value)) return `--net takes qemu or socket, not "${value}".`;
  return null;
}

/** The MAC that an image will have with these arguments (guestArguments'); null when they don't say a good one. */
export function macOf(info: ImageInfo, argv: readonly string[]): string | null {
  const { flags } = parseImageFlags(argv.slice(1), info);
  const mac = flags.findLast(({ name }) => name === 'mac')?.value ?? null;
  return mac !== null && OUR_MAC.test(mac) ? mac.replaceAll('-', ':').toLowerCase() : null;
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
  const last = (name: string): string | undefined => flags.findLast((flag) => flag.name === name)?.value ?? undefined;
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

// The listening socket's place is part of what the flags promise.
LISTEN_FD satisfies 3;

/** what our machine takes (machine/guest/options.c), and what c2w's emulators do */
const OUR_FLAGS = ['entrypoint', 'no-stdin', 'tty', 'no-tty', 'mac', 'hostname', 'memory', 'net', 'external-bundle'];
const FOREIGN_FLAGS = ['entrypoint', 'no-stdin', 'mac', 'net', 'external-bundle', 'help'];
const BARE_FLAGS = ['no-stdin', 'tty', 'no-tty', 'help'];
/** flags of ours that c2w's images have nothing for */
const FOREIGN_LACKS = new Map([['memory', 'memory'], ['hostname', 'host name']]);
const OUR_MAC = /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i;
const FOREIGN_MAC = /^[0-9a-f]{1,2}(:[0-9a-f]{1,2}){5}$/i;

interface ImageFlag {
  /** null: the image has no such flag */
  name: string | null;
  /** null: it takes one, and there is none */
  value: string | null;
  /** as it was given, without its value */
  text: string;
  /** all of it, as it was given */
  words: readonly string[];
}

/** An image's flags and what follows them. Without `info`: of an image that is not known yet. */
function parseImageFlags(args: readonly string[], info: ImageInfo | null): { flags: ImageFlag[]; command: readonly string[] } {
  const flags: ImageFlag[] = [];
  let i = 0;
  for (; i < args.length && args[i].startsWith('-') && args[i] !== '--' && args[i] !== '-'; i++) {
    const [, text, given, inline] = /^(--?([^=]*))(?:=([^]*))?$/.exec(args[i])!;
    const name = flagNamed(given, info);
    const isBare = name === null ? !FOREIGN_LACKS.has(given) : BARE_FLAGS.includes(name);
    const words = args.slice(i, inline === undefined && !isBare ? i + 2 : i + 1);
    flags.push({ name, value: inline ?? (isBare ? '' : words[1] ?? null), text, words });
    i += words.length - 1;
  }
  return { flags, command: args.slice(args[i] === '--' ? i + 1 : i) };
}

/** getopt_long_only, which c2w's images use, takes the beginning of a name too, and -h. */
function flagNamed(given: string, info: ImageInfo | null): string | null {
  const known = info === null ? [...OUR_FLAGS, 'help'] : info.ours ? OUR_FLAGS : FOREIGN_FLAGS;
  if (known.includes(given)) return given;
  const matching = info?.ours === false && given !== '' ? known.filter((name) => name.startsWith(given)) : [];
  return matching.length === 1 ? matching[0] : null;
}

/** `args` less the image's `--net`: for a host that says itself where the socket is. */
export function withoutNetFlag(args: readonly string[]): string[] {
  const { flags } = parseImageFlags(args, null);
  const rest = args.slice(flags.reduce((count, { words }) => count + words.length, 0));
  // In one word each, which reads the same whoever reads it.
  return [...flags.flatMap(({ name, words }) => (name === 'net' ? [] : words.length === 2 ? [words.join('=')] : words)), ...rest];
}

/** Which of `--tty` and `--no-tty` the image's flags say last; null: neither. */
export function saysTty(args: readonly string[], info: ImageInfo | null = null): boolean | null {
  const said = parseImageFlags(args, info).flags.findLast(({ name }) => name === 'tty' || name === 'no-tty');
  return said === undefined ? null : said.name === 'tty';
}

/** Whether the image's flags say `--no-stdin`: then the host's stdin is left alone. */
export function skipsStdin(args: readonly string[], info: ImageInfo | null = null): boolean {
  return parseImageFlags(args, info).flags.some(({ name }) => name === 'no-stdin');
}
