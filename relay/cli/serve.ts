/** `portside serve`: page, images and relay from one process, until a signal comes. */
import { join, resolve } from 'node:path';
import { MTU_MAX, MTU_MIN } from '../../shared/link/tunnel.ts';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { DEFAULT_LIMITS, DEFAULT_PORT, type Limits, type ServeConfig } from '../config.ts';
import { isLoopback, parseOrigin } from '../gate.ts';
import { Descriptors } from '../descriptors.ts';
import { NodeClock, nodeRandom } from '../host/node-clock.ts';
import { NodeHostNet } from '../host/node-host-net.ts';
import { Log } from '../log.ts';
import { RelayServer, type RelayParts } from '../server.ts';
import { withCapture } from './capture.ts';
import { SERVE_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { parseFlags, parseForward, parseLogFormat, parseNumber, parseTls } from './flags.ts';

export async function serve(args: string[], context: CliContext): Promise<number> {
  const config = parseServe(args, context);
  return withCapture(config.pcap, context, (capture) => serveUntilStopped(config, context, capture?.createNetwork ?? ((options) => new VirtualNetwork(options)), async (relay, log) => {
    const { images } = await relay.images.manifest();
    if (images.length === 0) context.print(noImages(config.imagesDir));
    context.print(`Portside is ready: ${relay.url}`);
    if (config.logFormat === 'json') log.info('ready', { url: relay.url });
  }));
}

/** Builds the relay and runs it until a signal comes; `onReady` is called when it listens. */
export async function serveUntilStopped(config: ServeConfig, context: CliContext, createNetwork: RelayParts['createNetwork'], onReady: (relay: RelayServer, log: Log) => void | Promise<void>, descriptors = Descriptors.ofProcess()): Promise<number> {
  const limits: Limits = config.mtu === null ? DEFAULT_LIMITS : { ...DEFAULT_LIMITS, mtu: config.mtu, maxMtu: config.mtu };
  const clock = new NodeClock();
  const log = new Log((line) => context.warn(line), { verbose: config.verbose, maxOnce: limits.maxLoggedRefusals, format: config.logFormat });
  context.onStray((error) => log.bugOnce('an exception that nobody caught', error));
  descriptors.onRefused = () => log.once('connections', '', `more than ${descriptors.shares.connections} connections at once: further ones are closed (ulimit -n allows no more)`);
  const hostNet = new NodeHostNet(clock);
  const relay = new RelayServer({
    config, limits, clock, log,
    random: nodeRandom,
    hostNet,
    adopt: (socket) => hostNet.adopt(socket),
    createNetwork,
    version: context.version,
    descriptors,
  });
  const stopped = context.stopped();
  try {
    await relay.start();
    await onReady(relay, log);
    await stopped;
  } finally {
    await relay.close();
  }
  return 0;
}

/** The command line as a configuration. Throws RELAY_BAD_FLAG. */
export function parseServe(args: string[], context: Pick<CliContext, 'env' | 'root'>): ServeConfig {
  const flags = parseFlags(args, SERVE_FLAGS);
  const port = flags.port ?? context.env['PORT'];
  return {
    port: port === undefined || port === '' ? DEFAULT_PORT : parseNumber(flags.port === undefined ? 'PORT' : '--port', port, 0, 65_535),
    host: flags.host === undefined || flags.host === 'localhost' ? null : flags.host,
    forwards: (flags.publish ?? []).map(parseForward),
    images: flags.image ?? [],
    allowOrigins: (flags['allow-origin'] ?? []).map(checkOrigin),
    allowHosts: flags['allow-host'] ?? [],
    mtu: flags.mtu === undefined ? null : parseNumber('--mtu', flags.mtu, MTU_MIN, MTU_MAX),
    webDir: flags.web === undefined ? join(context.root, 'dist/web') : resolve(flags.web),
    imagesDir: flags.images === undefined ? join(context.root, 'dist/images') : resolve(flags.images),
    convertedDir: mayConvert(flags) ? resolve(flags.converted ?? join(context.root, 'dist/converted')) : null,
    tls: parseTls('tls', flags['tls-cert'], flags['tls-key']),
    linkAnywhere: false,
    pcap: flags.pcap === undefined ? null : resolve(flags.pcap),
    verbose: flags.verbose ?? false,
    logFormat: parseLogFormat(flags['log-format']),
  };
}

/** Unless told, only a relay that nobody but this computer's user reaches: not by the network, and not through a proxy, which has a name of its own. */
function mayConvert(flags: { convert?: string; host?: string; 'allow-host'?: string[]; 'allow-origin'?: string[] }): boolean {
  if (flags.convert !== undefined && flags.convert !== 'on' && flags.convert !== 'off') throw new RelayError('RELAY_BAD_FLAG', `--convert is on or off, not "${flags.convert}"`);
  if (flags.convert !== undefined) return flags.convert === 'on';
  const origins = flags['allow-origin'] ?? [];
  return isLoopback(flags.host ?? 'localhost') && flags['allow-host'] === undefined && origins.every((origin) => URL.canParse(origin) && isLoopback(new URL(origin).hostname));
}

/** `--allow-origin`. Throws RELAY_BAD_FLAG. */
export function checkOrigin(text: string): string {
  const origin = parseOrigin(text);
  if (origin === null) throw new RelayError('RELAY_BAD_FLAG', `--allow-origin takes an origin such as https://example.org, or '*', not "${text}"`);
  return origin;
}

function noImages(dir: string): string {
  return `No images in ${dir}. Page, relay and forwards work; a container needs an image: build one (\`npm start\` says what it is missing), `
    + 'or start with --image FILE|URL for one made elsewhere, such as by container2wasm.';
}
