/*
 * A registry (OCI distribution-spec): manifests and blobs over HTTPS, over HTTP only for this computer's own or where it is asked for.
 *
 * Authorization: the first answer 401 says how. `Bearer` names a token server, which is asked once per image (with name and password where
 * there are any); `Basic` wants them directly. What we hold goes to the registry alone: a blob's redirect to another host is followed
 * without it, a token server gets a password only over HTTPS or on this computer, and nothing leads from HTTPS to HTTP.
 *
 * Blobs go into .cache/blobs/DIGEST.part, continued after a break (within one run and by the next), checked, then renamed. They are
 * removed when the image has been converted. Manifests are small and read into memory, up to a cap.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { HttpFailure, httpSend, reasonOf, type HttpHeaders } from '../http-get.ts';
import { ImageBuildError } from '../image-error.ts';
import { parseObject } from './image-config.ts';
import { ACCEPTED_TYPES, checkDigest, isDigest, MAX_JSON, printable, resolveImage, type BlobStore, type ContainerImage, type Descriptor, type Platform } from './oci.ts';

const MAX_REDIRECTS = 5;
/** Attempts at one blob that brought next to nothing, until it is given up */
const MAX_BARREN = 3;
/** What an attempt has to bring, in `bytes`: a server that ends after each byte would be asked for ever */
const LEAST_PROGRESS = 64 * 1024;
/** Longest answer of a token server, or about an error, in `bytes` */
const MAX_ANSWER = 64 * 1024;

export interface Reference {
  /** with port */
  host: string;
  name: string;
  /** tag, or digest */
  target: string;
}

export interface RegistryOptions {
  platform: Platform;
  /** HTTP for any host */
  plainHttp: boolean;
  /** `USER:PASSWORD`, or null */
  credentials: string | null;
  blobDir: string;
  /** largest blob, in `bytes` */
  maxBytes: number;
  report(text: string, done?: number, total?: number): void;
  /** asks a server; default: over the network */
  send?: typeof httpSend;
}

/** `HOST[:PORT]/NAME[:TAG][@DIGEST]`. A name without a host is refused: which registry is meant is not ours to say. */
export function parseReference(text: string): Reference {
  const [, host, name, tag, digest] = /^([^/@]+)\/([^:@]+)(?::([^@]*))?(?:@(.*))?$/.exec(text) ?? [];
  const isHost = host !== undefined && /^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/.test(host) && (/[.:]/.test(host) || host === 'localhost');
  if (!isHost) throw new ImageBuildError(`${JSON.stringify(text)} is no file and names no registry: an image of a registry is HOST/NAME:TAG, as in registry.example/alpine:3`);
  if (!/^[a-z0-9]+([._/-]+[a-z0-9]+)*$/.test(name) || name.length > 255) throw new ImageBuildError(`${JSON.stringify(name)} can't be the name of an image: it has lower case letters, digits and . _ - /`);
  if (tag !== undefined && !/^\w[\w.-]{0,127}$/.test(tag)) throw new ImageBuildError(`${JSON.stringify(tag)} can't be a tag`);
  if (digest !== undefined && !isDigest(digest)) throw new ImageBuildError(`${JSON.stringify(digest)} is no digest`);
  return { host, name, target: digest ?? tag ?? 'latest' };
}

/** Whether `host[:port]` is this computer. */
export function isLocal(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  return name === 'localhost' || name === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(name);
}

export async function openRegistry(reference: Reference, options: RegistryOptions): Promise<ContainerImage> {
  const registry = new Registry(reference, options);
  const { host, name, target } = reference;
  const label = `${host}/${name}${isDigest(target) ? '@' : ':'}${target}`;
  options.report(`asking ${host}`);
  const manifest = await registry.manifest(target);
  const image = await resolveImage(manifest, registry, options.platform, label);
  return { ...image, forget: () => registry.forget() };
}

class Registry implements BlobStore {
  readonly #base: URL;
  readonly #name: string;
  readonly #options: RegistryOptions;
  readonly #send: typeof httpSend;
  readonly #files = new Set<string>();
  #authorization: string | null = null;

  constructor({ host, name }: Reference, options: RegistryOptions) {
    this.#base = new URL(`${options.plainHttp || isLocal(host) ? 'http' : 'https'}://${host}/v2/`);
    this.#name = name;
    this.#options = options;
    this.#send = options.send ?? httpSend;
  }

