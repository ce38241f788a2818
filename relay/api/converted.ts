/*
 * `/api/converted` (shared/converted.ts): archives come in, images come out. server.ts has checked Host and Origin.
 *
 *   POST ─▶ free? ─▶ room? ─▶ body ─▶ file of a work folder, SHA-256 ─▶ known? ─▶ conversion.ts ─▶ converted.ts ─▶ its name
 *
 * One archive at a time, from its first byte to its image: the next one is told to wait. The body goes to the disk chunk by chunk, and
 * the client's end of the connection is what holds all of it: when that goes, upload or conversion ends, and the work folder is
 * removed, as it is in every other case. The answer begins when the body is complete, so that a refusal has its own status; what goes wrong later is
 * the last line. What comes of a body after its refusal is read and forgotten, as long as other bodies may take.
 */
import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { CONVERTED_PATH, type ConvertNotice, type ConvertOffer } from '../../shared/converted.ts';
import type { Clock, ClockTimer } from '../../shared/net/stack/clock.ts';
import { RelayError } from '../../shared/relay-error.ts';
import type { BodyDeadline } from '../body-deadline.ts';
import type { Limits } from '../config.ts';
import { convertArchive } from '../conversion.ts';
import { Converted, imageNameOf, type ConvertedImage } from '../converted.ts';
import type { Log } from '../log.ts';
import { replyError, replyJson, replyMethods } from '../reply.ts';

/** least time between two steps that are told, in `ms` */
const STEP_MS = 100;
/** a client that reads nothing is told nothing, in `bytes` */
const MAX_QUEUED_BYTES = 64 * 1024;
/** How often a silent conversion says that it goes on, in `ms`: below every idle limit on the way */
const ALIVE_MS = 10_000;
const RETRY_AFTER_S = 5;
const MAX_NAME_CHARS = 100;

/** Why an archive is not taken, with the status for it. */
class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface ConvertedApiOptions {
  converted: Converted;
  limits: Limits;
  clock: Clock;
  log: Log;
  /** of all images that there are */
  names(): Promise<string[]>;
}

export class ConvertedApi {
  readonly #options: ConvertedApiOptions;
  /** the archive under way */
  #job: { abort: AbortController; done: Promise<void> } | null = null;
  #closed = false;

  constructor(options: ConvertedApiOptions) {
    this.#options = options;
  }

  /** Ends what is under way; resolves when nothing of it is left. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#job?.abort.abort(new RelayError('RELAY_CONVERT', 'The relay is stopping.'));
    await this.#job?.done;
  }

  /** Answers a request for `path`, which begins as CONVERTED_PATH does. */
  async handle(path: string, request: IncomingMessage, response: ServerResponse, deadline: BodyDeadline): Promise<void> {
    const { converted, limits } = this.#options;
    if (path !== CONVERTED_PATH) {
      if (request.method !== 'DELETE') return replyMethods(response, 'DELETE');
      if (!(await converted.remove(path.slice(CONVERTED_PATH.length + 1)))) return replyError(response, 404, 'RELAY_NOT_FOUND', 'there is no such image');
      response.statusCode = 204;
      response.end();
      return;
    }
    if (request.method === 'GET') return replyJson(response, 200, { maxBytes: limits.maxArchiveBytes } satisfies ConvertOffer);
    if (request.method !== 'POST') return replyMethods(response, 'GET, POST');
    if (this.#job !== null || this.#closed) {
      response.setHeader('Retry-After', RETRY_AFTER_S);
      return replyError(response, 429, 'RELAY_BUSY', 'Another archive is being converted. Wait until it is done, then try again.');
    }
    const abort = new AbortController();
    response.once('close', () => abort.abort(new Error('the client has gone')));
    const taken = this.#take(request, response, deadline, abort);
    this.#job = { abort, done: taken.then(() => undefined, () => undefined) };
    // Whoever has the answer may come with the next archive.
    const answer = await taken.finally(() => { this.#job = null; });
    if (response.destroyed || request.socket.destroyed) return;
    answer();
    if (request.complete) return;
    deadline.set(limits.requestMs);
    request.resume();
  }

  /** Returns the end of the answer. */
  async #take(request: IncomingMessage, response: ServerResponse, deadline: BodyDeadline, abort: AbortController): Promise<() => void> {
    const { converted, limits, clock, log } = this.#options;
    let work: string | null = null;
    let limit: ClockTimer | null = null;
    const end = (notice: ConvertNotice): void => { response.end(`${JSON.stringify(notice)}\n`); };
    deadline.set(limits.uploadMs);
    try {
      if (Number(request.headers['content-length'] ?? 0) > limits.maxArchiveBytes) throw tooLarge(limits);
      if (await converted.bytes() >= limits.maxConvertedBytes) throw new Refusal(507, 'RELAY_FULL', `The images made of archives take ${gigabytes(limits.maxConvertedBytes)} already. Remove some of them under Images.`);
      work = await converted.openWork();
      const fileName = fileNameOf(request.url ?? '');
      const archive = join(work, fileName.replace(/[^\w.+-]/g, '-').replace(/^\.+/, '') || 'archive');
      const id = Converted.idOf(await receive(request, archive, limits));
      response.setHeader('Content-Type', 'application/x-ndjson; charset=utf-8');
      response.setHeader('Cache-Control', 'no-store');
      const startedMs = clock.nowMs();
      limit = clock.startTimer(limits.convertMs, () => abort.abort(new RelayError('RELAY_CONVERT', `Its conversion took more than ${Math.round(limits.convertMs / 60_000)} minutes.`)));
      const onStep = tellSteps(response, clock);
      const image = await converted.find(id) ?? await this.#convert(archive, id, { fileName, work, signal: abort.signal, onStep });
      log.debug(`made ${image.name} of an archive in ${Math.round(clock.nowMs() - startedMs)} ms`);
      return () => end({ name: image.name });
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal === null) {
        if (abort.signal.aborted) return () => undefined;
        throw error;
      }
      const { status, code } = refusal;
      const message = work === null ? refusal.message : refusal.message.replaceAll(`${work}/`, '');
      log.debug(`an archive was refused: ${message}`);
      return () => (response.headersSent ? end({ error: code, message }) : replyError(response, status, code, message));
    } finally {
      limit?.cancel();
      if (work !== null) await rm(work, { recursive: true, force: true });
    }
  }

