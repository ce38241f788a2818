/*
 * Random cases from a seed. What may differ between two right machines is not generated: counters, the runtime's own CSRs,
 * stores into code without fence.i, an SC that was not preceded by its LR, branches that could loop for ever.
 */
import { CODE_BYTES_MAX, DATA_PA, DATA_PAGES, DATA_VA, DATA_VIRTUAL_PAGES, PTE, SSTATUS, SUPER_VA, pte, type Case } from './bare.ts';

const MASK = (1n << 64n) - 1n;
/** counts loops; no other instruction writes it, but it is read */
const LOOP_REGISTER = 31;

/** splitmix64 */
export class Random {
  #state: bigint;
  constructor(seed: bigint) { this.#state = seed & MASK; }
  u64(): bigint {
    this.#state = this.#state + 0x9e3779b97f4a7c15n & MASK;
    let z = this.#state;
    z = (z ^ z >> 30n) * 0xbf58476d1ce4e5b9n & MASK;
    z = (z ^ z >> 27n) * 0x94d049bb133111ebn & MASK;
    return z ^ z >> 31n;
  }
  u32(): number { return Number(this.u64() & 0xffffffffn); }
  below(limit: number): number { return this.u32() % limit; }
  chance(one: number, of: number): boolean { return this.below(of) < one; }
  pick<T>(from: readonly T[]): T { return from[this.below(from.length)]!; }
}

const OP = 0x33, OP_32 = 0x3b, OP_IMM = 0x13, OP_IMM_32 = 0x1b, LUI = 0x37, AUIPC = 0x17, SYSTEM = 0x73, AMO = 0x2f, OP_FP = 0x53, JAL = 0x6f, BRANCH = 0x63;
const rType = (opcode: number, funct3: number, funct7: number, rd: number, rs1: number, rs2: number): number =>
  (opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25) >>> 0;
const iType = (opcode: number, funct3: number, rd: number, rs1: number, imm: number): number => (opcode | rd << 7 | funct3 << 12 | rs1 << 15 | imm << 20) >>> 0;
const sType = (opcode: number, funct3: number, rs1: number, rs2: number, imm: number): number =>
  (opcode | (imm & 31) << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | imm >> 5 << 25) >>> 0;
const bType = (funct3: number, rs1: number, rs2: number, imm: number): number =>
  (BRANCH | (imm >> 11 & 1) << 7 | (imm >> 1 & 15) << 8 | funct3 << 12 | rs1 << 15 | rs2 << 20 | (imm >> 5 & 63) << 25 | (imm >> 12 & 1) << 31) >>> 0;
const jType = (rd: number, imm: number): number =>
  (JAL | rd << 7 | (imm >> 12 & 255) << 12 | (imm >> 11 & 1) << 20 | (imm >> 1 & 1023) << 21 | (imm >> 20 & 1) << 31) >>> 0;

/** [opcode, funct3, funct7] */
const REGISTER_FORMS: [number, number, number][] = [
  ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap((f3) => [[OP, f3, 0], [OP, f3, 1]] as [number, number, number][]),
  [OP, 0, 0x20], [OP, 5, 0x20], [OP, 4, 0x20], [OP, 6, 0x20], [OP, 7, 0x20],
  ...[0, 4, 5, 6, 7].map((f3) => [OP_32, f3, 1] as [number, number, number]), ...[0, 1, 5].map((f3) => [OP_32, f3, 0] as [number, number, number]),
  [OP_32, 0, 0x20], [OP_32, 5, 0x20],
  ...[2, 4, 6].flatMap((f3) => [[OP, f3, 0x10], [OP_32, f3, 0x10]] as [number, number, number][]), [OP_32, 0, 4],
  [OP, 4, 5], [OP, 5, 5], [OP, 6, 5], [OP, 7, 5], [OP, 1, 0x30], [OP, 5, 0x30], [OP_32, 1, 0x30], [OP_32, 5, 0x30],
  [OP, 1, 0x24], [OP, 5, 0x24], [OP, 1, 0x34], [OP, 1, 0x14],
];
/** whole upper 12 bits with funct3: the unary ones of Zbb. ctzw is not here: QEMU 7.2 counts beyond bit 31. */
const UNARY_FORMS: [number, number, number][] = [
  [OP_IMM, 1, 0x600], [OP_IMM, 1, 0x601], [OP_IMM, 1, 0x602], [OP_IMM, 1, 0x604], [OP_IMM, 1, 0x605], [OP_IMM_32, 1, 0x600], [OP_IMM_32, 1, 0x602],
  [OP_IMM, 5, 0x287], [OP_IMM, 5, 0x6b8], [OP_32, 4, 0x080],
];
const CSRS = [0x001, 0x002, 0x003, 0x100, 0x142, 0x143];
/** names that are no CSR, belong to a higher mode, or are read-only */
const FOREIGN_CSRS = [0x000, 0x004, 0x105, 0x180, 0x300, 0x305, 0x341, 0x7c0, 0x9c0, 0xc01 + 0x40, 0xf14, 0x5a8, 0x200];

export const INTERESTING: bigint[] = [
  0n, 1n, MASK, 2n, 0x7fn, 0x80n, 0xffn, 0x7fffn, 0x8000n, 0x7fffffffn, 0x80000000n, 0xffffffffn, 0xffffffff80000000n, 0x7fffffffffffffffn, 0x8000000000000000n,
  0x123456789abcdef0n, 63n, 31n, 0x5555555555555555n,
];
const INTERESTING_F: bigint[] = [
  0n, 1n << 63n, 0x3ff0000000000000n, 0xbff0000000000000n, 0x7fefffffffffffffn, 0x0010000000000000n, 1n, 0x800fffffffffffffn, 0x7ff0000000000000n, 0xfff0000000000000n,
  0x7ff8000000000000n, 0x7ff0000000000001n, 0x3fd5555555555555n, 0x43e0000000000000n, 0xc3e0000000000001n, 0x36a0000000000001n, 0x47efffffe0000000n, 0x380fffffffffffffn,
  ...[0n, 0x80000000n, 0x3f800000n, 0xbf800000n, 0x7f7fffffn, 0x00800000n, 1n, 0x807fffffn, 0x7f800000n, 0xff800000n, 0x7fc00000n, 0x7f800001n, 0x3eaaaaabn, 0x4effffffn, 0x5f000000n]
    .map((single) => 0xffffffff00000000n | single),
  0x3ff000003f800000n,
];

class Program {
  readonly bytes: number[] = [];
  readonly #random: Random;
  readonly #user: boolean;
  constructor(random: Random, user: boolean) {
    this.#random = random;
    this.#user = user;
  }

