/** `portside run`: its flags, then IMAGE, then what belongs to the image. relay/run does the rest. */
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { RelayError } from '../../shared/relay-error.ts';
import { MTU_MAX, MTU_MIN } from '../../shared/link/tunnel.ts';
import { MEMORY_ADVICE, parseMemory } from '../../shared/wasi/memory-size.ts';
import { Descriptors } from '../descriptors.ts';
import { Log } from '../log.ts';
import { networkParts } from '../network-parts.ts';
import type { ElsewhereOptions } from '../run/run-elsewhere.ts';
import type { RunOptions } from '../run/run.ts';
import { Images } from '../images.ts';
import { withCapture } from './capture.ts';
import { RUN_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { parseDirectories } from './directories.ts';
import { firstWord, parseFlags, parseForward, parseNumber } from './flags.ts';

/** in `s`; what setTimeout can count is longer */
const STOP_TIMEOUT_MAX = 1_000_000;

export interface RunCommand extends RunOptions {
  /** file for what passes on the network */
  pcap?: string;
  /** another runtime than the built-in one */
  elsewhere?: { runtime: string; old: boolean } & Pick<ElsewhereOptions, 'runtimeFlags' | 'wasiAddress'>;
}

/** `defaults` are for what the command line leaves open. */
export async function run(args: string[], context: CliContext, defaults: Pick<RunCommand, 'tty'> = {}): Promise<number> {
  const options: RunCommand = { ...defaults, ...await parseRun(args, context), report: (line) => context.warn(line) };
  const { elsewhere } = options;
  if (options.net) addParts(options, context);
  const runIt = elsewhere === undefined ? (await import('../run/run.ts')).run : await runnerElsewhere(elsewhere, context);
  return withCapture(options.pcap ?? null, context, (capture) => runIt(capture === null ? options : { ...options, createNetwork: capture.createNetwork }));
}

/** What goes wrong in its network costs the container a frame or a flow, and is told here. */
function addParts(options: RunCommand, context: CliContext): void {
  const log = new Log((line) => context.warn(line), { verbose: options.log !== undefined });
  context.onStray((error) => log.bugOnce('an exception that nobody caught', error));
  options.descriptors = Descriptors.ofProcess();
  options.parts = networkParts(log, options.descriptors, true);
}

async function runnerElsewhere({ runtime: name, old, ...settings }: NonNullable<RunCommand['elsewhere']>, context: CliContext): Promise<(options: RunOptions) => Promise<number>> {
  const [{ findRuntime }, { runElsewhere }] = await Promise.all([import('../run/runtimes.ts'), import('../run/run-elsewhere.ts')]);
  const runtime = await findRuntime(name, context.env, old);
  return (options) => runElsewhere({ ...options, ...settings, runtime });
}

/** The command line as options. Rejects with RELAY_BAD_FLAG, or with RELAY_NO_IMAGE when there is no such image. */
export async function parseRun(args: string[], context: Pick<CliContext, 'env' | 'root' | 'warn'>): Promise<RunCommand> {
  const at = firstWord(args, RUN_FLAGS);
  // `--` ends our own flags; it is no flag of ours.
  const own = args.slice(0, at);
  const flags = parseFlags(own.at(-1) === '--' ? own.slice(0, -1) : own, RUN_FLAGS);
  if (at === args.length) throw new RelayError('RELAY_BAD_FLAG', 'name an image: `portside images` lists them');
  const forwards = (flags.publish ?? []).map(parseForward);
  const options: RunCommand = {
    image: await findImage(args[at], flags.images === undefined ? join(context.root, 'dist/images') : resolve(flags.images)),
    args: args.slice(at + 1),
    env: Object.fromEntries((flags.env ?? []).flatMap((text) => parseVariable(text, context.env))),
    // A forward needs a network to lead into, a capture one to look at, and an MTU is one's.
    net: flags.net === true || forwards.length > 0 || flags.pcap !== undefined || flags.mtu !== undefined,
    forwards,
  };
  const directories = await parseDirectories(flags.dir ?? [], flags.mapdir ?? []);
  if (directories.length > 0) options.directories = directories;
  if (flags.mac !== undefined) options.mac = checkMac(flags.mac);
  if (flags.hostname !== undefined) options.hostname = checkHostname(flags.hostname);
  if (flags.tty === true && flags['no-tty'] === true) throw new RelayError('RELAY_BAD_FLAG', '-t asks for a terminal and -T for none: give one of them');
  if (flags.tty === true) options.tty = true;
  if (flags['no-tty'] === true) options.tty = false;
  if (flags.interactive === true) options.interactive = true;
  if (flags['stop-timeout'] !== undefined) options.stopTimeoutMs = checkStopTimeout(flags['stop-timeout']);
  if (flags.memory !== undefined) options.memoryMiB = checkMemory(flags.memory);
  if (flags['no-translate'] === true) options.compiler = null;
  if (flags.mtu !== undefined) options.mtu = parseNumber('--mtu', flags.mtu, MTU_MIN, MTU_MAX);
  if (flags.pcap !== undefined) options.pcap = resolve(flags.pcap);
  if (flags.resume !== undefined) options.resume = resolve(flags.resume);
  if (flags.save !== undefined) options.save = resolve(flags.save);
  if (flags.verbose) options.log = (line) => context.warn(line);
  const saved = flags.save !== undefined || flags.resume !== undefined;
  if (saved && flags.runtime !== undefined) throw new RelayError('RELAY_BAD_FLAG', '--save and --resume need the built-in runtime: leave out --runtime');
  if (flags.resume !== undefined && flags.memory !== undefined) throw new RelayError('RELAY_BAD_FLAG', 'a saved container has the memory that it had: --resume without --memory');
  if (flags.runtime !== undefined) {
    options.elsewhere = {
      runtime: flags.runtime,
      old: flags['wasmtime-cli-13'] ?? false,
      runtimeFlags: flags['runtime-flag'] ?? [],
      wasiAddress: flags['wasi-addr'] ?? null,
    };
  } else if (flags['runtime-flag'] !== undefined) {
    throw new RelayError('RELAY_BAD_FLAG', '--runtime-flag is for another runtime: name it with --runtime');
  }
  return options;
}

/** The wasm file for a name in `dir`, or for a path. A name of an image wins over a file of the same name. */
async function findImage(image: string, dir: string): Promise<string> {
  const { images } = await new Images(dir).built();
  const listed = images.find(({ name }) => name === image);
  if (listed !== undefined) return join(dir, listed.file);
  const path = resolve(image);
  if (await access(path).then(() => true, () => false)) return path;
  const names = images.map(({ name }) => name).join(', ');
  throw new RelayError('RELAY_NO_IMAGE', `no image "${image}": it is no file, and ${names === '' ? `none is built in ${dir}` : `the names are ${names}`}`);
}

/** `K=V`, or `K` for the value that it has here, if any. */
function parseVariable(text: string, env: CliContext['env']): [string, string][] {
  const equals = text.indexOf('=');
  const name = equals < 0 ? text : text.slice(0, equals);
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) throw new RelayError('RELAY_BAD_FLAG', `--env takes NAME=VALUE or NAME, not "${text}"`);
  const value = equals < 0 ? env[name] : text.slice(equals + 1);
  return value === undefined ? [] : [[name, value]];
}

export function checkMac(text: string): string {
  const mac = text.toLowerCase().replaceAll('-', ':');
  if (!/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac)) throw new RelayError('RELAY_BAD_FLAG', `--mac takes a unicast address such as 02:00:00:00:00:42, not "${text}"`);
  return mac;
}

function checkStopTimeout(text: string): number {
  return text === '-1' ? Infinity : parseNumber('--stop-timeout', text, 0, STOP_TIMEOUT_MAX) * 1000;
}

function checkMemory(text: string): number {
  const mib = parseMemory(text);
  if (mib === null) throw new RelayError('RELAY_BAD_FLAG', `--memory takes ${MEMORY_ADVICE}; not "${text}"`);
  return mib;
}

/** RFC 1123 §2.1, one label or several */
function checkHostname(text: string): string {
  if (text.length > 63 || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(text)) throw new RelayError('RELAY_BAD_FLAG', `--hostname takes letters, digits, "-" and ".", at most 63, not "${text}"`);
  return text;
}