  async #convert(archive: string, id: string, job: { fileName: string; work: string; signal: AbortSignal; onStep(step: string): void }): Promise<ConvertedImage> {
    const { converted, limits, names } = this.#options;
    const out = join(job.work, 'out');
    await convertArchive(archive, out, { name: imageNameOf(job.fileName), maxUnpackedBytes: limits.maxUnpackedBytes, signal: job.signal, onStep: job.onStep });
    return converted.adopt(out, id, job.fileName, new Set(await names()));
  }
}

/** Lines of the answer, from now on; returns what tells of a step. */
function tellSteps(response: ServerResponse, clock: Clock): (step: string) => void {
  let toldMs = -Infinity;
  let alive: ClockTimer | null = null;
  const keepAlive = (): void => {
    alive = clock.startTimer(ALIVE_MS, () => {
      if (response.writableLength === 0) response.write('\n');
      keepAlive();
    });
  };
  response.once('close', () => alive?.cancel());
  keepAlive();
  response.flushHeaders();
  return (step) => {
    const nowMs = clock.nowMs();
    if (nowMs - toldMs < STEP_MS || response.writableLength > MAX_QUEUED_BYTES) return;
    toldMs = nowMs;
    response.write(`${JSON.stringify({ step } satisfies ConvertNotice)}\n`);
  };
}

/** Writes the body to `path` and returns its SHA-256. */
async function receive(request: IncomingMessage, path: string, limits: Limits): Promise<string> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      bytes += (chunk as Buffer).length;
      if (bytes > limits.maxArchiveBytes) throw tooLarge(limits);
      hash.update(chunk as Buffer);
      await file.writeFile(chunk as Buffer);
    }
  } finally {
    await file.close();
  }
  if (bytes === 0) throw new Refusal(400, 'RELAY_CONVERT', 'The archive is empty.');
  return hash.digest('hex');
}

function tooLarge({ maxArchiveBytes }: Limits): Refusal {
  return new Refusal(413, 'RELAY_LIMIT', `An archive may have ${gigabytes(maxArchiveBytes)} here.`);
}

function asRefusal(error: unknown): Refusal | null {
  if (error instanceof Refusal) return error;
  const text = error instanceof Error ? error.message : '';
  // The converter's own comes as its sentence.
  if (/^(ENOSPC|EDQUOT)\b/.test(error instanceof RelayError ? text : (error as NodeJS.ErrnoException).code ?? '')) return new Refusal(507, 'RELAY_FULL', 'The disk of the relay’s computer is full. Make room there, or remove images under Images.');
  return error instanceof RelayError ? new Refusal(400, error.code, text) : null;
}

function fileNameOf(target: string): string {
  const name = new URL(target, 'http://relay').searchParams.get('name') ?? '';
  return name.slice(-MAX_NAME_CHARS) || 'archive.tar';
}

function gigabytes(bytes: number): string {
  return bytes < 1e9 ? `${Math.floor(bytes / 1e6)} MB` : `${Math.floor(bytes / 1e8) / 10} GB`;
}
