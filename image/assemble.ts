/*
 * An assembler for what guest/enter.s and guest/clock.s need of RV64I: no compiler for riscv64 is at hand where images are made. Syntax and output are
 * those of GNU as with -mno-relax and without compressed instructions, one statement per line; `la` is an address below 2 GiB
 * (lui, addi). An unknown instruction, register or label is an error with its line: the source is ours.
 *
 *   R  funct7 rs2 rs1 funct3 rd opcode     I  imm[11:0] rs1 funct3 rd opcode     S  imm[11:5] rs2 rs1 funct3 imm[4:0] opcode
 *   B  imm[12|10:5] rs2 rs1 funct3 imm[4:1|11] opcode     U  imm[31:12] rd opcode     J  imm[20|10:1|11|19:12] rd opcode
 */

const ABI = ['zero', 'ra', 'sp', 'gp', 'tp', 't0', 't1', 't2', 's0', 's1', 'a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 's2', 's3', 's4', 's5', 's6', 's7', 's8', 's9', 's10', 's11', 't3', 't4', 't5', 't6'];
const LOADS: Record<string, number> = { lbu: 4, lwu: 6, ld: 3 };
const STORES: Record<string, number> = { sb: 0, sd: 3 };
const BRANCHES: Record<string, number> = { beq: 0, bne: 1, bgeu: 7 };
const REGISTER_REGISTER: Record<string, number> = { add: 0, sub: 0x40000000 };

/** What a statement becomes: words, or bytes of text. `address` and labels are final in the second pass, 0 in the first. */
type Emit = (address: number, label: (name: string) => number) => Uint8Array;

/** Assembles `source` for `base`. `externals` are labels of data elsewhere. Labels of the source may not repeat theirs. */
export function assemble(source: string, base: number, externals: (end: number) => Record<string, number>): Uint8Array {
  const labels = new Map<string, number>();
  const statements: Array<{ at: number; emit: Emit; line: number }> = [];
  let at = base;
  source.split('\n').forEach((raw, index) => {
    let text = raw.replace(/#.*$/, '').trim();
    const label = /^(\w+):\s*/.exec(text);
    if (label !== null) {
      labels.set(label[1], at);
      text = text.slice(label[0].length);
    }
    if (text === '') return;
    const emit = statement(text, index + 1);
    statements.push({ at, emit, line: index + 1 });
    at += emit(at, () => at).length;
  });
  for (const [name, address] of Object.entries(externals(at))) labels.set(name, address);
  return Buffer.concat(statements.map(({ at: address, emit, line }) => emit(address, (name) => labels.get(name) ?? wrong(line, `no label ${name}`))));
}

function statement(text: string, line: number): Emit {
  const data = /^\.asci(i|z) "(.*)"$/.exec(text);
  if (data !== null) {
    const bytes = Buffer.from(`${data[2].replaceAll('\\n', '\n')}${data[1] === 'z' ? '\0' : ''}`);
    return () => bytes;
  }
  const [op, rest = ''] = text.split(/\s+(.*)/);
  const args = rest.split(/[\s,()]+/).filter((arg) => arg !== '');
  const reg = (index: number): number => {
    const number = ABI.indexOf(args[index]);
    return number >= 0 ? number : wrong(line, `no register ${args[index]}`);
  };
  const imm = (index: number): number => {
    const value = Number(args[index]);
    return Number.isInteger(value) && value >= -2048 && value < 2048 ? value : wrong(line, `${args[index]} is no number of 12 bits`);
  };
  const one = (word: number): Emit => () => words(word);
  if (op in LOADS) return one(typeI(0x03, reg(0), LOADS[op], reg(2), imm(1)));
  if (op in STORES) return one(((imm(1) >> 5) << 25) | (reg(0) << 20) | (reg(2) << 15) | (STORES[op] << 12) | ((imm(1) & 0x1f) << 7) | 0x23);
  if (op in REGISTER_REGISTER) return one(REGISTER_REGISTER[op] | typeI(0x33, reg(0), 0, reg(1), reg(2)));
  if (op in BRANCHES) return (address, label) => words(typeB(BRANCHES[op], reg(0), reg(1), label(args[2]) - address));
  switch (op) {
    case 'ecall': return one(0x73);
    case 'addi': return one(typeI(0x13, reg(0), 0, reg(1), imm(2)));
    case 'slli': return one(typeI(0x13, reg(0), 1, reg(1), imm(2)));
    case 'mv': return one(typeI(0x13, reg(0), 0, reg(1), 0));
    case 'li': return one(typeI(0x13, reg(0), 0, 0, imm(1)));
    case 'beqz': return (address, label) => words(typeB(0, reg(0), 0, label(args[1]) - address));
    case 'bnez': return (address, label) => words(typeB(1, reg(0), 0, label(args[1]) - address));
    case 'j': return (address, label) => words(typeJ(label(args[0]) - address));
    case 'la': return (_, label) => {
      const target = label(args[1]);
      // addi's 12 bits are signed: what is above their middle counts from the next page.
      const high = (target + 0x800) >> 12;
      return words((high << 12) | (reg(0) << 7) | 0x37, typeI(0x13, reg(0), 0, reg(0), target - high * 0x1000));
    };
    default: return wrong(line, `unknown instruction ${op}`);
  }
}

function typeI(opcode: number, rd: number, funct3: number, rs1: number, imm: number): number {
  return (imm << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode;
}

function typeB(funct3: number, rs1: number, rs2: number, off: number): number {
  return (bits(off, 12, 1) << 31) | (bits(off, 5, 6) << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (bits(off, 1, 4) << 8) | (bits(off, 11, 1) << 7) | 0x63;
}

function typeJ(off: number): number {
  return (bits(off, 20, 1) << 31) | (bits(off, 1, 10) << 21) | (bits(off, 11, 1) << 20) | (bits(off, 12, 8) << 12) | 0x6f;
}

function bits(value: number, from: number, count: number): number {
  return (value >> from) & ((1 << count) - 1);
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  values.forEach((value, i) => new DataView(bytes.buffer).setInt32(i * 4, value, true));
  return bytes;
}

function wrong(line: number, what: string): never {
  throw new Error(`line ${line}: ${what}`);
}
