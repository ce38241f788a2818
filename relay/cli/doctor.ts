/**
 * `portside doctor`: what this computer can do, one line for each thing, and what to do where something is missing. Looks and
 * asks only; changes nothing. The status is 1 when `npm start` would fail.
 */
import { execFile } from 'node:child_process';
import { access, constants, statfs } from 'node:fs/promises';
import { arch, freemem, platform, release, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { configuredMirrors } from '../../image/apt-config.ts';
import { httpSend } from '../../image/http-get.ts';
import { DEFAULT_PORT } from '../config.ts';
import { canListen } from '../host/can-listen.ts';
import { NodeClock } from '../host/node-clock.ts';
import { NodeHostNet } from '../host/node-host-net.ts';
import { Images } from '../images.ts';
import { RUNTIME_NAMES } from '../run/runtimes.ts';
import { DOCTOR_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { parseFlags, parseNumber } from './flags.ts';

const MIB = 1024 * 1024;
const NODE_FLOOR = [20, 19] as const;
/** what downloads, intermediate results and images take together, with room to spare, in `MiB` */
const BUILD_DISK_MIB = 2048;
/** what a container of 512 MiB takes while it is converted, in `MiB` */
const BUILD_MEMORY_MIB = 1024;
/** how long the mirror may take to answer, in `ms` */
const MIRROR_MS = 10_000;
const PROGRAM_MS = 10_000;

export interface Check {
  name: string;
  /** `missing`: npm start would fail; `warning`: something else will not work */
  state: 'ok' | 'warning' | 'missing';
  /** what was found */
  found: string;
  /** what to do, or what does not work without it */
  advice?: string;
}

export interface Patient {
  env: CliContext['env'];
  nodeVersion: string;
  webDir: string;
  imagesDir: string;
  port: number;
}

export async function doctor(args: string[], context: CliContext): Promise<number> {
  const flags = parseFlags(args, DOCTOR_FLAGS);
  const port = flags.port ?? (context.env['PORT'] || undefined);
  const checks = await examine({
    env: context.env,
    nodeVersion: process.versions.node,
    webDir: flags.web ?? join(context.root, 'dist/web'),
    imagesDir: flags.images ?? join(context.root, 'dist/images'),
    port: port === undefined ? DEFAULT_PORT : parseNumber('--port', port, 1, 65_535),
  });
  const isWell = checks.every(({ state }) => state !== 'missing');
  if (flags.json) context.print(JSON.stringify({ ok: isWell, version: context.version, checks }, null, 2));
  else for (const line of report(checks)) context.print(line);
  return isWell ? 0 : 1;
}

/** All checks, in the order in which they are reported. */
export async function examine(patient: Patient): Promise<Check[]> {
  const images = (await new Images(patient.imagesDir).built().catch(() => ({ images: [] }))).images.map(({ name }) => name);
  const hostNet = new NodeHostNet(new NodeClock());
  return Promise.all([
    checkNode(patient.nodeVersion),
    checkSystem(),
    checkPage(patient.webDir),
    checkImages(images, patient.imagesDir),
    checkMirror(patient.env, images.length > 0),
    checkDisk(patient.imagesDir, images.length > 0),
    checkPort(patient.port),
    checkNames(hostNet),
    checkIpv6(hostNet),
    checkPing(patient.env),
    checkChromium(patient.env),
    checkRuntimes(patient.env),
  ]);
}

function checkNode(version: string): Check {
  const [major, minor] = version.split('.').map(Number);
  const isNew = major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1]);
  return isNew ? ok('node', version) : missing('node', version, `Portside needs Node ${NODE_FLOOR.join('.')} or newer`);
}

function checkSystem(): Check {
  const found = `${platform()} ${release()}, ${arch()}, ${Math.round(freemem() / MIB)} of ${Math.round(totalmem() / MIB)} MiB of memory free`;
  return freemem() / MIB >= BUILD_MEMORY_MIB ? ok('system', found) : warning('system', found, `building and converting images take ${BUILD_MEMORY_MIB} MiB`);
}

async function checkPage(dir: string): Promise<Check> {
  const isBuilt = await access(join(dir, 'index.html')).then(() => true, () => false);
  return isBuilt ? ok('page', dir) : warning('page', 'not built', 'npm start builds it');
}

function checkImages(names: string[], dir: string): Check {
  return names.length > 0 ? ok('images', names.join(', ')) : warning('images', `none in ${dir}`, 'npm start builds them, with a mirror; or portside serve --image FILE|URL');
}

