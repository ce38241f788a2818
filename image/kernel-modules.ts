/*
 * Kernel modules: the order to load them in, and stripping them.
 *
 * Debian's modules carry a symbol for every label (virtio_net: 28,000), which the kernel would keep in memory for its symbol
 * listing, and BTF. Both end up in the snapshot. Stripping keeps the symbols that a relocation refers to, takes the names
 * of those that are defined in the module (the kernel keeps only named ones once it is loaded, and resolves none of these by
 * name), and empties BTF sections. Code, data and relocations stay byte for byte. ELF64 little-endian after gABI and the
 * kernel's elf_validity_cache_copy().
 */
import { ImageBuildError } from './image-error.ts';

const EHDR_LEN = 64;
const SHDR_LEN = 64;
const SYM_LEN = 24;
const RELA_LEN = 24;
const SHT_NULL = 0;
const SHT_SYMTAB = 2;
const SHT_RELA = 4;
const SHT_NOBITS = 8;
const SHN_UNDEF = 0;
const decoder = new TextDecoder('latin1');

interface Section {
  name: string;
  type: number;
  link: number;
  info: number;
  align: number;
  data: Uint8Array;
  /** the header as it was */
  header: Uint8Array;
}

/** Names of the modules that `module` needs, from its .modinfo. */
export function moduleDepends(module: Uint8Array): string[] {
  const info = readSections(module).find(({ name }) => name === '.modinfo');
  const fields = info === undefined ? [] : decoder.decode(info.data).split('\0');
  const depends = fields.find((field) => field.startsWith('depends='))?.slice('depends='.length) ?? '';
  return depends.split(',').filter((name) => name !== '');
}

/** `wanted` and what they need, needed ones first. `read` gives an unpacked module by its name, null when it is built in. */
export async function loadOrder(wanted: string[], read: (name: string) => Promise<Uint8Array | null>): Promise<Map<string, Uint8Array>> {
  const order = new Map<string, Uint8Array>();
  const visit = async (name: string, above: string[]): Promise<void> => {
    if (order.has(name)) return;
    if (above.includes(name)) throw new ImageBuildError(`kernel modules need each other: ${[...above, name].join(', ')}`);
    const module = await read(name);
    if (module === null) return;
    for (const needed of moduleDepends(module)) await visit(needed, [...above, name]);
    order.set(name, module);
  };
  for (const name of wanted) await visit(name, []);
  return order;
}

export function stripModule(module: Uint8Array): Uint8Array {
  try {
    return strip(module);
  } catch (error) {
    // Offsets of a broken file lead a DataView out of its bytes.
    throw error instanceof RangeError ? new ImageBuildError('ELF file is broken') : error;
  }
}

function strip(module: Uint8Array): Uint8Array {
  const sections = readSections(module);
  const symtab = sections.find(({ type }) => type === SHT_SYMTAB);
  if (symtab === undefined) throw new ImageBuildError('kernel module without a symbol table');
  const renumber = stripSymbols(sections, symtab);
  for (const section of sections) {
    if (section.name.startsWith('.BTF')) {
      section.type = SHT_NULL;
      section.data = new Uint8Array(0);
    } else if (section.type === SHT_RELA) {
      section.data = section.data.slice();
      const view = viewOf(section.data);
      for (let off = 0; off + RELA_LEN <= section.data.length; off += RELA_LEN) view.setUint32(off + 12, renumber[view.getUint32(off + 12, true)], true);
    }
  }
  return writeSections(module.subarray(0, EHDR_LEN), sections);
}

