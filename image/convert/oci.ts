/*
 * From a reference to a configuration and layers: indexes, manifests, platforms, digests (OCI image-spec; Docker's schema 2 has the same fields).
 *
 * A store gives bytes for a descriptor; here they are held against its digest and size before anybody looks at them. An index in an
 * index is followed to MAX_NESTED. Layers stay unread until they are asked for, one after the other.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { fileKind, KIND_HEAD_BYTES, KIND_TAIL_BYTES } from '../../shared/file-kind.ts';
import { decompress } from '../decompress.ts';
import { quotedName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';
import { isTarHeader } from '../tar.ts';
import { asArray, asObject, asText, parseImageConfig, parseObject, type ImageConfig, type JsonObject } from './image-config.ts';
import type { Budget } from './layers.ts';

/** Largest index, manifest or configuration that is read, in `bytes` */
export const MAX_JSON = 4 * 1024 * 1024;
const MAX_NESTED = 4;
const MAX_LAYERS = 512;

const INDEX_TYPES = ['application/vnd.oci.image.index.v1+json', 'application/vnd.docker.distribution.manifest.list.v2+json'];
const MANIFEST_TYPES = ['application/vnd.oci.image.manifest.v1+json', 'application/vnd.docker.distribution.manifest.v2+json'];
export const ACCEPTED_TYPES = [...INDEX_TYPES, ...MANIFEST_TYPES];

export interface Descriptor {
  mediaType: string;
  digest: string;
  /** in `bytes` */
  size: number;
}

/** Where blobs are. What it gives is not verified yet. */
export interface BlobStore {
  read(descriptor: Descriptor): Promise<Uint8Array>;
}

/** An image that has been found: its configuration, and its layers to be read. */
export interface ContainerImage {
  /** for messages */
  label: string;
  config: ImageConfig;
  layers: Array<{ label: string; read(): Promise<Uint8Array> }>;
  /** removes what was kept for the next attempt, had this one failed */
  forget?(): Promise<void>;
}

export interface Platform {
  os: string;
  architecture: string;
  variant: string | null;
}

export function parsePlatform(text: string): Platform | null {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  return match === null ? null : { os: match[1], architecture: match[2], variant: match[3] ?? null };
}

/** Follows `document` (an index or a manifest) to one image for `platform`. */
export async function resolveImage(document: Uint8Array, store: BlobStore, platform: Platform, label: string, nested = 0): Promise<ContainerImage> {
  const root = parseObject(document, `the manifest of ${label}`);
  if (root.schemaVersion === 1) throw new ImageBuildError(`${label} has a manifest of Docker's schema 1, which is no longer used: push it again with a newer tool`);
  if (Array.isArray(root.manifests)) {
    if (nested >= MAX_NESTED) throw new ImageBuildError(`${label} is an index of indexes without an end`);
    const chosen = choose(asArray(root.manifests, 'manifests').map((item) => asObject(item, 'a manifest of the index')), platform, label);
    return resolveImage(await readJson(store, chosen, `the manifest of ${label}`), store, platform, label, nested + 1);
  }
  const configDescriptor = asDescriptor(root.config, `the configuration of ${label}`);
  const layers = asArray(root.layers, `the layers of ${label}`).map((layer) => asDescriptor(layer, `a layer of ${label}`));
  if (layers.length > MAX_LAYERS) throw new ImageBuildError(`${label} has more than ${MAX_LAYERS} layers`);
  if (layers.some(({ mediaType }) => /encrypted/.test(mediaType))) throw new ImageBuildError(`${label} has encrypted layers: skopeo copy --decryption-key KEY docker://… oci-archive:image.tar makes an archive that convert takes`);
  for (const { mediaType } of layers) if (!/\.tar([.+]|$)/.test(mediaType)) throw new ImageBuildError(`${label} is no container image: one of its layers is ${quotedName(mediaType)}${/wasm/.test(mediaType) ? '. A WebAssembly module that is an image of Portside or container2wasm is downloaded as a file, and started by portside run' : ''}`);
  const config = parseImageConfig(await readJson(store, configDescriptor, `the configuration of ${label}`));
  checkPlatform(config, platform, label);
  return {
    label,
    config,
    layers: layers.map((descriptor) => ({
      label: descriptor.digest.slice(0, 19),
      read: async () => verified(await store.read(descriptor), descriptor, `layer ${descriptor.digest}`),
    })),
  };
}

/** The uncompressed bytes of a layer, held against the digest that the configuration gives for them. */
export async function unpackLayer(bytes: Uint8Array, diffId: string | undefined, budget: Budget, label: string): Promise<Uint8Array> {
  const unpacked = await unpack(bytes, Math.max(1, budget.bytes)).catch((error: unknown) => {
    throw error instanceof ImageBuildError && error.message !== TOO_LARGE ? new ImageBuildError(`layer ${label}: ${error.message}`) : error;
  });
  budget.bytes -= unpacked.length;
  if (budget.bytes < 0) throw new ImageBuildError(TOO_LARGE);
  if (diffId !== undefined) checkDigest(unpacked, diffId, `layer ${label}, uncompressed,`);
  // An archive of no bytes is one without entries, where a digest says that it is whole.
  if (diffId === undefined || unpacked.length > 0) refuseOther(unpacked, diffId === undefined ? label : `layer ${label}`, unpacked !== bytes);
  return unpacked;
}