  async manifest(target: string): Promise<Uint8Array> {
    const response = await this.#get(`manifests/${target}`, { accept: ACCEPTED_TYPES.join(', ') });
    const bytes = await readBody(response, MAX_JSON, 'the manifest');
    const said = response.headers['docker-content-digest'];
    if (isDigest(target)) checkDigest(bytes, target, 'the manifest');
    else if (typeof said === 'string' && isDigest(said)) checkDigest(bytes, said, 'the manifest');
    return bytes;
  }

  async read(descriptor: Descriptor): Promise<Uint8Array> {
    // A manifest of an index lies with the manifests.
    if (ACCEPTED_TYPES.includes(descriptor.mediaType)) return this.manifest(descriptor.digest);
    const { blobDir, maxBytes } = this.#options;
    if (descriptor.size > maxBytes) throw new ImageBuildError(`blob ${descriptor.digest} is larger than is allowed; --max-size MIB raises the limit`);
    await mkdir(blobDir, { recursive: true });
    const file = join(blobDir, descriptor.digest.replace(':', '-'));
    this.#files.add(file);
    // One that is there already may have been damaged since.
    if ((await sizeOf(file)) !== descriptor.size || (await hashFile(file, descriptor.digest).catch(() => '')) !== descriptor.digest) await this.#download(descriptor, file);
    return readFile(file);
  }

  async forget(): Promise<void> {
    for (const file of this.#files) await rm(file, { force: true });
  }

  async #download(descriptor: Descriptor, file: string): Promise<void> {
    const part = `${file}.part`;
    let barren = 0;
    for (;;) {
      const before = await sizeOf(part);
      let trouble = '';
      try {
        if (before !== descriptor.size || before === 0) await this.#append(descriptor, part, before);
      } catch (error) {
        if (!(error instanceof HttpFailure) || (error.status >= 400 && error.status < 500 && error.status !== 429)) throw error;
        trouble = error.message;
      }
      const size = await sizeOf(part);
      if (size === descriptor.size) {
        if ((await hashFile(part, descriptor.digest)) === descriptor.digest) return rename(part, file);
        await rm(part, { force: true });
        trouble = `blob ${descriptor.digest} arrived with another digest`;
      }
      if (size >= before + LEAST_PROGRESS && size < descriptor.size) continue;
      if (++barren >= MAX_BARREN) throw new ImageBuildError(`${this.#base.host}: ${trouble || `blob ${descriptor.digest} ends early`}`);
    }
  }

