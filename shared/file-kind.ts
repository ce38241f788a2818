/*
 * What a file is that was given for an image or an archive of one and is neither, by its first bytes (and its last, for disks that say so
 * there), and what takes it. For messages alone: nothing is read by what is found here.
 */

/** A kind of file: `what` goes behind "is", `next` says what to do with it. */
export interface FileKind {
  what: string;
  next: string;
}

/** What fileKind wants of a file, in `bytes`: from its start, and up to its end. */
export const KIND_HEAD_BYTES = 72 * 1024;
export const KIND_TAIL_BYTES = 512;

const PACK = 'unpack it, and pack the root file system that is in it as a tar (tar -C FOLDER -cf root.tar .)';
const MOUNT = 'mount it, and pack its root as a tar (tar -C MOUNTPOINT -cf root.tar .)';
const MACHINE = 'it belongs to a virtual machine (portside listen gives QEMU a network); a container\'s root in it can be packed as a tar (tar -C MOUNTPOINT -cf root.tar .)';
const PACKAGE = 'install it in a root file system, and pack that as a tar (tar -C ROOT -cf root.tar .)';
const SAVE = 'convert takes the image itself: docker save, podman save or skopeo copy write it, or name it as HOST/NAME:TAG';
const PROGRAM = 'convert takes a container image, or a tar of a root file system with the program in it (tar -C ROOT -cf root.tar .)';

const binary = (what: string, next: string, ...magics: Array<[at: number, magic: string]>): { what: string; next: string; magics: Array<[number, string]> } => ({ what, next, magics });

/** Of several magics all must be there. latin1; those with more to tell them by come first. */
const BINARIES = [
  binary('a WebAssembly component', 'Portside runs modules: images of its own and of container2wasm', [0, '\0asm\x0d\0\x01\0']),
  binary('a WebAssembly module', 'if it is an image of Portside or container2wasm, portside run NAME starts it, and so does the page when it is dropped there', [0, '\0asm']),
  binary('a qcow2 disk', MACHINE, [0, 'QFI\xfb']),
  binary('a VMDK disk', MACHINE, [0, 'KDMV']),
  binary('a VMDK disk', MACHINE, [0, '# Disk DescriptorFile']),
  binary('a VirtualBox disk', MACHINE, [64, '\x7f\x10\xda\xbe']),
  binary('a VHDX disk', MACHINE, [0, 'vhdxfile']),
  binary('a VHD disk', MACHINE, [0, 'conectix']),
  binary('an ISO image', 'mount it (mount -o loop); a live system\'s root is mostly a squashfs in it: unsquashfs it, and pack the result as a tar (tar -C squashfs-root -cf root.tar .)', [32_769, 'CD001']),
  binary('a squashfs', 'unsquashfs NAME, and pack the result as a tar (tar -C squashfs-root -cf root.tar .)', [0, 'hsqs']),
  binary('a squashfs of another byte order', 'unsquashfs NAME, and pack the result as a tar (tar -C squashfs-root -cf root.tar .)', [0, 'sqsh']),
  binary('an AppImage', 'run it with --appimage-extract, and pack a root with the result in it as a tar', [0, '\x7fELF'], [8, 'AI\x02']),
  binary('a program (ELF)', PROGRAM, [0, '\x7fELF']),
  binary('a Linux kernel', PROGRAM, [56, 'RSC\x05']),
  binary('a program for Windows', PROGRAM, [0, 'MZ']),
  binary('a program for macOS', PROGRAM, [0, '\xcf\xfa\xed\xfe']),
  binary('a program for macOS, or of Java\'s', PROGRAM, [0, '\xca\xfe\xba\xbe']),
  binary('a Debian package', PACKAGE, [0, '!<arch>\ndebian-binary']),
  binary('an ar archive', PACK, [0, '!<arch>\n']),
  binary('an RPM package', PACKAGE, [0, '\xed\xab\xee\xdb']),
  binary('an apk package', PACKAGE, [0, 'ADB']),
  binary('a ZIP archive', PACK, [0, 'PK\x03\x04']),
  binary('an empty ZIP archive', PACK, [0, 'PK\x05\x06']),
  binary('a 7z archive', PACK, [0, '7z\xbc\xaf\x27\x1c']),
  binary('a RAR archive', PACK, [0, 'Rar!\x1a\x07']),
  binary('a xar archive', PACK, [0, 'xar!']),
  binary('a cabinet archive', PACK, [0, 'MSCF']),
  binary('a WIM image', PACK, [0, 'MSWIM\0\0\0']),
  ...['070701', '070702', '070707'].map((magic) => binary('a cpio archive', 'unpack it (cpio -id), and pack the result as a tar (tar -C FOLDER -cf root.tar .)', [0, magic])),
  ...['\xc7\x71', '\x71\xc7'].map((magic) => binary('a cpio archive', 'unpack it (cpio -id), and pack the result as a tar (tar -C FOLDER -cf root.tar .)', [0, magic])),
  binary('a Singularity image', 'singularity build --sandbox root/ NAME, and pack that as a tar (tar -C root -cf root.tar .)', [32, 'SIF_MAGIC']),
  binary('an ext2, ext3 or ext4 file system', MOUNT, [1080, '\x53\xef']),
  binary('a btrfs file system', MOUNT, [65_600, '_BHRfS_M']),
  binary('an XFS file system', MOUNT, [0, 'XFSB']),
  binary('an erofs file system', MOUNT, [1024, '\xe2\xe1\xf5\xe0']),
  binary('an f2fs file system', MOUNT, [1024, '\x10\x20\xf5\xf2']),
  binary('a cramfs file system', MOUNT, [0, '\x45\x3d\xcd\x28']),
  binary('a FAT file system', MOUNT, [54, 'FAT']),
  binary('a FAT file system', MOUNT, [82, 'FAT32']),
  binary('an NTFS file system', MOUNT, [3, 'NTFS    ']),
  binary('a disk with a GPT', MACHINE, [512, 'EFI PART']),
  binary('a disk with an MBR', MACHINE, [510, '\x55\xaa']),
  binary('an Android sparse image', 'simg2img NAME root.img, then mount that, and pack its root as a tar', [0, '\x3a\xff\x26\xed']),
  binary('a PDF', SAVE, [0, '%PDF-']),
  binary('a picture', SAVE, [0, '\x89PNG']),
  binary('a picture', SAVE, [0, '\xff\xd8\xff']),
  binary('a saved container', 'portside run --resume NAME goes on with it, and so does the page when it is dropped there', [0, 'PORTSIDE']),
  binary('compressed by gzip', 'if a container image\'s archive is in it, portside convert NAME image.wasm makes an image of it', [0, '\x1f\x8b']),
  binary('compressed by xz', 'if a container image\'s archive is in it, portside convert NAME image.wasm makes an image of it', [0, '\xfd7zXZ\0']),
  binary('compressed by zstd', 'if a container image\'s archive is in it, portside convert NAME image.wasm makes an image of it', [0, '\x28\xb5\x2f\xfd']),
  binary('a tar archive', 'if it is a container image\'s or of a root, portside convert NAME image.wasm makes an image of it', [257, 'ustar']),
];

