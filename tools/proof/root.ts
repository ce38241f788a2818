/*
 * The roots that the proof runs in: a Debian with python's own tests, gcc, sqlite3, openssl and stress-ng, from packages pinned in
 * proof.lock.json, and the same without gcc for the short proof, which is half as much to fetch.
 *
 *   npx tsx tools/proof/root.ts      pins anew
 */
import { fileURLToPath } from 'node:url';
import { lockedDebian, pinAnew, type DebianSpec, type LockedDebian } from '../locked-debian.ts';
import { PARTS, proofFiles, SHORT } from './parts.ts';

const PACKAGES = ['bash', 'ca-certificates', 'coreutils', 'diffutils', 'findutils', 'gcc', 'grep', 'iproute2', 'libc6-dev', 'libpython3.13-testsuite', 'netbase', 'openssl', 'procps', 'python3.13', 'sed', 'sqlite3', 'stress-ng'];
/** What stress-ng's graphics need behind libEGL and libgbm: half of all bytes, and no machine here has a screen. */
const LEFT_OUT = ['libegl-mesa0', 'libllvm19', 'libz3-4', 'mesa-libgallium'];
/** What the short proof does without. */
const COMPILER = /^(gcc$|gcc-14$|gcc-14-riscv64|gcc-riscv64|cpp|binutils|linux-libc-dev|rpcsvc-proto|lib(asan|binutils|cc1|ctf|gcc-14-dev|gprofng|isl|itm|jansson|lsan|mpc|sframe|tsan|ubsan|c6-dev|c-dev-bin|crypt-dev))/;
const KINDS = {
  whole: { memoryMiB: 1024, without: /^$/, parts: PARTS },
  short: { memoryMiB: 512, without: COMPILER, parts: [SHORT] },
};

export type RootKind = keyof typeof KINDS;

export function proofRoot(kind: RootKind, report: (text: string) => void): Promise<LockedDebian> {
  return lockedDebian(spec(kind), report);
}

function spec(kind: RootKind): DebianSpec {
  const { memoryMiB, without, parts } = KINDS[kind], files = [...proofFiles(parts)];
  return {
    name: 'proof', title: 'Proof', folder: `proof/${kind}`, lockFile: fileURLToPath(new URL('proof.lock.json', import.meta.url)), memoryMiB,
    wanted: PACKAGES, leftOut: LEFT_OUT, isInstalled: (name) => !without.test(name), contents: files,
    lay: (tree) => {
      tree.mkdir('proof');
      for (const [name, text] of files) tree.write(`proof/${name}`, text);
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await pinAnew(spec('whole'));