  /** One request for what is missing behind `from`. */
  async #append(descriptor: Descriptor, part: string, from: number): Promise<void> {
    const { report } = this.#options;
    const response = await this.#get(`blobs/${descriptor.digest}`, from > 0 ? { range: `bytes=${from}-` } : {});
    // 200 to a range: everything, from the start.
    let total = response.statusCode === 206 ? from : 0;
    const isPart = response.statusCode === 206;
    if (isPart && !(response.headers['content-range'] ?? '').startsWith(`bytes ${from}-`)) {
      response.destroy();
      await rm(part, { force: true });
      throw new HttpFailure('the server sends another range than was asked for', 0);
    }
    response.on('data', (chunk: Buffer) => {
      total += chunk.length;
      report(`${descriptor.digest.slice(0, 19)}`, total, descriptor.size);
      if (total > descriptor.size) response.destroy(new HttpFailure(`blob ${descriptor.digest} is longer than the manifest says`, 0));
    });
    try {
      await pipeline(response, createWriteStream(part, { flags: isPart ? 'a' : 'w' }));
    } catch (error) {
      if (total > descriptor.size) await rm(part, { force: true });
      throw error instanceof HttpFailure ? error : new HttpFailure(reasonOf(error), 0);
    }
  }

  /** GET below /v2/NAME/, authorized when the server asks for it, redirects followed. The status is 200 or 206. */
  async #get(path: string, headers: HttpHeaders): Promise<IncomingMessage> {
    const start = new URL(`${this.#name}/${path}`, this.#base);
    let url = start;
    let hasAsked = false;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const isHome = url.origin === start.origin;
      const response = await this.#send(url, isHome && this.#authorization !== null ? { ...headers, authorization: this.#authorization } : headers);
      const status = response.statusCode ?? 0;
      if (status === 200 || status === 206) return response;
      const { location } = response.headers;
      if (status === 401 && isHome && !hasAsked) {
        response.destroy();
        hasAsked = true;
        this.#authorization = await this.#authorize(response.headers['www-authenticate'] ?? '');
      } else if (status === 416) {
        // What is there is no beginning of the blob.
        response.destroy();
        delete headers.range;
      } else if (status >= 300 && status < 400 && location !== undefined) {
        // Its body may have no end.
        response.destroy();
        url = this.#redirect(url, location);
      } else {
        throw await this.#refusal(status, response, path);
      }
    }
    throw new ImageBuildError(`${this.#base.host}: too many redirects`);
  }

  #redirect(from: URL, location: string): URL {
    let url: URL;
    try {
      url = new URL(location, from);
    } catch {
      throw new ImageBuildError(`${this.#base.host} redirects to nowhere`);
    }
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && from.protocol === 'http:')) throw new ImageBuildError(`${this.#base.host} redirects from ${from.protocol} to ${url.protocol}, which is not followed`);
    return url;
  }

  async #refusal(status: number, response: IncomingMessage, path: string): Promise<Error> {
    const text = await readBody(response, MAX_ANSWER, 'the error').then(messageOf).catch(() => '');
    const what = `${this.#base.host}/${this.#name} (${path.slice(0, 40)})`;
    const hint = status === 401 || status === 403 ? 'it wants other credentials: --creds USER:PASSWORD' : status === 404 ? 'there is no such image or tag' : `it answers ${status}`;
    return new HttpFailure(`${what}: ${hint}${text === '' ? '' : ` (${text})`}`, status);
  }

  /** RFC 6750 and Docker's token authentication: the header to send from now on. */
  async #authorize(challenge: string): Promise<string> {
    const { credentials } = this.#options;
    const basic = credentials === null ? null : `Basic ${Buffer.from(credentials).toString('base64')}`;
    const { host } = this.#base;
    if (/^basic\b/i.test(challenge)) {
      if (basic === null) throw new ImageBuildError(`${host} wants credentials: --creds USER:PASSWORD, or PORTSIDE_CREDS in the environment`);
      return basic;
    }
    if (!/^bearer\b/i.test(challenge)) throw new ImageBuildError(`${host} asks for an authorization that is not known here: ${JSON.stringify(printable(challenge))}`);
    const fields = new Map([...challenge.matchAll(/([a-z]+)="([^"]*)"/gi)].map(([, key, value]) => [key.toLowerCase(), value]));
    const realm = URL.canParse(fields.get('realm') ?? '') ? new URL(fields.get('realm')!) : null;
    const isSafe = realm !== null && (realm.protocol === 'https:' || (realm.protocol === 'http:' && (isLocal(realm.host) || this.#options.plainHttp)));
    if (!isSafe) throw new ImageBuildError(`${host} names a token server that is not asked: ${JSON.stringify(printable(fields.get('realm') ?? ''))}`);
    const service = fields.get('service');
    if (service !== undefined) realm.searchParams.set('service', service);
    realm.searchParams.set('scope', fields.get('scope') ?? `repository:${this.#name}:pull`);
    const response = await this.#send(realm, basic === null ? {} : { authorization: basic });
    const body = await readBody(response, MAX_ANSWER, 'the token');
    if (response.statusCode !== 200) throw new ImageBuildError(`the token server of ${host} answers ${response.statusCode}${response.statusCode === 401 ? ': --creds USER:PASSWORD' : ''}`);
    const answer = parseObject(body, `the answer of the token server of ${host}`);
    const token = answer.token ?? answer.access_token;
    if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) throw new ImageBuildError(`the token server of ${host} gives no token`);
    return `Bearer ${token}`;
  }
}

/** What a registry says in `errors[0].message`, fit for a terminal; '' where it says nothing. */
function messageOf(body: Uint8Array): string {
  const { errors } = parseObject(body, 'the error');
  const first = Array.isArray(errors) ? (errors[0] as { message?: unknown } | undefined) : undefined;
  return typeof first?.message === 'string' ? printable(first.message) : '';
}

async function readBody(response: IncomingMessage, maxBytes: number, what: string): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let total = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      total += chunk.length;
      if (total > maxBytes) throw new ImageBuildError(`${what} is too large`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof ImageBuildError ? error : new ImageBuildError(`${what} was cut off: ${reasonOf(error)}`);
  }
  return Buffer.concat(chunks, total);
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(({ size }) => size, () => 0);
}

async function hashFile(file: string, digest: string): Promise<string> {
  const [algorithm] = digest.split(':');
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return `${algorithm}:${hash.digest('hex')}`;
}
