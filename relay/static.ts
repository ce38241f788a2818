/*
 * Static files over HTTP: the page and the images.
 *
 * A request names a file below a root. The name is taken apart and judged segment by segment (no dotfiles, nothing that is
 * not a plain name), the file is opened without following a final symlink, and what was opened must lie below the root's
 * real path. So no spelling of `..` and no symlink leads out; a refusal looks like a file that isn't there.
 *
 * Representations: the file, and siblings FILE.br and FILE.gz made at build time, chosen by Accept-Encoding (RFC 9110
 * §12.5.3; at equal weight br, then gzip). Nothing is compressed while serving. Each representation has its own strong ETag from
 * size and time of change, so If-None-Match answers 304 and If-Range is safe.
 *
 * Range (§14.2): one range, of the uncompressed file only; a request with Range gets the file itself whatever it accepts. This
 * is what reads a NAME.disk lazily. Several ranges at once, or a unit we don't know, are ignored, which §14.2 permits.
 *
 * Own code, as no library does all of it: sirv has no traversal-safe symlink rule and indexes at start (images are built while we
 * run), send and serve-static know no precompressed siblings, and none sets a size header of the uncompressed file.
 */
import { constants } from 'node:fs';
import { open, realpath, type FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

const READ_BYTES = 256 * 1024;
const MAX_SEGMENTS = 16;

const MEDIA_TYPES: Record<string, string> = {
  css: 'text/css; charset=utf-8',
  gif: 'image/gif',
  html: 'text/html; charset=utf-8',
  ico: 'image/x-icon',
  jpg: 'image/jpeg',
  js: 'text/javascript; charset=utf-8',
  json: 'application/json; charset=utf-8',
  map: 'application/json; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  png: 'image/png',
  svg: 'image/svg+xml',
  ttf: 'font/ttf',
  txt: 'text/plain; charset=utf-8',
  wasm: 'application/wasm',
  webmanifest: 'application/manifest+json',
  webp: 'image/webp',
  woff: 'font/woff',
  woff2: 'font/woff2',
};

/** vite's names: anything below assets/ whose name ends in a hash; their contents never change. */
const HASHED = /^assets\/.*-[\w-]{8,}\.[a-z0-9]+$/i;

/** In order of preference at equal weight. */
const SIBLINGS = [
  { coding: 'br', suffix: '.br' },
  { coding: 'gzip', suffix: '.gz' },
] as const;

/** Where a folder's files come from and what is said about them. */
export interface StaticRoot {
  dir: string;
  /** files that lie elsewhere, by the name they are served as: absolute path */
  extra?: ReadonlyMap<string, string>;
  /** adds X-Portside-Bytes, the uncompressed size: Content-Length of a compressed one does not tell a progress bar */
  announceSize?: boolean;
}

interface OpenFile {
  handle: FileHandle;
  /** in `bytes` */
  size: number;
  etag: string;
  /** whole seconds since the epoch, as HTTP dates have them */
  modifiedS: number;
}

/** Answers GET or HEAD for `name` below `root`. False, and nothing sent, when there is no such file. */
export async function serveStatic(root: StaticRoot, name: string, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const segments = plainSegments(name);
  if (segments === null) return false;
  const plain = await openBelow(root, segments.join('/'), '');
  if (plain === null) return false;
  let chosen = plain;
  let coding: string | null = null;
  try {
    if (request.headers.range === undefined) {
      for (const sibling of siblingsByPreference(request.headers['accept-encoding'])) {
        const file = await openBelow(root, segments.join('/'), sibling.suffix);
        if (file === null) continue;
        chosen = file;
        coding = sibling.coding;
        break;
      }
    }
    response.setHeader('Content-Type', mediaType(segments.at(-1)!));
    response.setHeader('Vary', joinVary(response.getHeader('Vary'), 'Accept-Encoding'));
    response.setHeader('Cache-Control', HASHED.test(name) ? 'public, max-age=31536000, immutable' : 'no-cache');
    if (coding !== null) response.setHeader('Content-Encoding', coding);
    if (root.announceSize) response.setHeader('X-Portside-Bytes', plain.size);
    await sendFile(chosen, coding === null, request, response);
  } finally {
    await plain.handle.close();
    if (chosen !== plain) await chosen.handle.close();
  }
  return true;
}

async function sendFile(file: OpenFile, ranges: boolean, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const headers = request.headers;
  response.setHeader('ETag', file.etag);
  response.setHeader('Last-Modified', new Date(file.modifiedS * 1000).toUTCString());
  if (ranges) response.setHeader('Accept-Ranges', 'bytes');

  // RFC 9110 §13.2.2, in its order of precedence.
  if (headers['if-match'] !== undefined ? !matchesEtag(headers['if-match'], file.etag, 'strong') : isModifiedSince(headers['if-unmodified-since'], file.modifiedS) === true) {
    return end(response, 412);
  }
  if (headers['if-none-match'] !== undefined ? matchesEtag(headers['if-none-match'], file.etag, 'weak') : isModifiedSince(headers['if-modified-since'], file.modifiedS) === false) {
    response.removeHeader('Content-Type');
    return end(response, 304);
  }

  let start = 0;
  let stop = file.size;
  if (ranges && headers.range !== undefined && request.method === 'GET' && ifRangeHolds(headers['if-range'], file)) {
    const range = parseRange(headers.range, file.size);
    if (range === 'unsatisfiable') {
      response.setHeader('Content-Range', `bytes */${file.size}`);
      return end(response, 416);
    }
    if (range !== null) {
      ({ start, stop } = range);
      response.statusCode = 206;
      response.setHeader('Content-Range', `bytes ${start}-${stop - 1}/${file.size}`);
    }
  }
  response.setHeader('Content-Length', stop - start);
  if (request.method === 'HEAD' || stop === start) return end(response, response.statusCode);
  const stream = file.handle.createReadStream({ start, end: stop - 1, highWaterMark: READ_BYTES, autoClose: false });
  // The client may go at any time (a stopped download): the stream is destroyed, the caller closes the file.
  await pipeline(stream, response).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE' && error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error;
  });
}