/** Begins a JSON document of that kind: a key that it has. */
const DOCUMENTS: Array<[key: RegExp, what: string]> = [
  [/"(layers|manifests|fsLayers)"\s*:/, 'the manifest of a container image, which only names its layers'],
  [/"rootfs"\s*:[^]*"diff_ids"|"diff_ids"\s*:/, 'the configuration of a container image, without its layers'],
  [/"imageLayoutVersion"\s*:/, 'the oci-layout file of an OCI layout, without the rest'],
  [/"RepoTags"\s*:/, 'what docker inspect or a docker-archive say of an image, without its layers'],
];

/** What a file is that has `size` bytes and these at its start and its end. Null: nothing is known of it. `name` goes into the advice. */
export function fileKind(name: string, size: number, head: Uint8Array, tail: Uint8Array = head): FileKind | null {
  if (size === 0) return { what: 'an empty file', next: 'what should have written it has failed' };
  const isAt = (bytes: Uint8Array, at: number, magic: string): boolean => at >= 0 && at + magic.length <= bytes.length && [...magic].every((char, i) => bytes[at + i] === char.charCodeAt(0));
  const known = BINARIES.find(({ magics }) => magics.every(([at, magic]) => isAt(head, at, magic)))
    ?? (isAt(tail, tail.length - 512, 'koly') ? { what: 'a macOS disk image', next: PACK } : undefined)
    ?? (isAt(tail, tail.length - 512, 'conectix') ? { what: 'a VHD disk', next: MACHINE } : undefined)
    ?? textKind(head)
    ?? (head.every((byte) => byte === 0) ? { what: 'nothing but zeros, as far as one looks', next: 'an archive of a container image is wanted' } : undefined);
  return known === undefined ? null : { what: known.what, next: known.next.replace('NAME', name) };
}

/** What goes behind "FILE is not a wasm file": what it is instead, or ''. */
export function butKind(name: string, size: number, head: Uint8Array, tail?: Uint8Array): string {
  const kind = fileKind(name, size, head, tail);
  return kind === null ? '' : `, but ${kind.what}: ${kind.next}`;
}

function textKind(head: Uint8Array): FileKind | undefined {
  const start = head.subarray(0, 4096);
  // Text has no control characters but blanks, and escapes.
  if (start.some((byte) => byte < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d, 0x1b].includes(byte))) return undefined;
  const text = new TextDecoder().decode(start).trim();
  if (/^<(!doctype html|html|head|body|\?xml[^]*<html)/i.test(text)) return { what: 'a web page (HTML)', next: 'a server may have sent its error or its login instead of the file: look at it in a browser, and fetch the file itself' };
  if (text.startsWith('<')) return { what: 'a text (XML)', next: SAVE };
  if (/^[[{]/.test(text)) return { what: DOCUMENTS.find(([key]) => key.test(text))?.[1] ?? 'a text (JSON)', next: SAVE };
  if (/^(#.*\n|\s)*(ARG\s.*\n(#.*\n|\s)*)?FROM\s+\S/i.test(text)) return { what: 'a Dockerfile', next: 'build it for linux/riscv64 (docker build --platform linux/riscv64 -t NAMED .), and save that (docker save NAMED -o image.tar)'.replaceAll('NAMED', 'app') };
  if (text.startsWith('#!')) return { what: 'a script', next: PROGRAM };
  if (text.startsWith('version https://git-lfs')) return { what: 'a pointer of Git LFS, in the place of the file', next: 'git lfs pull fetches the file' };
  return { what: 'a text', next: SAVE };
}
