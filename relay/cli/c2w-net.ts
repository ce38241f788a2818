/**
 * `c2w-net`: container2wasm's command with its flags and arguments, on our relay. Three things in one:
 *
 *   c2w-net --listen-ws ADDR      a WebSocket server for pages; all of them are on one network
 *   c2w-net --invoke IMAGE …      a container in this terminal, with a network
 *   c2w-net ADDR                  a network for the runtime that listens there, for as long as its connection lasts
 *
 * What differs is in README: it is closed to pages of foreign origins, and forwards are for this computer only, unless it is told otherwise.
 */
import { join } from 'node:path';
import type { ForwardSpec } from '../../shared/net/services/network.ts';
import { networkForGuest } from '../../shared/net/services/network-config.ts';
import { parseIpv4 } from '../../shared/net/wire/addr.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { withoutNetFlag } from '../../shared/wasi/arguments.ts';
import type { ForwardRequest, ServeConfig } from '../config.ts';
import { Descriptors } from '../descriptors.ts';
import { Log } from '../log.ts';
import { networkParts } from '../network-parts.ts';
import { C2W_NET_TABLE } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { parseForward, parseGoFlags, parseNumber, parseTls } from './flags.ts';
import { commandHelp } from './help.ts';
import { checkMac } from './run.ts';
import { checkOrigin } from './serve.ts';

/** how long a runtime may take to listen, in `ms`; c2w-net's own ten tries, a second apart */
const CONNECT_MS = 10_000;

export interface C2wNetCommand {
  mode: 'listen-ws' | 'invoke' | 'connect';
  /** the address, or the image with what belongs to it */
  words: string[];
  /** `-p` as it was given, and what it says */
  publish: string[];
  forwards: ForwardRequest[];
  /** the MAC that 192.168.127.3 is kept for; null: whoever comes first has it */
  mac: string | null;
  allowOrigins: string[];
  allowHosts: string[];
  tls: ServeConfig['tls'];
  verbose: boolean;
  /** flags of `portside run` that say which runtime, and how */
  runtime: string[];
}

export async function c2wNet(args: string[], context: CliContext): Promise<number> {
  const command = parseC2wNet(args);
  if (command === 'help') {
    context.print(commandHelp('c2w-net', C2W_NET_TABLE));
    return 0;
  }
  switch (command.mode) {
    case 'invoke': return invoke(command, context);
    case 'listen-ws': return listenForPages(command, context);
    case 'connect': return connectOnce(command, context);
  }
}

/** The command line as options. Throws RELAY_BAD_FLAG. */
export function parseC2wNet(args: string[]): C2wNetCommand | 'help' {
  const { values, words } = parseGoFlags(args, C2W_NET_TABLE.flags);
  if (values.help) return 'help';
  const mode = values.invoke ? 'invoke' : values['listen-ws'] ? 'listen-ws' : 'connect';
  if (words.length === 0) throw new RelayError('RELAY_BAD_FLAG', mode === 'invoke' ? 'name an image: c2w-net --invoke IMAGE' : 'name an address, such as localhost:8888');
  if (mode !== 'invoke' && words.length > 1) throw new RelayError('RELAY_BAD_FLAG', `one address, please, and flags in front of it: "${words[1]}" is too much`);
  if (values['enable-tls'] && (values['ws-cert'] === undefined || values['ws-key'] === undefined)) throw new RelayError('RELAY_BAD_FLAG', '--enable-tls needs --ws-cert and --ws-key, files in PEM');
  return {
    mode,
    words,
    publish: values.p ?? [],
    forwards: (values.p ?? []).map(parseForward),
    mac: values.mac === undefined ? null : checkMac(values.mac),
    allowOrigins: (values['allow-origin'] ?? []).map(checkOrigin),
    allowHosts: values['allow-host'] ?? [],
    tls: values['enable-tls'] ? parseTls('ws', values['ws-cert'], values['ws-key']) : null,
    verbose: values.debug ?? false,
    // Address and age are those of another runtime: the built-in one has neither.
    runtime: values.runtime === undefined ? [] : [
      `--runtime=${values.runtime}`,
      ...(values['wasi-addr'] === undefined ? [] : [`--wasi-addr=${values['wasi-addr']}`]),
      ...(values['wasmtime-cli-13'] ? ['--wasmtime-cli-13'] : []),
    ],
  };
}

