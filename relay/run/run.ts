/*
 * A container in this terminal: the image, the WASI host and the network are those of the browser, in one process.
 *
 * Theory of operation
 *
 *   main thread: terminal.ts (tty ↔ rings) or pipes.ts (three streams ↔ rings), signals.ts, network-link.ts (rings ↔ VirtualNetwork)
 *   worker_thread: container-thread.ts, blocked in `_start`
 *
 * The thread loads the image and says what it is; then the rings, the terminal and the network are made, and it is told
 * to start. The run is over when the thread says that the guest has ended and its last byte was written, or when the user
 * or a signal ends it; then everything is closed in reverse order and the status returned.
 *
 * Terminal or pipes (`streamsOf`): as \`docker run\`, by what stdin and stdout are, unless it is said.
 */
import { Worker } from 'node:worker_threads';
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { parseIpv4 } from '../../shared/net/wire/addr.ts';
import { networkForGuest } from '../../shared/net/services/network-config.ts';
import type { NetworkOptions, VirtualNetwork } from '../../shared/net/services/network.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { argumentsFit, guestArguments, guestEnvironment, hostnameFits, macOf, memoryFits, saysTty, skipsStdin } from '../../shared/wasi/arguments.ts';
import type { CompilerSettings } from '../../shared/wasi/compiler-fd.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { ForwardRequest } from '../config.ts';
import type { Descriptors } from '../descriptors.ts';
import { sizedFor, type NetworkParts } from '../network-parts.ts';
import type { ContainerData, SharedDirectory, StartMessage, ThreadMessage } from './container-protocol.ts';
import { NetworkLink } from './network-link.ts';
import { Pipes } from './pipes.ts';
import { saveTo } from './save-on-disk.ts';
import { passSignalsOn } from './signals.ts';
import { smallTerminalNotice, Terminal } from './terminal.ts';

/** docker's */
const STOP_TIMEOUT_MS = 10_000;

export interface RunOptions {
  /** path of the wasm file; its disk lies beside it */
  image: string;
  /** flags of the image, and the command with its arguments */
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  net: boolean;
  /** ports of the host that lead into the container; only with `net` */
  forwards: readonly ForwardRequest[];
  /** of this computer, for the container */
  directories?: readonly SharedDirectory[];
  mac?: string;
  hostname?: string;
  /** whether the command gets a terminal; by what stdin and stdout are when absent */
  tty?: boolean;
  /** stdin is the command's, be it a terminal that somebody else reads from as well */
  interactive?: boolean;
  /** between a signal that means an end, and the end, in `ms`; Infinity: never; 10 s when absent */
  stopTimeoutMs?: number;
  /** file of a saved container to go on with, in place of a start */
  resume?: string;
  /** where the container is saved when it is ended from outside */
  save?: string;
  /** one line for the user: of a save, of a terminal that is too small */
  report?: (line: string) => void;
  /** the image's own when absent */
  memoryMiB?: number;
  /** for the machine's translator, if it has one; null: it interprets */
  compiler?: CompilerSettings | null;
  /** of the network, in `bytes`; 1500 when absent */
  mtu?: number;
  /** debug lines of the network */
  log?: (line: string) => void;
  /** who hears of the network's exceptions, and its share of the host's sockets */
  parts?: NetworkParts;
  descriptors?: Descriptors;
  /** default: a plain VirtualNetwork */
  createNetwork?: (options: NetworkOptions) => VirtualNetwork;
}

