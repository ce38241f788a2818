/** Command lines into checked values, with node:util's parseArgs. What is wrong becomes RELAY_BAD_FLAG, with the flag's name. */
import { resolve } from 'node:path';
import { parseArgs, type ParseArgsConfig } from 'node:util';
import { parseIpv4 } from '../../shared/net/wire/addr.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { DEFAULT_FORWARD_IP, type ForwardRequest, type TlsFiles } from '../config.ts';
import type { LogFormat } from '../log.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

/** Flags only: a word that belongs to none is an error. */
export function parseFlags<const T extends Options>(args: string[], options: T): ReturnType<typeof parseArgs<{ args: string[]; options: T }>>['values'] {
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    // Node's sentence names the flag, and goes on about what `--` is for.
    const [sentence] = (error as Error).message.split('. ');
    throw new RelayError('RELAY_BAD_FLAG', sentence);
  }
}

/** Where the flags of `args` end and the first other word is, or args.length. `--` ends flags too. */
export function firstWord(args: string[], options: Options): number {
  const { tokens } = parseArgs({ args, options, strict: false, allowPositionals: true, tokens: true });
  return tokens.find((token) => token.kind === 'positional')?.index ?? args.length;
}

/** Flags and other words apart, in any order; `--` ends the flags. */
export function splitWords(args: string[], options: Options): { own: string[]; words: string[] } {
  const { tokens } = parseArgs({ args, options, strict: false, allowPositionals: true, tokens: true });
  const places = new Set(tokens.flatMap((token) => (token.kind === 'positional' ? [token.index] : [])));
  const end = tokens.find((token) => token.kind === 'option-terminator')?.index;
  return { own: args.filter((_, i) => !places.has(i) && i !== end), words: args.filter((_, i) => places.has(i)) };
}

/** As Go's flag package reads a command line: one dash or two, `-flag VALUE` or `-flag=VALUE`, up to the first other word, or `--`. */
export function parseGoFlags<const T extends Options>(args: string[], options: T): { values: ReturnType<typeof parseFlags<T>>; words: string[] } {
  const own: string[] = [];
  let at = 0;
  for (; at < args.length && /^--?[^-]/.test(args[at]); at++) {
    const [, given, value] = /^--?([^=]*)(?:=([^]*))?$/.exec(args[at])!;
    const name = Object.keys(options).find((key) => key === given || options[key].short === given);
    if (name === undefined) throw new RelayError('RELAY_BAD_FLAG', `Unknown option '${args[at]}'`);
    if (options[name].type === 'string') {
      if (value === undefined && at + 1 === args.length) throw new RelayError('RELAY_BAD_FLAG', `-${name} takes a value`);
      own.push(`--${name}=${value ?? args[++at]}`);
    } else if (isGoTrue(name, value ?? 'true')) {
      own.push(`--${name}`);
    }
  }
  return { values: parseFlags(own, options), words: args.slice(args[at] === '--' ? at + 1 : at) };
}

/** strconv.ParseBool */
function isGoTrue(flag: string, text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new RelayError('RELAY_BAD_FLAG', `-${flag} is true or false, not "${text}"`);
}

export function parseNumber(flag: string, text: string, min: number, max: number): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw new RelayError('RELAY_BAD_FLAG', `${flag} takes a number from ${min} to ${max}, not "${text}"`);
  return value;
}

/** `--log-format`; text unless it was given. */
export function parseLogFormat(text: string | undefined): LogFormat {
  if (text === undefined || text === 'text' || text === 'json') return text ?? 'text';
  throw new RelayError('RELAY_BAD_FLAG', `--log-format takes text or json, not "${text}"`);
}

/** `--PREFIX-cert` and `--PREFIX-key`: both or neither. */
export function parseTls(prefix: string, cert: string | undefined, key: string | undefined): TlsFiles | null {
  if (cert === undefined && key === undefined) return null;
  if (cert === undefined || key === undefined) throw new RelayError('RELAY_BAD_FLAG', `--${prefix}-cert and --${prefix}-key go together: give both`);
  return { cert: resolve(cert), key: resolve(key) };
}

/** `[ip:]host:guest[/tcp|/udp]`, as `-p` takes it. */
export function parseForward(text: string): ForwardRequest {
  const match = /^(?:([^:/[\]]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(text);
  if (match === null) throw new RelayError('RELAY_BAD_FLAG', `-p takes [ip:]host:guest[/tcp|/udp], as in 8000:80 or 0.0.0.0:5353:53/udp, not "${text}"`);
  const [, ip, host, guest, protocol] = match;
  const hostIp = ip === undefined || ip === 'localhost' ? DEFAULT_FORWARD_IP : ip;
  if (parseIpv4(hostIp) === null) throw new RelayError('RELAY_BAD_FLAG', `-p ${text}: ${hostIp} is not an IPv4 address`);
  return {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostIp,
    hostPort: parseNumber(`-p ${text}: the host port`, host, 0, 65_535),
    guestPort: parseNumber(`-p ${text}: the guest port`, guest, 1, 65_535),
  };
}