/** Without images there must be a mirror to build them from. */
async function checkMirror(env: CliContext['env'], isBuilt: boolean): Promise<Check> {
  const [mirror] = configuredMirrors('/etc/apt', env);
  const bad = (found: string, advice: string): Check => (isBuilt ? warning('mirror', found, `${advice}; what is built needs none`) : missing('mirror', found, advice));
  if (mirror === undefined) return bad('none configured', 'configure apt for a Debian mirror, or name one in PORTSIDE_MIRROR');
  try {
    const response = await withTimeout(httpSend(new URL('dists/', mirror.base), {}), MIRROR_MS);
    response.destroy();
    const status = response.statusCode ?? 0;
    return status < 500 ? ok('mirror', 'the one of apt answers') : bad(`it answers ${status}`, 'try later, or name another in PORTSIDE_MIRROR');
  } catch (error) {
    return bad(`no answer (${(error as Error).message})`, 'look at network and proxy, or name another in PORTSIDE_MIRROR');
  }
}

async function checkDisk(dir: string, isBuilt: boolean): Promise<Check> {
  const stats = await statfsAbove(dir);
  if (stats === null) return warning('disk', 'unknown', `can't look at ${dir}`);
  const free = Math.round((stats.bavail * stats.bsize) / MIB);
  const found = `${free} MiB free`;
  if (free >= BUILD_DISK_MIB) return ok('disk', found);
  const advice = `building the images takes up to ${BUILD_DISK_MIB} MiB`;
  return isBuilt ? warning('disk', found, advice) : missing('disk', found, `${advice}: make room`);
}

/** Of the file system that `dir` is on, or would be. */
async function statfsAbove(dir: string): Promise<{ bavail: number; bsize: number } | null> {
  for (let at = dir; ; at = join(at, '..')) {
    const stats = await statfs(at).catch(() => null);
    if (stats !== null || join(at, '..') === at) return stats;
  }
}

async function checkPort(port: number): Promise<Check> {
  const trouble = await canListen('127.0.0.1', port);
  if (trouble === null) return ok('port', `${port} is free`);
  return missing('port', `${port}: ${trouble}`, `stop the program that listens there (it may be Portside itself), or start with --port ${port === 65_535 ? DEFAULT_PORT : port + 1}`);
}

function checkNames(hostNet: NodeHostNet): Check {
  const count = hostNet.resolvers().length;
  if (hostNet.namesResolver()) return ok('dns', `${count} resolver${count === 1 ? '' : 's'} in /etc/resolv.conf`);
  return warning('dns', 'no resolver in /etc/resolv.conf', 'containers find only local names, unless one listens on 127.0.0.1');
}

function checkIpv6(hostNet: NodeHostNet): Check {
  return hostNet.hasIpv6() ? ok('ipv6', 'there is an address for the world') : warning('ipv6', 'no address for the world', 'containers reach IPv6 addresses on this computer only');
}

async function checkPing(env: CliContext['env']): Promise<Check> {
  const path = await findProgram('ping', env);
  if (path === null) return warning('ping', 'no such program', 'ping in a container reaches the gateway only: install iputils-ping');
  const answers = await output(path, ['-n', '-c', '1', '-W', '2', '127.0.0.1']);
  return answers === null ? warning('ping', `${path} does not work here`, 'ping in a container reaches the gateway only: it may lack the right to open its socket') : ok('ping', path);
}

async function checkChromium(env: CliContext['env']): Promise<Check> {
  const path = env['CHROMIUM'] ?? (await findProgram('chromium', env)) ?? (await findProgram('google-chrome', env));
  const about = 'whether a browser has SharedArrayBuffer and all else: open the page there, and About at its left';
  const version = path === null ? null : await output(path, ['--version']);
  return version === null ? warning('browser', 'no Chromium', `only the end-to-end tests need it; ${about}`) : { ...ok('browser', `${path}, ${version.trim().split('\n')[0]}`), advice: about };
}

async function checkRuntimes(env: CliContext['env']): Promise<Check> {
  const found = (await Promise.all(RUNTIME_NAMES.map(async (name) => ((await findProgram(name, env)) === null ? [] : [name])))).flat();
  return ok('runtimes', ['built-in', ...found].join(', '));
}

async function findProgram(name: string, env: CliContext['env']): Promise<string | null> {
  for (const dir of (env['PATH'] ?? '').split(delimiter).filter((part) => part !== '')) {
    if (await access(join(dir, name), constants.X_OK).then(() => true, () => false)) return join(dir, name);
  }
  return null;
}

/** What a program says, null when it fails. */
function output(path: string, args: string[]): Promise<string | null> {
  return promisify(execFile)(path, args, { timeout: PROGRAM_MS }).then(({ stdout }) => stdout, () => null);
}

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`nothing for ${ms / 1000} s`)), ms); });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function report(checks: Check[]): string[] {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks.flatMap(({ name, state, found, advice }) => [
    `${state.padEnd(7)}  ${name.padEnd(width)}  ${found}`,
    ...(advice === undefined ? [] : [`${' '.repeat(7)}  ${' '.repeat(width)}  -> ${advice}`]),
  ]);
}

function ok(name: string, found: string): Check { return { name, state: 'ok', found }; }
function warning(name: string, found: string, advice: string): Check { return { name, state: 'warning', found, advice }; }
function missing(name: string, found: string, advice: string): Check { return { name, state: 'missing', found, advice }; }