  put(word: number): void { this.bytes.push(word & 255, word >>> 8 & 255, word >>> 16 & 255, word >>> 24); }
  put16(half: number): void { this.bytes.push(half & 255, half >>> 8 & 255); }
  #reg(): number { return this.#random.below(32); }
  #rd(): number { return this.#random.below(LOOP_REGISTER); }

  #setBase(): number {
    const random = this.#random, rd = 1 + random.below(LOOP_REGISTER - 1);
    const page = random.chance(1, 8) ? Number(SUPER_VA >> 12n) + random.below(DATA_PAGES) : Number(DATA_VA >> 12n) + random.below(DATA_VIRTUAL_PAGES);
    this.put((LUI | rd << 7 | page << 12) >>> 0);
    if (random.chance(1, 3)) this.put(iType(OP_IMM, 0, rd, rd, random.pick([0x7f8, -8, -1, -4, 0x7ff, 2044]) & 0xfff));
    return rd;
  }

  integer(): void {
    const random = this.#random;
    switch (random.below(6)) {
      case 0: case 1: case 2: {
        const [opcode, funct3, funct7] = random.pick(REGISTER_FORMS);
        return this.put(rType(opcode, funct3, funct7, this.#rd(), this.#reg(), this.#reg()));
      }
      case 3: return this.put(iType(OP_IMM, random.pick([0, 2, 3, 4, 6, 7]), this.#rd(), this.#reg(), random.below(4096)));
      case 4: {
        const [opcode, funct3, high] = random.pick<[number, number, number]>([
          [OP_IMM, 1, 0], [OP_IMM, 5, 0], [OP_IMM, 5, 0x400], [OP_IMM, 5, 0x600], [OP_IMM, 1, 0x280], [OP_IMM, 1, 0x480], [OP_IMM, 1, 0x680], [OP_IMM, 5, 0x480], [OP_IMM_32, 1, 0x080],
          [OP_IMM_32, 1, 0], [OP_IMM_32, 5, 0], [OP_IMM_32, 5, 0x400], [OP_IMM_32, 5, 0x600], [OP_IMM_32, 0, -1],
        ]);
        const amount = high < 0 ? random.below(4096) : high | random.below(opcode === OP_IMM || high === 0x080 ? 64 : 32);
        return this.put(iType(opcode, funct3, this.#rd(), this.#reg(), amount));
      }
      default: {
        const [opcode, funct3, high] = random.pick(UNARY_FORMS);
        return random.chance(1, 3) ? this.put(((random.chance(1, 2) ? LUI : AUIPC) | this.#rd() << 7 | random.u32() & 0xfffff000) >>> 0)
          : this.put(iType(opcode, funct3, this.#rd(), this.#reg(), high));
      }
    }
  }

  memory(): void {
    const random = this.#random, base = random.chance(9, 10) ? this.#setBase() : this.#reg();
    for (let count = 1 + random.below(4); count > 0; count--) {
      const offset = random.chance(1, 2) ? random.below(4096) : random.below(64) * 8;
      switch (random.below(6)) {
        case 0: case 1: this.put(iType(0x03, random.pick([0, 1, 2, 3, 4, 5, 6]), this.#rd(), base, offset)); break;
        case 2: case 3: this.put(sType(0x23, random.below(4), base, this.#reg(), offset)); break;
        case 4: this.put(iType(0x07, random.pick([2, 3]), this.#reg(), base, offset)); break;
        default: this.put(sType(0x27, random.pick([2, 3]), base, this.#reg(), offset));
      }
    }
  }

  atomic(): void {
    const random = this.#random, base = this.#setBase(), width = random.pick([2, 3]);
    const order = random.below(4), reserves = random.chance(1, 3);
    // A misaligned SC has to trap; QEMU 7.2 lets it fail.
    this.put(iType(OP_IMM, 7, base, base, !reserves && random.chance(1, 10) ? -2 & 0xfff : -8 & 0xfff));
    if (reserves) {
      this.put(rType(AMO, width, 2 << 2 | order, this.#rdNot(base), base, 0));
      if (random.chance(1, 2)) this.integerNot(base);
      this.put(rType(AMO, width, 3 << 2 | order, this.#rd(), base, this.#reg()));
    } else {
      this.put(rType(AMO, width, random.pick([0, 1, 4, 8, 12, 16, 20, 24, 28]) << 2 | order, this.#rd(), base, this.#reg()));
    }
  }

  #rdNot(register: number): number {
    const rd = this.#rd();
    return rd === register ? 0 : rd;
  }
  integerNot(register: number): void {
    const [opcode, funct3, funct7] = this.#random.pick(REGISTER_FORMS);
    this.put(rType(opcode, funct3, funct7, this.#rdNot(register), this.#reg(), this.#reg()));
  }

  float(): void {
    const random = this.#random, width = random.below(2);
    const rm = random.chance(1, 2) ? 7 : random.chance(1, 20) ? random.pick([5, 6]) : random.below(5);
    const rd = this.#reg(), rs1 = this.#reg(), rs2 = this.#reg();
    switch (random.below(9)) {
      case 0: case 1: return this.put(rType(OP_FP, rm, random.below(4) << 2 | width, rd, rs1, rs2));
      case 2: return this.put((random.pick([0x43, 0x47, 0x4b, 0x4f]) | rd << 7 | rm << 12 | rs1 << 15 | rs2 << 20 | width << 25 | this.#reg() << 27) >>> 0);
      case 3: return this.put(rType(OP_FP, rm, 0x2c | width, rd, rs1, 0));
      case 4: return this.put(rType(OP_FP, random.below(3), (random.chance(1, 2) ? 0x10 : 0x50) | width, random.below(LOOP_REGISTER), rs1, rs2));
      case 5: return this.put(rType(OP_FP, random.below(2), 0x14 | width, rd, rs1, rs2));
      case 6: return this.put(rType(OP_FP, rm, 0x60 | width, this.#rd(), rs1, random.below(4)));
      case 7: return this.put(rType(OP_FP, rm, 0x68 | width, rd, rs1, random.below(4)));
      default:
        switch (random.below(4)) {
          case 0: return this.put(rType(OP_FP, rm, 0x20 | width, rd, rs1, 1 - width));
          case 1: return this.put(rType(OP_FP, random.below(2), 0x70 | width, this.#rd(), rs1, 0));
          case 2: return this.put(rType(OP_FP, 0, 0x78 | width, rd, rs1, 0));
          default: return this.put(iType(SYSTEM, random.pick([1, 2, 3, 5, 6, 7]), this.#rd(), this.#reg(), random.pick([1, 2, 3])));
        }
    }
  }

  /** Any compressed instruction but jumps; c.ebreak would end the case. */
  compressed(): void {
    const random = this.#random;
    for (;;) {
      const half = random.below(0x10000), quadrant = half & 3, funct3 = half >> 13;
      if (quadrant === 3 || (quadrant === 1 && funct3 >= 5) || (quadrant === 2 && funct3 === 4 && (half & 0x7c) === 0)) continue;
      // c.lwsp, c.swsp and their like want a stack; x31 counts loops.
      if (quadrant === 2 && funct3 !== 0 && funct3 !== 4 && random.chance(1, 2)) {
        const page = Number(DATA_VA >> 12n) + random.below(DATA_VIRTUAL_PAGES);
        this.put((LUI | 2 << 7 | page << 12) >>> 0);
      }
      if ((quadrant === 1 && funct3 < 4 || quadrant === 2) && (half >> 7 & 31) === LOOP_REGISTER) continue;
      return this.put16(half);
    }
  }

  csr(): void {
    const random = this.#random;
    if (!this.#user && random.chance(1, 4)) {
      // SUM, MXR or FS, through a register that holds the mask.
      const mask = random.pick([1 << 18, 1 << 19, 3 << 18, 3 << 13, 1 << 13]), rd = 1 + random.below(LOOP_REGISTER - 1);
      this.put((LUI | rd << 7 | mask & 0xfffff000) >>> 0);
      this.put(iType(SYSTEM, random.pick([2, 3]), 0, rd, 0x100));
      return;
    }
    const number = random.chance(1, 6) ? random.pick(FOREIGN_CSRS) : random.pick(CSRS);
    // The runtime's own CSRs are left alone in S-mode, and how dirty FS gets is not looked at.
    if (number === 0x105 || number === 0x180) return this.#user ? this.put(iType(SYSTEM, 2, this.#rd(), 0, number)) : undefined;
    if (number === 0x100) return this.put(iType(SYSTEM, 2, 0, 0, number));
    this.put(iType(SYSTEM, random.pick([1, 2, 3, 5, 6, 7]), this.#rd(), this.#reg(), number));
  }

  system(): void {
    const random = this.#random;
    switch (random.below(6)) {
      case 0: return this.put(0x0000100f); // fence.i
      case 1: return this.put(rType(SYSTEM, 0, 9, 0, this.#reg(), this.#reg())); // sfence.vma
      case 2: return this.put(random.pick([0x0ff0000f, 0x8330000f, 0x0100000f]));
      case 3: return this.#user ? this.put(random.pick([0x00000073, 0x10200073, 0x30200073])) : this.put(0x30200073); // ecall, sret, mret
      default: return this.wild();
    }
  }

  /** Encodings that nobody assembles: of the opcodes that we know, with all other bits random. */
  wild(): void {
    const random = this.#random;
    const opcode = random.pick([OP, OP_32, OP_IMM, OP_IMM_32, 0x03, 0x23, 0x07, 0x27, OP_FP, 0x43, 0x0b, 0x2b, 0x57, 0x5b, 0x6b, 0x77, 0x7b, 0x1f, 0x3f]);
    let word = (random.u32() & 0xffffff80 | opcode) >>> 0;
    if ((word >>> 7 & 31) === LOOP_REGISTER) word = (word & ~0x80) >>> 0;
    // ctzw, see above, and prefetches and Zicond, which QEMU 7.2 does not know.
    if ((opcode === OP_IMM_32 && word >>> 20 === 0x601) || (opcode === OP && word >>> 25 === 7)) return;
    this.put(word);
  }

  /** A branch or jump forwards, over a few others. */
  forward(depth: number): void {
    const random = this.#random, inner = new Program(random, this.#user);
    for (let count = random.below(5); count > 0; count--) inner.any(depth + 1);
    const distance = inner.bytes.length + 4;
    if (random.chance(1, 3) && distance < 2000) {
      this.put(random.chance(1, 2) ? jType(this.#rd(), distance) : bType(0, 0, 0, distance));
    } else if (random.chance(1, 3)) {
      const rd = 1 + random.below(LOOP_REGISTER - 1);
      this.put((AUIPC | rd << 7) >>> 0);
      this.put(iType(0x67, 0, this.#rd(), rd, distance + 4 + random.below(2)));
    } else {
      this.put(bType(random.pick([0, 1, 4, 5, 6, 7]), this.#reg(), this.#reg(), distance));
    }
    for (const byte of inner.bytes) this.bytes.push(byte);
  }

  loop(depth: number): void {
    const random = this.#random, inner = new Program(random, this.#user);
    for (let count = 1 + random.below(6); count > 0; count--) inner.any(depth + 2);
    this.put(iType(OP_IMM, 0, LOOP_REGISTER, 0, 1 + random.below(6)));
    for (const byte of inner.bytes) this.bytes.push(byte);
    this.put(iType(OP_IMM, 0, LOOP_REGISTER, LOOP_REGISTER, -1 & 0xfff));
    const back = -(inner.bytes.length + 4);
    if (inner.bytes.length < 4000) this.put(bType(1, LOOP_REGISTER, 0, back & 0x1fff));
  }

  any(depth = 0): void {
    const kind = this.#random.below(100);
    if (kind < 30) this.integer();
    else if (kind < 48) this.memory();
    else if (kind < 68) this.float();
    else if (kind < 80) this.compressed();
    else if (kind < 84) this.atomic();
    else if (kind < 88) this.csr();
    else if (kind < 91) this.system();
    else if (depth > 1) this.integer();
    else if (kind < 97) this.forward(depth);
    else this.loop(depth);
  }
}

/** Page table entries: mostly usable, some with every kind of fault. */
function randomPte(random: Random, user: boolean, pa: bigint): bigint {
  let flags: bigint = PTE.V | PTE.R | PTE.W | PTE.A | PTE.D | (user ? PTE.U : 0n);
  if (random.chance(1, 2)) return pte(pa, flags);
  switch (random.below(10)) {
    case 0: flags &= ~PTE.W; break;
    case 1: flags &= ~PTE.D; break;
    case 2: flags &= ~(PTE.A | PTE.D); break;
    case 3: flags = flags & ~(PTE.R | PTE.W) | PTE.X; break;
    case 4: flags ^= PTE.U; break;
    case 5: flags &= ~PTE.V; break;
    case 6: flags &= ~PTE.R; break;
    case 7: flags |= 1n << BigInt(54 + random.below(10)); break;
    case 8: flags = random.u64() & 0xffn; break;
    default: flags |= PTE.X | PTE.G;
  }
  return pte(pa, flags);
}

export function randomCase(seed: bigint): Case {
  const random = new Random(seed), user = random.chance(1, 2);
  const program = new Program(random, user);
  const count = 20 + random.below(60);
  for (let i = 0; i < count; i++) program.any();
  program.put(0x00100073);
  const value = (): bigint => random.chance(1, 3) ? random.pick(INTERESTING) : random.u64();
  const float = (): bigint => random.chance(2, 3) ? random.pick(INTERESTING_F) : random.chance(1, 2) ? random.u64() : 0xffffffff00000000n | random.u64() & 0xffffffffn;
  const superPa = random.chance(1, 6) ? DATA_PA + 0x1000n : DATA_PA;
  return {
    name: `seed ${seed}`, user,
    sstatus: (random.chance(1, 12) ? 0n : SSTATUS.FS) | (random.chance(1, 2) ? SSTATUS.SUM : 0n) | (random.chance(1, 4) ? SSTATUS.MXR : 0n),
    fcsr: BigInt(random.chance(2, 3) ? random.below(5) << 5 | random.below(2) : random.below(256)),
    seed: random.u64() | 1n,
    codeFlags: PTE.V | PTE.X | PTE.R | PTE.A | (user ? PTE.U : 0n),
    superPte: randomPte(random, user, superPa),
    pages: Array.from({ length: DATA_VIRTUAL_PAGES }, (_, i) => randomPte(random, user, DATA_PA + BigInt(i % DATA_PAGES) * 0x1000n)),
    x: [0n, ...Array.from({ length: 31 }, value)],
    f: Array.from({ length: 32 }, float),
    code: Uint8Array.from(program.bytes.slice(0, CODE_BYTES_MAX)),
  };
}