/** Cuts symtab and strtab down in place. Returns new symbol numbers by old ones. */
function stripSymbols(sections: Section[], symtab: Section): Uint32Array {
  const view = viewOf(symtab.data);
  const count = Math.floor(symtab.data.length / SYM_LEN);
  const referred = new Uint8Array(count);
  for (const section of sections) {
    if (section.type !== SHT_RELA) continue;
    const rela = viewOf(section.data);
    for (let off = 0; off + RELA_LEN <= section.data.length; off += RELA_LEN) {
      const symbol = rela.getUint32(off + 12, true);
      if (symbol >= count) throw new ImageBuildError('kernel module with a relocation against no symbol');
      referred[symbol] = 1;
    }
  }
  const strtab = sections[symtab.link];
  if (strtab === undefined) throw new ImageBuildError('kernel module without symbol names');
  const kept = new Uint8Array(count * SYM_LEN);
  const names: number[] = [0];
  const renumber = new Uint32Array(count);
  let next = 1;
  let locals = 1;
  for (let symbol = 1; symbol < count; symbol++) {
    if (referred[symbol] === 0) continue;
    const off = symbol * SYM_LEN;
    kept.set(symtab.data.subarray(off, off + SYM_LEN), next * SYM_LEN);
    const out = viewOf(kept.subarray(next * SYM_LEN));
    const start = view.getUint32(off, true);
    if (view.getUint16(off + 6, true) === SHN_UNDEF) {
      const end = strtab.data.indexOf(0, start);
      if (start >= strtab.data.length || end < 0) throw new ImageBuildError('kernel module with a broken symbol name');
      out.setUint32(0, names.length, true);
      names.push(...strtab.data.subarray(start, end + 1));
    } else {
      out.setUint32(0, 0, true);
    }
    if (symbol < symtab.info) locals = next + 1;
    renumber[symbol] = next++;
  }
  symtab.data = kept.subarray(0, next * SYM_LEN);
  symtab.info = locals;
  strtab.data = Uint8Array.from(names);
  return renumber;
}

function readSections(module: Uint8Array): Section[] {
  const view = viewOf(module);
  // Magic, 64 bits, little-endian; relocatable; headers of the size we know.
  if (module.length < EHDR_LEN || view.getUint32(0) !== 0x7f454c46 || module[4] !== 2 || module[5] !== 1) throw new ImageBuildError('not a 64-bit ELF file');
  const tableOff = Number(view.getBigUint64(40, true));
  const count = view.getUint16(60, true);
  const namesIndex = view.getUint16(62, true);
  if (view.getUint16(58, true) !== SHDR_LEN || tableOff + count * SHDR_LEN > module.length || namesIndex >= count) throw new ImageBuildError('ELF file with broken section headers');
  const sections: Section[] = [];
  for (let i = 0; i < count; i++) {
    const header = module.subarray(tableOff + i * SHDR_LEN, tableOff + (i + 1) * SHDR_LEN);
    const fields = viewOf(header);
    const type = fields.getUint32(4, true);
    const start = Number(fields.getBigUint64(24, true));
    const len = type === SHT_NOBITS || type === SHT_NULL ? 0 : Number(fields.getBigUint64(32, true));
    if (start + len > module.length && len > 0) throw new ImageBuildError('ELF file is cut off');
    const data = module.subarray(start, start + len);
    sections.push({ name: '', type, link: fields.getUint32(40, true), info: fields.getUint32(44, true), align: Number(fields.getBigUint64(48, true)), data, header });
  }
  const names = sections[namesIndex].data;
  for (const section of sections) {
    const start = viewOf(section.header).getUint32(0, true);
    section.name = decoder.decode(names.subarray(start, Math.max(start, names.indexOf(0, start))));
  }
  return sections;
}

function writeSections(ehdr: Uint8Array, sections: Section[]): Uint8Array {
  const parts: Array<{ off: number; bytes: Uint8Array }> = [];
  let off = EHDR_LEN;
  const table = new Uint8Array(sections.length * SHDR_LEN);
  sections.forEach((section, i) => {
    const header = table.subarray(i * SHDR_LEN, (i + 1) * SHDR_LEN);
    header.set(section.header);
    const fields = viewOf(header);
    off = Math.ceil(off / Math.max(1, section.align)) * Math.max(1, section.align);
    fields.setUint32(4, section.type, true);
    if (section.type !== SHT_NULL) fields.setBigUint64(24, BigInt(off), true);
    if (section.type !== SHT_NOBITS) fields.setBigUint64(32, BigInt(section.data.length), true);
    fields.setUint32(44, section.info, true);
    parts.push({ off, bytes: section.data });
    off += section.data.length;
  });
  const tableOff = Math.ceil(off / 8) * 8;
  const out = new Uint8Array(tableOff + table.length);
  out.set(ehdr);
  viewOf(out).setBigUint64(40, BigInt(tableOff), true);
  for (const part of parts) out.set(part.bytes, part.off);
  out.set(table, tableOff);
  return out;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
