/*
 * Other WASI runtimes that can hold a container, each with its own words for the same things: variables, directories, a listening
 * socket. All of this is taken from their documents and `--help`; README has a table of what each can't do.
 *
 * Descriptors. WASI gives preopened things the numbers from 3 on, in an order that is the runtime's own: wazero puts directories first
 * and then sockets, wasmtime sockets first. An image looks for its socket at 3 unless `--net=…=listenfd=N` says otherwise.
 */
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { basename, delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { RelayError } from '../../shared/relay-error.ts';
import type { SharedDirectory } from './container-protocol.ts';

export interface RuntimeLine {
  /** flags of the user's for the runtime */
  flags: readonly string[];
  /** `NAME=value` */
  env: readonly string[];
  directories: readonly SharedDirectory[];
  /** HOST:PORT of the listening socket, or null */
  listen: string | null;
  image: string;
  /** flags of the image, and the command */
  args: readonly string[];
}

export type RuntimeName = 'wasmtime' | 'wazero' | 'wasmedge';

export interface Dialect {
  name: string;
  /** descriptor of the listening socket behind so many directories; null: it can't listen */
  listenFd: ((directories: number) => number) | null;
  /** it can keep a program from writing in a directory */
  hasReadOnly: boolean;
  commandLine(line: RuntimeLine): string[];
}

const FIRST_FD = 3;
/** how long a program may take to say its version, in `ms` */
const VERSION_MS = 10_000;

const wasmtime: Dialect = {
  name: 'wasmtime',
  listenFd: () => FIRST_FD,
  hasReadOnly: false,
  commandLine: ({ flags, env, directories, listen, image, args }) => [
    'run',
    // Its newer WASI has no listening sockets.
    ...(listen === null ? [] : ['-S', 'preview2=n', '-S', `tcplisten=${listen}`]),
    ...env.flatMap((variable) => ['--env', variable]),
    ...directories.flatMap(({ host, guest }) => ['--dir', `${host}::${guest}`]),
    ...flags, '--', image, ...args,
  ],
};

const wasmtime13: Dialect = {
  name: 'wasmtime 13 or older',
  listenFd: () => FIRST_FD,
  hasReadOnly: false,
  commandLine: ({ flags, env, directories, listen, image, args }) => [
    'run',
    ...(listen === null ? [] : [`--tcplisten=${listen}`]),
    ...env.flatMap((variable) => ['--env', variable]),
    ...directories.flatMap(({ host, guest }) => ['--mapdir', `${guest}::${host}`]),
    ...flags, '--', image, ...args,
  ],
};

const wazero: Dialect = {
  name: 'wazero',
  listenFd: (directories) => FIRST_FD + directories,
  hasReadOnly: true,
  commandLine: ({ flags, env, directories, listen, image, args }) => [
    'run',
    ...(listen === null ? [] : ['-listen', listen]),
    ...env.flatMap((variable) => ['-env', variable]),
    ...directories.flatMap(({ host, guest, readOnly }) => ['-mount', `${host}:${guest}${readOnly ? ':ro' : ''}`]),
    ...flags, image, '--', ...args,
  ],
};

const wasmedge: Dialect = {
  name: 'wasmedge',
  // It has sockets by imports of its own only.
  listenFd: null,
  hasReadOnly: true,
  commandLine: ({ flags, env, directories, image, args }) => [
    'run',
    ...env.flatMap((variable) => ['--env', variable]),
    ...directories.flatMap(({ host, guest, readOnly }) => ['--dir', `${guest}:${host}${readOnly ? ':readonly' : ''}`]),
    ...flags, image, ...args,
  ],
};

const DIALECTS: Record<RuntimeName, Dialect> = { wasmtime, wazero, wasmedge };
export const RUNTIME_NAMES = Object.keys(DIALECTS) as RuntimeName[];

export interface Runtime {
  /** path of the program */
  path: string;
  dialect: Dialect;
}

/** The runtime of that name or path. `old` says that a wasmtime is 13 or older. Rejects with RELAY_NO_RUNTIME. */
export async function findRuntime(nameOrPath: string, env: Readonly<Record<string, string | undefined>>, old = false): Promise<Runtime> {
  const path = nameOrPath.includes('/') ? resolve(nameOrPath) : await inPath(nameOrPath, env['PATH'] ?? '');
  if (path === null || !(await isProgram(path))) {
    throw new RelayError('RELAY_NO_RUNTIME', `no program ${nameOrPath}${path === null ? ' in PATH' : ''}: install it, or give its path with --runtime PATH`);
  }
  const version = await versionOf(path);
  const name = RUNTIME_NAMES.find((one) => basename(path).includes(one)) ?? RUNTIME_NAMES.find((one) => version.includes(one));
  if (name === undefined) {
    throw new RelayError('RELAY_NO_RUNTIME', `${path} is none of ${RUNTIME_NAMES.join(', ')}, whose flags are known here: run it yourself with a listening socket, and \`portside connect\` beside it`);
  }
  const isOld = name === 'wasmtime' && (old || Number(/wasmtime(?:-cli)? (\d+)\./.exec(version)?.[1] ?? 14) < 14);
  return { path, dialect: isOld ? wasmtime13 : DIALECTS[name] };
}

/** What it says of itself, be it that it knows no such flag. */
async function versionOf(path: string): Promise<string> {
  const said = ({ stdout, stderr }: { stdout: string; stderr: string }): string => `${stdout}${stderr}`.toLowerCase();
  return promisify(execFile)(path, ['--version'], { timeout: VERSION_MS }).then(said, (error: unknown) => said({ stdout: '', stderr: '', ...(error as object) }));
}

async function inPath(name: string, path: string): Promise<string | null> {
  for (const dir of path.split(delimiter)) {
    const file = join(dir, name);
    if (dir !== '' && await isProgram(file)) return file;
  }
  return null;
}

function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(() => true, () => false);
}