/** Runs to the end and returns the container's exit status. Rejects with RelayError. */
export async function run(options: RunOptions): Promise<number> {
  const data: ContainerData = { image: options.image };
  const thread = new Worker(new URL('./container-thread.mjs', import.meta.url), { workerData: data });
  const closers: (() => void | Promise<unknown>)[] = [() => thread.terminate()];
  try {
    const info = await loaded(thread);
    const streams = streamsOf(info, options);
    const line = { ...options, ...streams };
    const args = guestArguments(info, line);
    const env = guestEnvironment(line);
    const unfit = memoryFits(info, options.memoryMiB) ?? hostnameFits(info, options.hostname) ?? argumentsFit(info, args, env, (options.directories ?? []).map(({ guest }) => guest));
    if (unfit !== null) throw new RelayError('RELAY_BAD_FLAG', unfit);
    const { resume, save } = options;
    if (info.id === null && (resume ?? save) !== undefined) throw new RelayError('RELAY_BAD_FLAG', 'containers of this image cannot be saved: it was made by container2wasm, or by an earlier version of Portside');
    const notice = streams.tty ? smallTerminalNotice(info, process.stdout) : null;
    if (notice !== null) options.report?.(notice);
    const memory = makeContainerMemory(options.net);
    if (options.net) closers.push(await openNetwork(memory, macOf(info, args), options));
    return await runIn(thread, info, { memory, args, env, net: options.net, directories: [...(options.directories ?? [])], resume: resume ?? null, pipes: !streams.tty, compiler: options.compiler === undefined ? {} : options.compiler }, streams, options);
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

/** What the command is given for stdin, stdout and stderr. */
export interface Streams {
  /** one terminal for all three; else three pipes */
  tty: boolean;
  /** it reads our stdin */
  stdin: boolean;
}

/**
 * A terminal where stdin and stdout are one, or where it is asked for; and where there is no other way: in images without pipes, and for
 * containers that are saved. Where stdout alone is none, the keys are those of whoever reads it (`run … | less`), unless `interactive`.
 * Throws RELAY_BAD_FLAG.
 */
export function streamsOf(info: ImageInfo, options: Pick<RunOptions, 'args' | 'tty' | 'interactive' | 'save' | 'resume'>): Streams {
  const { stdin, stdout } = process;
  const said = saysTty(options.args, info) ?? options.tty;
  const saved = options.save !== undefined || options.resume !== undefined;
  if (said === false && !info.pipes) throw new RelayError('RELAY_BAD_FLAG', 'this image has a terminal in any case: it was made by container2wasm, or by an earlier version of Portside. Leave out -T');
  if (said === false && saved) throw new RelayError('RELAY_BAD_FLAG', 'a container that is saved or resumed has a terminal: --save and --resume without -T');
  const tty = said ?? (!info.pipes || saved || (stdin.isTTY === true && stdout.isTTY === true));
  const othersKeys = said === undefined && !tty && stdin.isTTY === true && options.interactive !== true;
  return { tty, stdin: !skipsStdin(options.args, info) && !othersKeys };
}

/** What the image is, once it is compiled. */
function loaded(thread: Worker): Promise<ImageInfo> {
  return new Promise((resolve, reject) => {
    thread.once('message', (message: ThreadMessage) => {
      if (message.type === 'loaded') resolve(message.info);
      else reject(new RelayError('RELAY_BAD_IMAGE', message.type === 'refused' ? message.message : 'the image ended before it began'));
    });
    thread.once('error', reject);
  });
}

/** Between our streams and the guest, until one of them has had enough. */
async function runIn(thread: Worker, info: ImageInfo, start: StartMessage, streams: Streams, options: RunOptions): Promise<number> {
  let onKill: (status: number) => void = () => {};
  const killed = new Promise<number>((resolve) => { onKill = resolve; });
  const { memory } = start;
  const terminal = streams.tty ? new Terminal({ memory, stdin: streams.stdin, resize: info.resize, onKill }) : null;
  const ours = terminal ?? new Pipes(memory, streams.stdin);
  const forgetSignals = passSignalsOn({ memory, reaches: info.pipes && options.save === undefined && options.resume === undefined, graceMs: options.stopTimeoutMs ?? STOP_TIMEOUT_MS, onKill });
  const ended = new Promise<ThreadMessage>((resolve, reject) => {
    thread.on('message', (message: ThreadMessage) => {
      if (message.type === 'resumed') terminal?.showAgain(message.screen);
      else resolve(message);
    });
    thread.once('error', reject);
  });
  try {
    thread.postMessage(start);
    const finished = ended.then(async (message) => {
      if (message.type === 'ended') await ours.outputDone;
      return message;
    });
    const outcome = await Promise.race([killed, finished]);
    const failure = ours instanceof Pipes ? ours.failure : null;
    if (failure !== null) throw new RelayError('RELAY_OUTPUT_LOST', failure);
    if (typeof outcome !== 'number') return statusOf(outcome);
    if (options.save !== undefined && terminal !== null) await keep(options.save, info, memory, terminal, ended, options);
    return outcome;
  } finally {
    forgetSignals();
    ours.close();
  }
}

function statusOf(message: ThreadMessage): number {
  if (message.type === 'not-resumed') throw new RelayError('RELAY_BAD_SAVE', message.message);
  if (message.type === 'refused') throw new RelayError('RELAY_BAD_IMAGE', message.message);
  if (message.type === 'ended' && message.end.kind === 'exit') return message.end.code & 0xff;
  const why = message.type === 'ended' && message.end.kind === 'trap' ? message.end.message : 'it said what it should not';
  throw new RelayError('RELAY_CONTAINER_CRASHED', `the container's machine crashed: ${why}`);
}

async function keep(path: string, info: ImageInfo, memory: ContainerMemory, terminal: Terminal, ended: Promise<unknown>, options: RunOptions): Promise<void> {
  const image = { id: info.id!, name: info.name, title: info.title };
  const { cols, rows } = terminal.size();
  const { bytes } = await saveTo(path, memory, { image, source: info.name, cols, rows, terminals: [], screen: (position) => terminal.screen(position) }, ended);
  options.report?.(`saved to ${path} (${(bytes / (1 << 20)).toFixed(1)} MiB)`);
}

/** A network for this container alone. Returns what closes it. */
async function openNetwork(memory: ContainerMemory, mac: string | null, options: RunOptions): Promise<() => void> {
  const [{ VirtualNetwork }, { NodeHostNet }, { NodeClock, nodeRandom }] = await Promise.all([
    import('../../shared/net/services/network.ts'),
    import('../host/node-host-net.ts'),
    import('../host/node-clock.ts'),
  ]);
  const clock = new NodeClock();
  const config = { ...networkForGuest(mac), ...sizedFor(options.descriptors ?? null, true), ...(options.mtu === undefined ? {} : { mtu: options.mtu }) };
  const networkOptions: NetworkOptions = {
    clock, random: nodeRandom, hostNet: new NodeHostNet(clock), config, ...(options.log === undefined ? {} : { log: options.log }), ...options.parts,
  };
  const network = options.createNetwork?.(networkOptions) ?? new VirtualNetwork(networkOptions);
  try {
    for (const { protocol, hostIp, hostPort, guestPort } of options.forwards) {
      const ip = parseIpv4(hostIp);
      if (ip === null) throw new RelayError('RELAY_BAD_FLAG', `${hostIp} is no IPv4 address`);
      await network.addForward({ protocol, hostIp: ip, hostPort, guestPort });
    }
    const link = new NetworkLink(memory, (sink) => network.attach(sink));
    return () => {
      link.close();
      network.close();
    };
  } catch (error) {
    network.close();
    throw error;
  }
}
