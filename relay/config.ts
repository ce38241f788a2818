/**
 * Every limit and default of the relay, with its unit. Nothing here reads argv or env: main.ts does, once.
 *
 * A cap stands wherever a peer can make something grow; each has a test at the cap. The defaults suit one person's
 * machine with a dozen tabs; a hosted relay will want its own (issue 7), through the same two objects. What both ends of
 * a link must agree on (message and frame sizes, close codes) is in shared/link/tunnel.ts, the network's own options in
 * shared/net/services/network-config.ts.
 *
 * Codes of RelayError that come from here and from what uses it:
 *
 * - `RELAY_BAD_FLAG`: the command line could not be understood; exit status 2.
 * - `RELAY_PORT_IN_USE`, `RELAY_BAD_ADDRESS`: the relay cannot listen there.
 * - `RELAY_TLS`: certificate or key cannot be read, or do not belong together.
 * - `RELAY_NO_RUNTIME`: the program that `--runtime` names is not there, or is none that is known.
 * - `RELAY_CONNECT`: nobody listens where `c2w-net` was to connect.
 * - `RELAY_LISTEN`: `portside listen` cannot listen there.
 * - `RELAY_FORWARD`: the host side of `-p` cannot be opened.
 * - `RELAY_CAPTURE`: the file of `--pcap` cannot be written.
 * - `RELAY_BAD_IMAGE`: `--image` names something that cannot be served.
 * - `RELAY_LIMIT`: a cap was reached; HTTP 429.
 * - `RELAY_CONVERT`: an archive or a reference is no container image that can be converted.
 * - `RELAY_LISTEN`: the sockets of `listen` can't be had.
 * - `RELAY_CONFIG`: a network's configuration is wrong, and how.
 */
import type { LogFormat } from './log.ts';
import { BATCH_BYTES, HELLO_TIMEOUT_MS, MAX_MESSAGE_BYTES, MTU_DEFAULT, MTU_MAX } from '../shared/link/tunnel.ts';

/** What `serve` was told on the command line, checked. */
export interface ServeConfig {
  /** TCP port of the HTTP server; 0 takes any free one */
  port: number;
  /** address to listen on; null means localhost only, on IPv4 and IPv6 */
  host: string | null;
  forwards: ForwardRequest[];
  /** files and URLs of images made elsewhere */
  images: string[];
  /** Origins let in beside our own page's, as browsers send them; `*` lets in every client */
  allowOrigins: string[];
  /** names accepted in the Host header beside localhost and the address listened on */
  allowHosts: string[];
  /** MTU of every link, in `bytes`; null: MTU_DEFAULT, or up to MTU_MAX for a link that asks */
  mtu: number | null;
  /** folder of the built page */
  webDir: string;
  /** folder of the built images and their manifest */
  imagesDir: string;
  /** folder of the images that were made of the page's archives; null: none are made */
  convertedDir: string | null;
  /** https and wss in place of http and ws, or null */
  tls: TlsFiles | null;
  /** WebSockets come in at any path, as at c2w-net, not only at LINK_PATH */
  linkAnywhere: boolean;
  /** file for the frames of all sessions, or null */
  pcap: string | null;
  verbose: boolean;
  logFormat: LogFormat;
}

/** Paths of PEM files. */
export interface TlsFiles {
  cert: string;
  key: string;
}

/** One `-p [ip:]host:guest[/tcp|/udp]`. */
export interface ForwardRequest {
  protocol: 'tcp' | 'udp';
  /** IPv4 address listened on, in dotted form */
  hostIp: string;
  /** port listened on; 0 takes any free one */
  hostPort: number;
  guestPort: number;
}

export const DEFAULT_PORT = 8080;
export const DEFAULT_FORWARD_IP = '127.0.0.1';

/** The limit (`ulimit -n`) below which nothing starts: Node and tsx take half of it. bin/enough-files.mjs has the number too. */
export const DESCRIPTORS_LEAST = 64;

/** What of the descriptors that are free at the start is for whom. */
export interface DescriptorShares {
  /** sockets of guests' flows, ports that are forwarded, and names */
  flows: number;
  /** connections to the relay: links, HTTP, API; of all servers together */
  connections: number;
  /** sockets for names beyond `flows`, out of the reserve */
  names: number;
}

/** for files, programs that are started, and the ports listened on */
const DESCRIPTORS_OWN = 12;
const NAMES = 4;
const FLOWS_LEAST = 8;
const CONNECTIONS_LEAST = 6;
/** with a page on both addresses, frames, API */
const CONNECTIONS_MOST = 2048;
/** beyond, other limits count: memory and ports */
const FLOWS_MOST = 60_000;

