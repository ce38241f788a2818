/*
 * The agent's own programs as ELF executables: /etc/portside/enter starts the command and what is in further terminals;
 * /etc/portside/clock sets the clock.
 *
 *   0x10000  ELF header, program header | code and texts | uid gid group_count groups[] | workdir | buffer (not in the file)
 *
 * One segment holds all of it, at a fixed address.
 */
import { readFile } from 'node:fs/promises';
import { assemble } from './assemble.ts';

const BASE = 0x10000;
const EHDR_LEN = 64;
const PHDR_LEN = 56;
/** where the code begins, and is entered */
const START = BASE + EHDR_LEN + PHDR_LEN;
const EM_RISCV = 243;
/** twice PATH_MAX, so that what does not fit is longer than execve takes */
const BUFFER_LEN = 8192;

/** Who a command runs as. */
export interface Identity {
  uid: number;
  gid: number;
  /** supplementary groups */
  groups: number[];
}

export const ROOT_IDENTITY: Identity = { uid: 0, gid: 0, groups: [] };

/** The program that goes to `workdir` inside of the container and becomes `identity`. */
export async function buildEnter(workdir: string, identity: Identity): Promise<Uint8Array> {
  const source = await readSource('enter');
  const ids = new Uint8Array(Uint32Array.of(identity.uid, identity.gid, identity.groups.length, ...identity.groups).buffer);
  const texts = Buffer.from(`${workdir}\0`);
  let dataAt = 0;
  const code = assemble(source, START, (end) => {
    dataAt = Math.ceil(end / 8) * 8;
    const textsAt = dataAt + ids.length;
    const buffer = textsAt + texts.length;
    return {
      uid: dataAt, gid: dataAt + 4, group_count: dataAt + 8, groups: dataAt + 12,
      workdir: textsAt, buffer, buffer_end: buffer + BUFFER_LEN - 1,
    };
  });
  const file = Buffer.alloc(dataAt - BASE + ids.length + texts.length);
  file.set(elfHeaders(file.length));
  file.set(code, START - BASE);
  file.set(ids, dataAt - BASE);
  file.set(texts, dataAt - BASE + ids.length);
  return file;
}

/** The program that sets the wall clock. */
export async function buildClock(): Promise<Uint8Array> {
  return assembleProgram(await readSource('clock'));
}

/** The executable of a `source` that needs no data of ours. */
export function assembleProgram(source: string): Uint8Array {
  const code = assemble(source, START, () => ({}));
  return Buffer.concat([elfHeaders(START - BASE + code.length), code]);
}

async function readSource(name: string): Promise<string> {
  return readFile(new URL(`guest/${name}.s`, import.meta.url), 'utf8');
}

/** gABI: ELF64, little-endian, executable, one PT_LOAD that may be read, written and run. */
function elfHeaders(fileLen: number): Uint8Array {
  const bytes = Buffer.alloc(EHDR_LEN + PHDR_LEN);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeUInt16LE(2, 16);
  bytes.writeUInt16LE(EM_RISCV, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(BigInt(START), 24);
  bytes.writeBigUInt64LE(BigInt(EHDR_LEN), 32);
  bytes.writeUInt16LE(EHDR_LEN, 52);
  bytes.writeUInt16LE(PHDR_LEN, 54);
  bytes.writeUInt16LE(1, 56);
  bytes.writeUInt16LE(64, 58);
  const header = bytes.subarray(EHDR_LEN);
  header.writeUInt32LE(1, 0);
  header.writeUInt32LE(7, 4);
  header.writeBigUInt64LE(BigInt(BASE), 16);
  header.writeBigUInt64LE(BigInt(BASE), 24);
  header.writeBigUInt64LE(BigInt(fileLen), 32);
  header.writeBigUInt64LE(BigInt(fileLen + BUFFER_LEN), 40);
  header.writeBigUInt64LE(4096n, 48);
  return bytes;
}
