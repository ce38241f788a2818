/*
 * Bare programs on three machines: ours as wasm, ours as a native process under the sanitizers, and qemu-system-riscv64. QEMU gets
 * firmware.s, so that all three start a kernel in S-mode at the same address and take every trap there.
 *
 * A `Case` is what runtime.s runs: its header draws the layout.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { buildMachine, machineSources } from '../build.ts';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const MACHINE = fileURLToPath(new URL('..', import.meta.url));
const RUNNER = join(MACHINE, 'dev-run.mjs');
const KERNEL_BASE = 0x80200000;
const CASES_BASE = 0x80210000;
const HEADER_BYTES = 696;
const MEMORY_MIB = 64;
const MARCH = '-march=rv64imafdc_zicsr_zifencei_zba_zbb_zbs';
/** without the extensions that our machine does not have */
export const QEMU_CPU = 'rv64,v=false,h=false,zbc=false';
/** of a run with all its cases; a hang is a failure */
const TIMEOUT_MS = 120_000;

export const CODE_VA = 0x10000n;
export const DATA_VA = 0x20000n;
export const DATA_VIRTUAL_PAGES = 16;
export const SUPER_VA = 0x200000n;
export const DATA_PA = 0x83000000n;
export const DATA_PAGES = 3;
export const CODE_PA = 0x83100000n;
export const CODE_BYTES_MAX = 8192;

export const PTE = { V: 1n, R: 2n, W: 4n, X: 8n, U: 16n, G: 32n, A: 64n, D: 128n } as const;
export const SSTATUS = { SPP: 1n << 8n, FS: 3n << 13n, SUM: 1n << 18n, MXR: 1n << 19n } as const;

export function pte(pa: bigint, flags: bigint): bigint {
  return pa >> 12n << 10n | flags;
}

export interface Case {
  name: string;
  user: boolean;
  /** FS, SUM, MXR */
  sstatus: bigint;
  fcsr: bigint;
  /** of what the data pages hold; not 0 */
  seed: bigint;
  codeFlags: bigint;
  superPte: bigint;
  pages: bigint[];
  x: bigint[];
  f: bigint[];
  code: Uint8Array;
}

export const MISSING_TOOLS = ['riscv64-linux-gnu-as', 'qemu-system-riscv64', 'gcc'].filter((tool) => spawnSync(tool, ['--version']).status !== 0);

/** `call print` writes s11 in hex and a new line, by SBI's debug console. Takes s7, s8 and what a call may take. */
export const PRINT = `print: mv s7,ra; li s8,60
5: srl a0,s11,s8; andi a0,a0,15; li t0,10; blt a0,t0,6f; addi a0,a0,39
6: addi a0,a0,48; call putchar; addi s8,s8,-4; bgez s8,5b
   li a0,10; mv ra,s7
putchar: la a1,char; sb a0,0(a1); li a0,1; li a2,0; li a7,0x4442434e; li a6,0; ecall; ret
char: .byte 0`;

/** Assembles to flat bytes at `base`; `folder` takes the intermediate files. */
export function assemble(folder: string, name: string, source: string, base = KERNEL_BASE): Uint8Array {
  const at = (extension: string): string => join(folder, `${name}.${extension}`);
  writeFileSync(at('s'), source);
  execFileSync('riscv64-linux-gnu-as', [MARCH, '-o', at('o'), at('s')]);
  execFileSync('riscv64-linux-gnu-ld', [`-Ttext=0x${base.toString(16)}`, '-e', '_start', '-o', at('elf'), at('o')], { stdio: 'pipe' });
  execFileSync('riscv64-linux-gnu-objcopy', ['-O', 'binary', at('elf'), at('bin')]);
  return readFileSync(at('bin'));
}