async function invoke(command: C2wNetCommand, context: CliContext): Promise<number> {
  const { run } = await import('./run.ts');
  // Runtimes of c2w's images have one terminal, whatever our streams are.
  return run(runArguments(command), context, { tty: true });
}

/** The command line of `portside run` that does the same. */
export function runArguments({ words: [image, ...args], publish, mac, verbose, runtime }: C2wNetCommand): string[] {
  const flags = [...runtime, ...publish.map((text) => `--publish=${text}`), ...(mac === null ? [] : [`--mac=${mac}`]), ...(verbose ? ['--verbose'] : [])];
  // The socket's place is run's affair.
  return ['--net', ...flags, '--', image, ...withoutNetFlag(args)];
}

async function listenForPages(command: C2wNetCommand, context: CliContext): Promise<number> {
  const { host, port } = parseAddress(command.words[0]);
  const log = new Log((line) => context.warn(line), { verbose: command.verbose });
  const [{ openNetwork }, { shareNetwork }, { serveUntilStopped }] = await Promise.all([import('../listen.ts'), import('../shared-network.ts'), import('./serve.ts')]);
  const descriptors = Descriptors.ofProcess();
  const network = openNetwork({ config: networkForGuest(command.mac), parts: networkParts(log, descriptors, true), descriptors, ...(command.verbose ? { log: (line: string) => log.debug(line) } : {}) });
  const dist = join(context.root, 'dist');
  const config: ServeConfig = {
    port, host, allowOrigins: command.allowOrigins, allowHosts: command.allowHosts, tls: command.tls, linkAnywhere: true,
    // Datagrams belong to the network; connections go to the page that came last.
    forwards: command.forwards.filter(({ protocol }) => protocol === 'tcp'),
    images: [], mtu: null, webDir: join(dist, 'web'), imagesDir: join(dist, 'images'), convertedDir: null, pcap: null, verbose: command.verbose, logFormat: 'text',
  };
  try {
    for (const forward of command.forwards) if (forward.protocol === 'udp') await network.addForward(forwardSpec(forward));
    return await serveUntilStopped(config, context, shareNetwork(network), (relay) => log.info(`listening on ${relay.url.replace(/^http/, 'ws')}`), descriptors);
  } finally {
    network.close();
  }
}

async function connectOnce(command: C2wNetCommand, context: CliContext): Promise<number> {
  const log = new Log((line) => context.warn(line), { verbose: command.verbose });
  context.onStray((error) => log.bugOnce('an exception that nobody caught', error));
  const descriptors = Descriptors.ofProcess();
  const { connect } = await import('../connect.ts');
  const connecting = await connect(command.words[0], {
    config: networkForGuest(command.mac),
    forwards: command.forwards.map(forwardSpec),
    parts: networkParts(log, descriptors, true),
    descriptors,
    onceWithinMs: CONNECT_MS,
    say: (line) => log.info(line),
    ...(command.verbose ? { log: (line: string) => log.debug(line) } : {}),
  });
  try {
    await Promise.race([connecting.ended, context.stopped()]);
  } finally {
    await connecting.close();
  }
  return 0;
}

function forwardSpec({ protocol, hostIp, hostPort, guestPort }: ForwardRequest): ForwardSpec {
  return { protocol, hostIp: parseIpv4(hostIp)!, hostPort, guestPort };
}

/** `[HOST]:PORT` as Go's net.Listen takes it: without HOST all addresses. */
function parseAddress(text: string): { host: string | null; port: number } {
  const match = /^(?:([^:[\]]*)|\[([0-9a-f:.]+)\]):(\d{1,5})$/i.exec(text);
  if (match === null) throw new RelayError('RELAY_BAD_FLAG', `--listen-ws takes HOST:PORT, as in localhost:8888, not "${text}"`);
  const [, name, literal, port] = match;
  const host = literal ?? (name === '' ? '0.0.0.0' : name);
  return { host: host === 'localhost' ? null : host, port: parseNumber('the port of --listen-ws', port, 0, 65_535) };
}
