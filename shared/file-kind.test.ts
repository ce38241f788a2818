import { describe, expect, test } from 'vitest';
import { fileKind, KIND_HEAD_BYTES } from './file-kind.ts';

/** A file of `len` bytes with pieces of latin1 at offsets. */
function file(len: number, ...pieces: Array<[at: number, text: string]>): Uint8Array {
  const bytes = new Uint8Array(len);
  for (const [at, text] of pieces) for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return bytes;
}

const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const what = (bytes: Uint8Array, tail?: Uint8Array): string | undefined => fileKind('x.bin', bytes.length, bytes.subarray(0, KIND_HEAD_BYTES), tail)?.what;

describe('what a file is', () => {
  test.each<[string, Uint8Array]>([
    ['a WebAssembly module', file(100, [0, '\0asm\x01'])], ['a WebAssembly component', file(100, [0, '\0asm\x0d\0\x01\0'])], ['a qcow2 disk', file(600, [0, 'QFI\xfb\0\0\0\x03'])],
    ['a VMDK disk', file(600, [0, 'KDMV'])], ['a VMDK disk', text('# Disk DescriptorFile\nversion=1\n')], ['a VirtualBox disk', file(600, [0, '<<< Oracle VM VirtualBox'], [64, '\x7f\x10\xda\xbe'])], ['a VHDX disk', file(600, [0, 'vhdxfile'])],
    ['an ISO image', file(40_000, [32_769, 'CD001'])], ['an ISO image', file(40_000, [510, '\x55\xaa'], [32_769, 'CD001'])], ['a squashfs', file(600, [0, 'hsqs'])], ['an ext2, ext3 or ext4 file system', file(2048, [1080, '\x53\xef'])],
    ['a btrfs file system', file(66_000, [65_600, '_BHRfS_M'])], ['an XFS file system', file(600, [0, 'XFSB'])], ['an erofs file system', file(2048, [1024, '\xe2\xe1\xf5\xe0'])], ['a FAT file system', file(600, [54, 'FAT16'], [510, '\x55\xaa'])],
    ['a disk with a GPT', file(1024, [510, '\x55\xaa'], [512, 'EFI PART'])], ['a disk with an MBR', file(1024, [510, '\x55\xaa'])], ['a program (ELF)', file(100, [0, '\x7fELF\x02'])], ['an AppImage', file(100, [0, '\x7fELF\x02'], [8, 'AI\x02'])],
    ['a program for Windows', file(100, [0, 'MZ'])], ['a Debian package', text('!<arch>\ndebian-binary   0')], ['an RPM package', file(100, [0, '\xed\xab\xee\xdb'])], ['a ZIP archive', file(100, [0, 'PK\x03\x04'])], ['a 7z archive', file(100, [0, '7z\xbc\xaf\x27\x1c'])],
    ['a RAR archive', file(100, [0, 'Rar!\x1a\x07'])], ['a cpio archive', text('0707010000')], ['a Singularity image', file(100, [0, '#!/usr/bin/env run-singularity\n'], [32, 'SIF_MAGIC'])], ['a Linux kernel', file(100, [0, 'MZ'], [56, 'RSC\x05'])],
    ['a tar archive', file(1024, [257, 'ustar'])], ['compressed by gzip', file(100, [0, '\x1f\x8b'])], ['a saved container', file(100, [0, 'PORTSIDE'])], ['an empty file', file(0)], ['nothing but zeros, as far as one looks', file(5000)],
    ['a web page (HTML)', text('\n<!DOCTYPE html>\n<html>')], ['a web page (HTML)', text('<html><head>')], ['a text (XML)', text('<?xml version="1.0"?><metalink>')], ['a text (JSON)', text('{"error": "not found"}')],
    ['the manifest of a container image, which only names its layers', text('{"schemaVersion":2,"layers":[]}')], ['the manifest of a container image, which only names its layers', text('[{"Ref":"x","manifests":[]}]')],
    ['the configuration of a container image, without its layers', text('{"architecture":"riscv64","rootfs":{"type":"layers","diff_ids":[]}}')], ['what docker inspect or a docker-archive say of an image, without its layers', text('[{"Id":"x","RepoTags":[]}]')],
    ['a Dockerfile', text('# syntax=docker/dockerfile:1\nARG V=1\nFROM debian:$V\nRUN true\n')], ['a script', text('#!/bin/sh\n')], ['a pointer of Git LFS, in the place of the file', text('version https://git-lfs.github.com/spec/v1\noid')], ['a text', text('hello\n')],
  ])('%s', (expected, bytes) => {
    expect(what(bytes)).toBe(expected);
    for (let end = 0; end < Math.min(bytes.length, 1200); end += 7) expect(() => what(bytes.subarray(0, end))).not.toThrow();
  });

  test('disks that say so at their end', () => {
    expect(what(file(5000, [10, 'x']), file(512, [0, 'koly']))).toBe('a macOS disk image');
    expect(what(file(5000, [10, 'x']), file(512, [0, 'conectix']))).toBe('a VHD disk');
    expect(what(file(5000, [10, 'x\x01\x02']))).toBeUndefined();
  });

  test('what takes it is said with its name', () => {
    expect(fileKind('app.wasm', 9, file(9, [0, '\0asm\x01']))?.next).toContain('portside run app.wasm starts it');
    expect(fileKind('a.sqfs', 600, file(600, [0, 'hsqs']))?.next).toContain('unsquashfs a.sqfs');
  });
});
