/*
 * `run --runtime`: the same container in another WASI runtime, and its network from here.
 *
 *   this process: connect.ts ── TCP on loopback ──▶ the runtime's listening socket ── sock_accept ──▶ the machine
 *   the runtime: a child with our stdin, stdout and stderr
 *
 * The network dials from the start and goes on until the runtime listens. A terminal is put in raw mode for the child, as its
 * guest's own terminal echoes and edits; it gets its mode back whatever happens. A command without a terminal is said to the image
 * (`--no-tty`), which then keeps the streams apart. What ends us (SIGINT, SIGTERM, SIGHUP) ends the child, which has no way to tell its command, and
 * the status is the child's.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { dirname } from 'node:path';
import { parseIpv4 } from '../../shared/net/wire/addr.ts';
import { networkForGuest } from '../../shared/net/services/network-config.ts';
import { RelayError } from '../../shared/relay-error.ts';
import { argumentsFit, guestArguments, guestEnvironment, hostnameFits, macOf, memoryFits } from '../../shared/wasi/arguments.ts';
import { connect } from '../connect.ts';
import { freePort } from '../host/free-port.ts';
import { describeImage } from './image-file.ts';
import type { RunOptions } from './run.ts';
import { streamsOf } from './run.ts';
import { smallTerminalNotice } from './terminal.ts';
import type { Runtime } from './runtimes.ts';

const DISK_DIRECTORY = '/portside';
/** exit status of a program that a signal ended, less the signal's number */
const SIGNAL_STATUS = 128;
const SIGNALS: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15 };
const PASSED_ON = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

export interface ElsewhereOptions extends RunOptions {
  runtime: Runtime;
  runtimeFlags: readonly string[];
  /** HOST:PORT where the runtime listens; null: a free port of 127.0.0.1 */
  wasiAddress: string | null;
}

/** Runs to the end and returns the exit status. Rejects with RelayError. */
export async function runElsewhere(options: ElsewhereOptions): Promise<number> {
  const { runtime: { path, dialect }, net } = options;
  const info = await describeImage(options.image);
  if (net && dialect.listenFd === null) {
    throw new RelayError('RELAY_BAD_FLAG', `${dialect.name} can't give a container a listening socket: leave out --net and -p, or take wazero, wasmtime or the built-in runtime`);
  }
  const directories = [...options.directories ?? []];
  const guarded = directories.find(({ readOnly }) => readOnly);
  if (guarded !== undefined && !dialect.hasReadOnly) {
    throw new RelayError('RELAY_BAD_FLAG', `${dialect.name} lets a container write in all its directories: leave out the :ro of ${guarded.host}, or take another runtime`);
  }
  if (info.disk !== null) directories.push({ host: dirname(options.image), guest: DISK_DIRECTORY, readOnly: true });
  const listen = net ? options.wasiAddress ?? `127.0.0.1:${await freePort()}` : null;
  const streams = streamsOf(info, options);
  const argv = guestArguments(info, { ...options, ...streams, ...(net ? { listenFd: dialect.listenFd!(directories.length) } : {}) });
  const env = guestEnvironment(options);
  const unfit = memoryFits(info, options.memoryMiB) ?? hostnameFits(info, options.hostname) ?? argumentsFit(info, argv, env, directories.filter(({ guest }) => guest !== DISK_DIRECTORY).map(({ guest }) => guest));
  if (unfit !== null) throw new RelayError('RELAY_BAD_FLAG', unfit);
  // Another runtime tells nobody a size.
  const notice = smallTerminalNotice({ resize: false }, process.stdout);
  if (notice !== null) options.report?.(notice);
  const network = listen === null ? null : await openNetwork(listen, macOf(info, argv), options);
  try {
    return await runChild(path, streams.tty, dialect.commandLine({ flags: options.runtimeFlags, env, directories, listen, image: options.image, args: argv.slice(1) }));
  } finally {
    await network?.close();
  }
}

function openNetwork(listen: string, mac: string | null, options: ElsewhereOptions): ReturnType<typeof connect> {
  const { forwards, mtu, log, parts, descriptors, createNetwork } = options;
  return connect(listen, {
    config: { ...networkForGuest(mac), ...(mtu === undefined ? {} : { mtu }) },
    ...(parts === undefined ? {} : { parts }), ...(descriptors === undefined ? {} : { descriptors }),
    forwards: forwards.map(({ protocol, hostIp, hostPort, guestPort }) => ({ protocol, hostIp: parseIpv4(hostIp)!, hostPort, guestPort })),
    ...(log === undefined ? {} : { log, say: log }),
    ...(createNetwork === undefined ? {} : { createNetwork }),
  });
}

async function runChild(path: string, tty: boolean, args: string[]): Promise<number> {
  const release = tty ? takeTerminal() : () => {};
  let child: ChildProcess | null = null;
  const passOn = PASSED_ON.map((signal) => {
    const listener = (): void => void child?.kill(signal);
    process.on(signal, listener);
    return () => process.off(signal, listener);
  });
  try {
    return await new Promise<number>((done, reject) => {
      child = spawn(path, args, { stdio: 'inherit' });
      child.on('error', (error: NodeJS.ErrnoException) => reject(new RelayError('RELAY_NO_RUNTIME', `can't start ${path}: ${error.code ?? error.message}`)));
      child.on('exit', (code, signal) => done(code ?? SIGNAL_STATUS + (SIGNALS[signal ?? ''] ?? 0)));
    });
  } finally {
    for (const forget of passOn) forget();
    release();
  }
}

/** Puts our terminal, if stdin is one, in raw mode. Returns what gives it back. */
function takeTerminal(): () => void {
  const { stdin } = process;
  if (!stdin.isTTY) return () => {};
  const restore = (): void => {
    try {
      stdin.setRawMode(false);
    } catch {
      // The terminal is gone: there is nothing to restore.
    }
  };
  stdin.setRawMode(true);
  process.on('exit', restore);
  return () => {
    process.off('exit', restore);
    restore();
  };
}