/** The runtime with `cases` behind it. */
export function kernelOf(runtime: Uint8Array, cases: Case[], verbose: boolean): Uint8Array {
  const sizes = cases.map((one) => HEADER_BYTES + (one.code.length + 7 & ~7));
  const start = CASES_BASE - KERNEL_BASE;
  if (runtime.length > start) throw new Error('the runtime reaches into the cases');
  const bytes = new Uint8Array(start + 16 + sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  bytes.set(runtime);
  view.setBigUint64(start, BigInt(cases.length), true);
  view.setBigUint64(start + 8, verbose ? 1n : 0n, true);
  let at = start + 16;
  for (const [index, one] of cases.entries()) {
    const fields = [
      BigInt(sizes[index]!), one.sstatus | (one.user ? 0n : SSTATUS.SPP), one.fcsr, BigInt(one.code.length), one.seed, one.codeFlags, one.superPte,
      ...one.pages, ...one.x, ...one.f,
    ];
    if (fields.length * 8 !== HEADER_BYTES || one.code.length > CODE_BYTES_MAX) throw new Error(`case ${one.name} is malformed`);
    for (const [field, value] of fields.entries()) view.setBigUint64(at + 8 * field, BigInt.asUintN(64, value), true);
    bytes.set(one.code, at + HEADER_BYTES);
    at += sizes[index]!;
  }
  return bytes;
}

/** `translated`: as wasm, and whatever runs is translated first, with a cache that is often full */
export type Target = 'qemu' | 'native' | 'wasm' | 'translated';

/** The three machines, made once per test file in `folder`. */
export class Bench {
  readonly #folder: string;
  readonly #runtime: Uint8Array;
  readonly #wasm: string;
  #runs = 0;

  private constructor(folder: string, wasm: string) {
    this.#folder = folder;
    this.#wasm = wasm;
    writeFileSync(join(folder, 'firmware'), assemble(folder, 'firmware-text', readFileSync(join(HERE, 'firmware.s'), 'utf8'), 0x80000000));
    this.#runtime = assemble(folder, 'runtime', readFileSync(join(HERE, 'runtime.s'), 'utf8'));
  }

  static async create(folder: string): Promise<Bench> {
    return new Bench(folder, (await buildMachine()).path);
  }

  /** Lines that the kernel printed. */
  async run(target: Target, kernel: Uint8Array): Promise<string[]> {
    const folder = join(this.#folder, `run-${this.#runs++}`);
    mkdirSync(folder);
    writeFileSync(join(folder, 'kernel'), kernel);
    writeFileSync(join(folder, 'config'), `memory=${MEMORY_MIB}\n`);
    const [program, args, env] = this.#command(target, folder);
    const done = promisify(execFile)(program, args, { env: { ...process.env, ...env }, maxBuffer: 1 << 28, timeout: TIMEOUT_MS });
    done.child.stdin?.end();
    // A machine that hangs is ended; that lines are missing then says where.
    const { stdout } = await done.catch((error: { stdout: string; stderr: string }) => {
      console.error(`${target}: ${error.stderr}`);
      return error;
    });
    const printed = target === 'qemu' ? readFileSync(join(folder, 'console'), 'utf8') : stdout;
    rmSync(folder, { recursive: true });
    return printed.replaceAll('\r', '').split('\n').filter((line) => line !== '');
  }

  async runCases(target: Target, cases: Case[], verbose = false): Promise<string[]> {
    return await this.run(target, kernelOf(this.#runtime, cases, verbose));
  }

  /** Made when a run asks for it: it takes longer than many a test. */
  #native(): string {
    const program = join(this.#folder, 'native');
    if (existsSync(program)) return program;
    const sources = machineSources().filter((path) => path.endsWith('.c') && !path.endsWith('_wasi.c'));
    execFileSync('gcc', [
      '-std=gnu17', '-O1', '-fsanitize=address,undefined', '-fno-sanitize=alignment,pointer-overflow', '-fno-sanitize-recover=all', '-fno-strict-aliasing', '-fwrapv', '-w',
      '-I.', '-o', program, ...sources,
    ], { cwd: MACHINE });
    return program;
  }

  #command(target: Target, folder: string): [string, string[], Record<string, string>] {
    switch (target) {
      case 'native': return [this.#native(), [], { PORTSIDE_IN: folder }];
      case 'wasm': return [process.execPath, ['--no-warnings', RUNNER, this.#wasm, '--in', folder], {}];
      case 'translated': return [process.execPath, ['--no-warnings', RUNNER, this.#wasm, '--translate', '--threshold', '1', '--modules', '16', '--in', folder], {}];
      default: return ['qemu-system-riscv64', [
        // With one hart only QEMU makes an AMO out of a load and a store, whose faults are not an AMO's. A pipe may lose characters; a file does not.
        '-M', 'virt', '-smp', '2', '-accel', 'tcg,thread=multi', '-cpu', QEMU_CPU, '-m', String(MEMORY_MIB), '-display', 'none', '-monitor', 'none', '-serial', `file:${join(folder, 'console')}`,
        '-bios', join(this.#folder, 'firmware'), '-device', `loader,file=${join(folder, 'kernel')},addr=${KERNEL_BASE},force-raw=on`,
      ], {}];
    }
  }
}

/** One case's lines, explained: what differs at the first trap that shows a difference. */
export function differences(expected: string[], got: string[]): string[] {
  const found: string[] = [];
  for (let line = 0; line < Math.max(expected.length, got.length) && found.length === 0; line++) {
    const [theirs, ours] = [(expected[line] ?? '').split(' '), (got[line] ?? '').split(' ')];
    const counters: Record<string, number> = {};
    for (let i = 0; i < Math.max(theirs.length, ours.length); i++) {
      const letter = (theirs[i] ?? ours[i] ?? '?').charAt(0);
      const number = counters[letter] = (counters[letter] ?? -1) + 1;
      if (theirs[i] === ours[i]) continue;
      const name = { c: 'cause', t: 'tval', e: 'epc', F: 'fcsr', s: 'sstatus', x: `x${number + 1}`, f: `f${number}`, m: 'memory', p: `pte ${number}`, h: 'hash' }[letter] ?? '?';
      found.push(`trap ${line}, ${name}: QEMU ${theirs[i]?.slice(1)}, ours ${ours[i]?.slice(1)}`);
    }
  }
  return found;
}