/** Refuses what is no tar archive, by what it is. One without entries is zeros; of a broken one the reader tells. */
export function refuseOther(bytes: Uint8Array, path: string, wasPacked: boolean): void {
  if (isTarHeader(bytes)) return;
  const kind = fileKind(basename(path).replace(wasPacked ? /\.(gz|xz|zst|bz2|lzma|lz4|lz|Z)$/ : '', ''), bytes.length, bytes.subarray(0, KIND_HEAD_BYTES), bytes.subarray(-KIND_TAIL_BYTES));
  if (kind?.what === 'a tar archive') return;
  if (bytes.length >= KIND_TAIL_BYTES && bytes.every((byte) => byte === 0)) return;
  throw new ImageBuildError(kind === null ? `${path}${wasPacked ? ', unpacked,' : ''} is no tar archive, and nothing else that is known here: convert takes what docker save, podman save and skopeo copy write, or a tar of a root file system` : `${path}${wasPacked ? ', unpacked,' : ''} is ${kind.what}, no container image: ${kind.next}`);
}

/** `bytes` uncompressed, where they are no more than the image may have. */
export async function unpack(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array> {
  return decompress(bytes, { maxBytes }).catch((error: unknown) => {
    throw error instanceof ImageBuildError && /more than|larger than/i.test(error.message) ? new ImageBuildError(TOO_LARGE) : error;
  });
}

const TOO_LARGE = 'the image unpacks to more than is allowed; --max-size MIB raises the limit';

export function checkPlatform(config: ImageConfig, platform: Platform, label: string): void {
  if (config.os === platform.os && config.architecture === platform.architecture) return;
  throw new ImageBuildError(wrongPlatform(label, [printable(`${config.os || '?'}/${config.architecture || '?'}`)], platform));
}

/** One line: what it is made for, and the ways out. */
export function wrongPlatform(label: string, offers: string[], { os, architecture }: Platform, isLabelOnly = true): string {
  const isOurs = architecture === 'riscv64';
  return `${label} is made for ${offers.join(', ')}, not for ${os}/${architecture}${isOurs ? ', which Portside\'s machine runs' : ''}. `
    + 'Choose a tag or an image that offers linux/riscv64, or build it with --platform linux/riscv64'
    + (isOurs && isLabelOnly ? `; if only its label is wrong, convert takes --platform ${offers[0]}` : '');
}

function choose(manifests: JsonObject[], platform: Platform, label: string): Descriptor {
  const offers: string[] = [];
  const found: Array<{ descriptor: Descriptor; variant: string | null }> = [];
  for (const manifest of manifests) {
    // Attestations of builders say `unknown`.
    const given = manifest.platform === undefined || manifest.platform === null ? null : asObject(manifest.platform, 'platform');
    const descriptor = asDescriptor(manifest, `a manifest of ${label}`);
    if (given === null) {
      if (ACCEPTED_TYPES.includes(descriptor.mediaType)) found.push({ descriptor, variant: null });
      continue;
    }
    const os = asText(given.os ?? '', 'os');
    const architecture = asText(given.architecture ?? '', 'architecture');
    const variant = typeof given.variant === 'string' ? given.variant : null;
    if (os === platform.os && architecture === platform.architecture) found.push({ descriptor, variant });
    else if (os !== 'unknown') offers.push(`${os}/${architecture}`);
  }
  const exact = found.find(({ variant }) => platform.variant === null || variant === platform.variant);
  if (exact !== undefined) return exact.descriptor;
  if (offers.length === 0) throw new ImageBuildError(`${label} is an index without images`);
  throw new ImageBuildError(wrongPlatform(label, [...new Set(offers)].map(printable), platform));
}

export function asDescriptor(value: unknown, what: string): Descriptor {
  const fields = asObject(value, what);
  const digest = asText(fields.digest, `the digest of ${what}`);
  const size = fields.size;
  if (!isDigest(digest)) throw new ImageBuildError(`${what} has a digest that is none: ${quotedName(digest.slice(0, 100))}`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) throw new ImageBuildError(`${what} has no size`);
  return { digest, size, mediaType: typeof fields.mediaType === 'string' ? fields.mediaType : '' };
}

/** sha256 or sha512; so a digest is safe as a file name, too. */
export function isDigest(digest: string): boolean {
  return /^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(digest);
}

async function readJson(store: BlobStore, descriptor: Descriptor, what: string): Promise<Uint8Array> {
  if (descriptor.size > MAX_JSON) throw new ImageBuildError(`${what} is too large`);
  return verified(await store.read(descriptor), descriptor, what);
}

function verified(bytes: Uint8Array, { digest, size }: Descriptor, what: string): Uint8Array {
  if (bytes.length !== size) throw new ImageBuildError(`${what} has ${bytes.length} bytes instead of ${size}: it is cut off or damaged`);
  checkDigest(bytes, digest, what);
  return bytes;
}

export function checkDigest(bytes: Uint8Array, digest: string, what: string): void {
  const [algorithm] = digest.split(':');
  if (!isDigest(digest)) throw new ImageBuildError(`${what} has a digest that is none: ${quotedName(digest.slice(0, 100))}`);
  if (`${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}` !== digest) throw new ImageBuildError(`${what} does not have the digest ${digest}: it is damaged, or not what was asked for`);
}

/** Text from outside in a message for a terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.slice(0, 200).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
}
