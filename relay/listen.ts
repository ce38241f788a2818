/*
 * Plain QEMU framing over a TCP or UNIX socket, every connection a link of one network: for QEMU (`-netdev stream`), for
 * other WASI runtimes, for measuring. `portside listen` is its command line.
 *
 * Anyone who reaches the socket is on the network: a UNIX path is guarded by its folder, a TCP port should stay on loopback.
 */
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { FrameDecoder, maxFrameLen } from '../shared/link/qemu-framing.ts';
import type { FrameBatch, FrameSink, LinkPort } from '../shared/net/stack/link-port.ts';
import type { ForwardSpec, NetworkOptions } from '../shared/net/services/network.ts';
import { VirtualNetwork } from '../shared/net/services/network.ts';
import type { NetworkConfig } from '../shared/net/services/network-config.ts';
import { parseIpv4 } from '../shared/net/wire/addr.ts';
import { RelayError } from '../shared/relay-error.ts';
import type { Descriptors } from './descriptors.ts';
import { NodeClock, nodeRandom } from './host/node-clock.ts';
import { NodeHostNet } from './host/node-host-net.ts';
import { removeStaleSocket } from './host/unix-socket.ts';
import { sizedFor, type NetworkParts } from './network-parts.ts';

export interface ListenOptions {
  config?: Partial<NetworkConfig>;
  forwards?: readonly ForwardSpec[];
  log?: (line: string) => void;
  /** who hears of the network's exceptions, and its share of the host's sockets */
  parts?: NetworkParts;
  /** counts connections of the sockets that are listened on */
  descriptors?: Descriptors;
  /** default: a plain VirtualNetwork */
  createNetwork?: (options: NetworkOptions) => VirtualNetwork;
}

export interface Listening {
  readonly network: VirtualNetwork;
  /** where links connect, as `tcp:HOST:PORT` with the port really bound, or `unix:PATH` */
  readonly spec: string;
  close(): Promise<void>;
}

/** bytes that Node may hold for a link before the network waits, and at which it goes on */
const LINK_HIGH = 512 * 1024;
const LINK_LOW = 128 * 1024;

export async function listen(spec: string, options: ListenOptions = {}): Promise<Listening> {
  const network = openNetwork(options);
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    plugIn(network, socket, options.log);
  });
  options.descriptors?.admit(server);
  try {
    await bind(server, spec);
    for (const forward of options.forwards ?? []) await network.addForward(forward);
  } catch (error) {
    network.close();
    server.close();
    throw error;
  }
  return {
    network,
    spec: boundSpec(server, spec),
    close: async () => {
      network.close();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A network on this computer's sockets, without forwards yet. */
export function openNetwork({ config, log, parts, descriptors, createNetwork }: ListenOptions): VirtualNetwork {
  const clock = new NodeClock();
  const options: NetworkOptions = {
    clock, random: nodeRandom, hostNet: new NodeHostNet(clock), config: { ...sizedFor(descriptors ?? null, true), ...config }, ...(log === undefined ? {} : { log }), ...parts,
  };
  return createNetwork?.(options) ?? new VirtualNetwork(options);
}

/** Makes a stream a link of the network. The link ends with the socket, or ends the socket when its bytes are no frames. */
export function plugIn(network: VirtualNetwork, socket: Socket, log?: (line: string) => void): void {
  let port: LinkPort;
  let isFull = false;
  const sink: FrameSink = {
    sendBatch(batch: FrameBatch): boolean {
      if (socket.destroyed) {
        batch.release();
        return true;
      }
      socket.write(batch.bytes.subarray(0, batch.end), () => {
        batch.release();
        if (!isFull || socket.writableLength > LINK_LOW) return;
        isFull = false;
        port.onDrain();
      });
      if (socket.writableLength >= LINK_HIGH) isFull = true;
      return !isFull;
    },
  };
  try {
    port = network.attach(sink);
  } catch (error) {
    log?.(`link refused: ${String(error)}`);
    socket.destroy();
    return;
  }
  const decoder = new FrameDecoder(maxFrameLen(network.config.mtu), (bytes, start, end) => port.receive(bytes, start, end));
  socket.on('data', (chunk: Buffer) => {
    const error = decoder.push(chunk, 0, chunk.length);
    port.flush();
    if (error === null) return;
    log?.(`link closed: ${error}`);
    socket.destroy();
  });
  socket.on('error', (error) => log?.(`link broke: ${error.message}`));
  socket.on('close', () => port.close());
}

async function bind(server: Server, spec: string): Promise<void> {
  const at = parseListenSpec(spec);
  if ('path' in at) await removeStaleSocket(at.path);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(new RelayError('RELAY_LISTEN', `can't listen on ${spec}: ${error.code ?? error.message}`)));
    server.listen(at, resolve);
  });
  // What fails from now on is one connection that could not be accepted.
  server.on('error', () => {});
}

function parseListenSpec(spec: string): { path: string } | { host: string; port: number } {
  const match = /^(?:unix:(?<path>.+)|tcp:(?<host>[^:]*|\[[^\]]*\]):(?<port>\d{1,5}))$/.exec(spec)?.groups;
  if (match?.['path'] !== undefined) return { path: match['path'] };
  const port = Number(match?.['port'] ?? 65_536);
  if (port > 65_535) throw new RelayError('RELAY_BAD_FLAG', `"${spec}" is neither tcp:HOST:PORT nor unix:PATH`);
  return { host: match?.['host'] || '127.0.0.1', port };
}

function boundSpec(server: Server, spec: string): string {
  const address = server.address();
  return typeof address === 'object' && address !== null ? `tcp:${address.address}:${address.port}` : spec;
}

/** `[ip:]host:guest[/udp]`, or with a guest address `[ip:]host:guestIp:guest[/udp]`. */
export function parseForward(text: string): ForwardSpec {
  const match = /^(?:(?<ip>[\d.]+):)?(?<host>\d{1,5}):(?:(?<guestIp>[\d.]+):)?(?<guest>\d{1,5})(?:\/(?<protocol>tcp|udp))?$/.exec(text)?.groups;
  const hostIp = parseIpv4(match?.['ip'] ?? '127.0.0.1');
  const guestIp = match?.['guestIp'] === undefined ? undefined : parseIpv4(match['guestIp']);
  const hostPort = Number(match?.['host'] ?? NaN);
  const guestPort = Number(match?.['guest'] ?? NaN);
  if (hostIp === null || guestIp === null || !(hostPort <= 65_535) || !(guestPort >= 1 && guestPort <= 65_535)) {
    throw new RelayError('RELAY_BAD_FLAG', `-p "${text}" is not [ip:]host:[guestIp:]guest[/udp]`);
  }
  return { protocol: match?.['protocol'] === 'udp' ? 'udp' : 'tcp', hostIp, hostPort, guestPort, ...(guestIp === undefined ? {} : { guestIp }) };
}
