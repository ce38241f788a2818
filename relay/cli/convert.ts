/** `portside convert`: a container image becomes one of ours, without Docker. image/convert does the work. */
import { convert as convertImage, type ConvertOptions, type Converted } from '../../image/convert/convert.ts';
import { parsePlatform } from '../../image/convert/oci.ts';
import { ImageBuildError } from '../../image/image-error.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { CONVERT_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { parseFlags, parseNumber, splitWords } from './flags.ts';

const DEFAULT_MEMORY_MIB = 512;
const DEFAULT_MAX_SIZE_MIB = 2048;
const DEFAULT_MAX_ENTRIES = 400_000;
const MIB = 1024 * 1024;
/** Status of a program that SIGINT has ended */
const STATUS_INTERRUPTED = 130;

export type ConvertArguments = Omit<ConvertOptions, 'report' | 'signal'> & { json: boolean; quiet: boolean };

export async function convert(args: string[], context: CliContext): Promise<number> {
  const { json, quiet, ...options } = parseConvert(args, context);
  const started = Date.now();
  const abort = new AbortController();
  void context.stopped().then(() => abort.abort());
  let last = '';
  const report = (text: string): void => {
    if (!quiet && text !== last) context.warn(text);
    last = text;
  };
  try {
    const converted = await convertImage({ ...options, signal: abort.signal, report });
    for (const warning of converted.warnings) context.warn(`portside convert: ${warning}`);
    if (json) context.print(JSON.stringify(converted, null, 2));
    else context.print(summary(converted, (Date.now() - started) / 1000));
    return 0;
  } catch (error) {
    if (abort.signal.aborted) return STATUS_INTERRUPTED;
    // What a guest said while booting may be part of it.
    // oxlint-disable-next-line no-control-regex
    if (error instanceof ImageBuildError) throw new RelayError('RELAY_CONVERT', error.message.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?'));
    throw error;
  }
}

/** The command line as options. Throws RELAY_BAD_FLAG. */
export function parseConvert(args: string[], context: Pick<CliContext, 'env'>): ConvertArguments {
  const { own, words } = splitWords(args, CONVERT_FLAGS);
  const flags = parseFlags(own, CONVERT_FLAGS);
  if (words.length < 1 || words.length > 2) throw new RelayError('RELAY_BAD_FLAG', 'name a source, and an output: portside convert SOURCE [out.wasm|out-dir/]');
  const platform = parsePlatform(flags.platform ?? 'linux/riscv64');
  if (platform === null) throw new RelayError('RELAY_BAD_FLAG', `--platform takes OS/ARCHITECTURE, as in linux/riscv64, not "${flags.platform}"`);
  if (flags.name !== undefined && !/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(flags.name)) throw new RelayError('RELAY_BAD_FLAG', `--name takes lower case letters, digits and "-", at most 40, not "${flags.name}"`);
  const credentials = flags.creds ?? (context.env['PORTSIDE_CREDS'] || null);
  if (credentials !== null && !credentials.includes(':')) throw new RelayError('RELAY_BAD_FLAG', '--creds (or PORTSIDE_CREDS) takes USER:PASSWORD');
  return {
    source: words[0],
    out: words[1] ?? 'out.wasm',
    name: flags.name ?? null,
    memoryMiB: flags.memory === undefined ? DEFAULT_MEMORY_MIB : parseNumber('--memory', flags.memory, 128, 2048),
    platform,
    plainHttp: flags['plain-http'] ?? false,
    credentials,
    maxBytes: (flags['max-size'] === undefined ? DEFAULT_MAX_SIZE_MIB : parseNumber('--max-size', flags['max-size'], 1, 16_384)) * MIB,
    maxEntries: flags['max-entries'] === undefined ? DEFAULT_MAX_ENTRIES : parseNumber('--max-entries', flags['max-entries'], 1, 10_000_000),
    json: flags.json ?? false,
    quiet: flags.quiet ?? false,
  };
}

function summary({ path, bytes, disk, files }: Converted, seconds: number): string {
  const mib = (count: number): string => `${(count / MIB).toFixed(1)} MiB`;
  const where = disk.path === null ? `${mib(disk.bytes)} of it disk` : `and a disk of ${mib(disk.bytes)}`;
  return `${path}: ${mib(bytes)}, ${where} (${files} files), in ${seconds.toFixed(1)} s`;
}
