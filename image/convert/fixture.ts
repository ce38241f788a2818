/* For tests: tar archives with any contents, and a small root of real files. Tests with real tools use those to make images. */
import { createHash } from 'node:crypto';
import { readDeb } from '../deb.ts';
import { currentLock, fetchPackages } from '../locked.ts';
import { packageFile, readPackage, type Lock } from '../packages.ts';

export interface TarMember {
  path: string;
  /** as in the header: '0' file (default), '1' hard link, '2' symlink, '3' character device, '5' directory */
  type?: string;
  data?: Uint8Array | string;
  link?: string;
  mode?: number;
  uid?: number;
  gid?: number;
  major?: number;
  minor?: number;
}

/** A ustar archive of `members` as they are, sane or not. */
export function tarOf(members: TarMember[]): Buffer {
  return Buffer.concat([...members.flatMap(member), Buffer.alloc(1024)]);
}

function member({ path, type = '0', data = '', link = '', mode = 0o644, uid = 0, gid = 0, major = 0, minor = 0 }: TarMember): Buffer[] {
  const bytes = Buffer.from(data);
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, len: number): void => void header.write(value.toString(8).padStart(len - 1, '0'), at);
  header.write(path, 0);
  octal(mode, 100, 8);
  octal(uid, 108, 8);
  octal(gid, 116, 8);
  octal(bytes.length, 124, 12);
  octal(1_700_000_000, 136, 12);
  header.write(type, 156);
  header.write(link, 157);
  header.write('ustar\x0000', 257);
  octal(major, 329, 8);
  octal(minor, 337, 8);
  header.fill(0x20, 148, 156);
  header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0`, 148);
  return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
}

/** Debian's busybox for riscv64, from the locked packages. */
export async function readBusybox(): Promise<Uint8Array> {
  const lock = await fetchPackages(await currentLock(), (from) => from.groups.busybox, () => undefined);
  const { entries } = await readDeb(await readPackage(lock.packages[lock.groups.busybox[0]]));
  return entries.find(({ path }) => path.endsWith('bin/busybox'))!.data;
}

/** Files of Debian packages with python for riscv64, without anything else of a system. */
export async function pythonPackages(): Promise<string[]> {
  const names = (lock: Lock): string[] => [...lock.groups.python, 'libc6', 'zlib1g'];
  const lock = await fetchPackages(await currentLock(), names, () => undefined);
  return names(lock).map((name) => packageFile(lock.packages[name]));
}

/** The start of a 64-bit little-endian ELF for `machine`. */
export function elfFor(machine: number): Uint8Array {
  const elf = Buffer.alloc(64);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  elf.writeUInt16LE(machine, 18);
  return elf;
}

/** An image's blobs by digest, and descriptors for them. */
export class BlobShelf {
  readonly blobs = new Map<string, Buffer>();

  add(data: Uint8Array | string, mediaType: string): { mediaType: string; digest: string; size: number } {
    const bytes = Buffer.from(data);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  addJson(value: unknown, mediaType: string): { mediaType: string; digest: string; size: number } {
    return this.add(JSON.stringify(value), mediaType);
  }

  /** A manifest for `config` (its platform and what else is given) and uncompressed layers, packed by `pack`. */
  addImage(config: object, layers: Uint8Array[], pack: (layer: Uint8Array) => Uint8Array = (layer) => layer, suffix = ''): { mediaType: string; digest: string; size: number } {
    const diffIds = layers.map((layer) => `sha256:${createHash('sha256').update(layer).digest('hex')}`);
    return this.addJson({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: this.addJson({ os: 'linux', architecture: 'riscv64', rootfs: { type: 'layers', diff_ids: diffIds }, ...config }, 'application/vnd.oci.image.config.v1+json'),
      layers: layers.map((layer) => this.add(pack(layer), `application/vnd.oci.image.layer.v1.tar${suffix}`)),
    }, MANIFEST);
  }
}

export const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
export const INDEX = 'application/vnd.oci.image.index.v1+json';