function end(response: ServerResponse, status: number): void {
  response.statusCode = status;
  response.end();
}

/** The segments of a decoded name if each is a plain file or folder name, else null. */
function plainSegments(name: string): string[] | null {
  const segments = name.split('/');
  return segments.length <= MAX_SEGMENTS && segments.every(isPlain) ? segments : null;
}

function isPlain(segment: string): boolean {
  // oxlint-disable-next-line no-control-regex
  return segment !== '' && !segment.startsWith('.') && segment.length <= 255 && !/[\u0000-\u001f\u007f\\:]/.test(segment);
}

async function openBelow(root: StaticRoot, name: string, suffix: string): Promise<OpenFile | null> {
  const extra = root.extra?.get(name);
  const path = extra !== undefined ? extra + suffix : join(root.dir, name + suffix);
  let handle: FileHandle | null = null;
  try {
    if (extra === undefined) {
      const real = await realpath(root.dir);
      if (await realpath(path) !== join(real, name + suffix)) return null;
    }
    // Non-blocking, so that a FIFO in the folder can't hold us.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | (extra === undefined ? constants.O_NOFOLLOW : 0));
    const stat = await handle.stat({ bigint: true });
    if (!stat.isFile()) {
      await handle.close();
      return null;
    }
    const etag = `"${stat.size.toString(36)}-${stat.mtimeNs.toString(36)}${suffix}"`;
    return { handle, size: Number(stat.size), etag, modifiedS: Number(stat.mtimeNs / 1_000_000_000n) };
  } catch (error) {
    await handle?.close();
    if (isMissing(error)) return null;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'EACCES', 'EPERM', 'ENAMETOOLONG', 'ENXIO', 'EISDIR'].includes(code);
}

function mediaType(file: string): string {
  const dot = file.lastIndexOf('.');
  return MEDIA_TYPES[file.slice(dot + 1).toLowerCase()] ?? 'application/octet-stream';
}

function joinVary(before: number | string | string[] | undefined, name: string): string {
  return before === undefined ? name : `${String(before)}, ${name}`;
}

/** Siblings that the client takes, best first. */
function siblingsByPreference(acceptEncoding: string | string[] | undefined): (typeof SIBLINGS)[number][] {
  if (acceptEncoding === undefined) return [];
  const weights = new Map<string, number>();
  for (const item of String(acceptEncoding).split(',')) {
    const [coding, ...parameters] = item.split(';').map((part) => part.trim().toLowerCase());
    const q = parameters.find((parameter) => parameter.startsWith('q='));
    const weight = q === undefined ? 1 : Number(q.slice(2));
    weights.set(coding === 'x-gzip' ? 'gzip' : coding, Number.isFinite(weight) ? weight : 0);
  }
  const weightOf = (coding: string): number => weights.get(coding) ?? weights.get('*') ?? 0;
  const plain = weights.get('identity') ?? 0;
  return SIBLINGS.filter(({ coding }) => weightOf(coding) > 0 && weightOf(coding) >= plain).toSorted((a, b) => weightOf(b.coding) - weightOf(a.coding));
}

/** RFC 9110 §8.8.3.2: If-Match compares strongly, If-None-Match weakly; all our own tags are strong. */
function matchesEtag(list: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (list.trim() === '*') return true;
  return list.split(',').some((item) => {
    const tag = item.trim();
    return tag === etag || (comparison === 'weak' && tag === `W/${etag}`);
  });
}

/** Null when there is no such header or no date in it, which must be ignored. */
function isModifiedSince(date: string | undefined, modifiedS: number): boolean | null {
  const sinceMs = date === undefined ? Number.NaN : Date.parse(date);
  return Number.isNaN(sinceMs) ? null : modifiedS * 1000 > sinceMs;
}

/** RFC 9110 §13.1.5: a strong tag must be equal, a date must be exactly ours; else the whole file is sent. */
function ifRangeHolds(ifRange: string | string[] | undefined, file: OpenFile): boolean {
  if (ifRange === undefined) return true;
  const validator = String(ifRange);
  return validator === file.etag || Date.parse(validator) === file.modifiedS * 1000;
}

/** A single byte range as [start, stop); null when the header must be ignored. */
export function parseRange(header: string, size: number): { start: number; stop: number } | 'unsatisfiable' | null {
  const match = /^bytes=\s*(\d{0,15})-(\d{0,15})\s*$/i.exec(header);
  if (match === null) return null;
  const [, first, last] = match;
  if (first === '' && last === '') return null;
  if (first === '') {
    const suffix = Number(last);
    return suffix === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - suffix), stop: size };
  }
  const start = Number(first);
  // RFC 9110 §14.1.1: a last position before the first makes the whole header invalid.
  if (last !== '' && Number(last) < start) return null;
  if (start >= size) return 'unsatisfiable';
  return { start, stop: last === '' ? size : Math.min(size, Number(last) + 1) };
}

/** The path of a request's target, percent-decoded once, without its leading slash; null if it is malformed. */
export function pathOf(target: string | undefined): string | null {
  if (target === undefined || !target.startsWith('/')) return null;
  const path = target.slice(1).split(/[?#]/, 1)[0];
  try {
    return decodeURIComponent(path);
  } catch {
    return null;
  }
}