/** Null when there is not enough of them. */
export function shareDescriptors(free: number): DescriptorShares | null {
  const rest = free - DESCRIPTORS_OWN - NAMES;
  const connections = Math.min(CONNECTIONS_MOST, Math.max(CONNECTIONS_LEAST, Math.floor(rest / 4)));
  const flows = Math.min(FLOWS_MOST, rest - connections);
  return flows < FLOWS_LEAST ? null : { flows, connections, names: NAMES };
}

/** The most UDP flows of one network: the oldest make room below what it may hold. A flow may take two sockets, and TCP has the other half. `most`: what the network would have without a limit. */
export function udpFlowsOf({ flows }: DescriptorShares, isAlone: boolean, most: number): number {
  return Math.min(most, Math.max(2, Math.floor(flows / (isAlone ? 4 : 8))));
}

/** Limits of one relay. Tests make them small; `serve` uses DEFAULT_LIMITS. */
export interface Limits {
  /** MTU of a link that does not ask, in `bytes` */
  mtu: number;
  /** largest MTU that a link may ask for, in `bytes` */
  maxMtu: number;

  /** sessions alive at once, with or without a link */
  maxSessions: number;
  /** of these, from one client address; every tab of this machine has the same one */
  maxSessionsPerAddress: number;
  /** how long a new session waits for its first link, in `ms` */
  claimMs: number;
  /** how long a session outlives its broken link, in `ms` */
  graceMs: number;

  /** ports of this machine that one session's API may open */
  maxForwardsPerSession: number;

  /** WebSockets that have not said hello, at once */
  maxPendingLinks: number;
  /** how long a WebSocket may take to say hello, in `ms` */
  helloMs: number;
  /** largest WebSocket message from a client, in `bytes` */
  maxMessageBytes: number;
  /** a link that is silent for this long gets a ping, and is cut after as long again, in `ms` */
  heartbeatMs: number;
  /** how long a closing handshake may take before the socket is destroyed, in `ms` */
  closeMs: number;
  /** bytes waiting in a WebSocket at which its network is told to hold traffic back, in `bytes` */
  highWaterBytes: number;
  /** bytes waiting at which the network may go on, in `bytes` */
  lowWaterBytes: number;

  /** open connections to the HTTP server, WebSockets included, per listening address */
  maxConnections: number;
  /** body of a request to the API, in `bytes` */
  maxBodyBytes: number;
  /** archive of a container image that a page hands over, as it comes and uncompressed, in `bytes`; the converter reads no more */
  maxArchiveBytes: number;
  /** what its layers may unpack to, in `bytes` */
  maxUnpackedBytes: number;
  /** all images that were made so, in `bytes` */
  maxConvertedBytes: number;
  /** how long an archive may take to come, in `ms` */
  uploadMs: number;
  /** how long its conversion may take, in `ms` */
  convertMs: number;
  /** all headers of a request together, in `bytes` */
  maxHeaderBytes: number;
  /** from connecting to the last header, in `ms` */
  headersMs: number;
  /** for a request's body, other than an archive, in `ms` */
  requestMs: number;
  /** a connection without traffic in either direction, in `ms`: a reader of an image that stalls */
  idleMs: number;
  /** how often Node looks for connections past headersMs, in `ms` */
  checkMs: number;

  /** distinct refusals (one per Origin, Host or address) that are logged; further ones show with --verbose only */
  maxLoggedRefusals: number;
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  mtu: MTU_DEFAULT,
  maxMtu: MTU_MAX,
  maxSessions: 64,
  maxSessionsPerAddress: 32,
  claimMs: 60_000,
  graceMs: 30_000,
  maxForwardsPerSession: 32,
  maxPendingLinks: 32,
  helloMs: HELLO_TIMEOUT_MS,
  maxMessageBytes: MAX_MESSAGE_BYTES,
  heartbeatMs: 20_000,
  closeMs: 2_000,
  highWaterBytes: 16 * BATCH_BYTES,
  lowWaterBytes: 4 * BATCH_BYTES,
  maxConnections: 512,
  maxBodyBytes: 4 * 1024,
  maxArchiveBytes: 2_000_000_000,
  maxUnpackedBytes: 2 * 1024 ** 3,
  maxConvertedBytes: 20_000_000_000,
  uploadMs: 30 * 60_000,
  convertMs: 15 * 60_000,
  maxHeaderBytes: 16 * 1024,
  headersMs: 10_000,
  requestMs: 15_000,
  idleMs: 60_000,
  checkMs: 2_000,
  maxLoggedRefusals: 100,
};
