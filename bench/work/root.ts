/*
 * The root that the everyday commands run in: a Debian with what people install, from packages pinned in work.lock.json, and in /work the
 * parts, their inputs and a repository for apt. Inputs come from fixed seeds.
 *
 *   npx tsx bench/work/root.ts      pins anew
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { readDeb, type Deb } from '../../image/deb.ts';
import { readPackage, type Lock } from '../../image/packages.ts';
import { Chance } from '../../tools/fuzz/chance.ts';
import type { Tree } from '../../image/tree.ts';
import { lockedDebian, pinAnew, type DebianSpec, type LockedDebian } from '../../tools/locked-debian.ts';
import { generateC } from '../../tools/proof/generate-c.ts';
import { PARTS, scriptOf } from './parts.ts';

const GUEST = fileURLToPath(new URL('guest', import.meta.url));
const PACKAGES = [
  'apt', 'bash', 'ca-certificates', 'coreutils', 'dash', 'debian-archive-keyring', 'findutils', 'gcc', 'git', 'grep', 'gzip', 'libc6-dev', 'mawk', 'netbase', 'nodejs', 'openssl', 'perl', 'procps', 'python3.13', 'sed',
  'sqlite3', 'tar', 'xz-utils', 'zstd',
];
/** What `apt-get install jq file bc tree figlet` brings. */
const REPOSITORY = ['bc', 'figlet', 'file', 'jq', 'libjq1', 'libmagic-mgc', 'libmagic1t64', 'libonig5', 'tree'];
/** A third of all bytes, of use to link-time optimisation and sanitizers only. */
const UNUSED = ['usr/libexec/gcc/riscv64-linux-gnu/14/lto1', 'usr/bin/riscv64-linux-gnu-lto-dump-14', 'usr/lib/gcc/riscv64-linux-gnu/14/libasan.a', 'usr/lib/gcc/riscv64-linux-gnu/14/libtsan.a', 'usr/lib/gcc/riscv64-linux-gnu/14/liblsan.a', 'usr/lib/gcc/riscv64-linux-gnu/14/libubsan.a'];
/** logs of so many MB, each the beginning of the next */
const TEXTS_MB = [1, 2, 4];
/** as in Debian's main for one architecture */
const INDEX_BYTES = 54e6;
/** functions of some 45 lines in the file that gcc makes */
const C_FUNCTIONS = 12;

export function workRoot(report: (text: string) => void): Promise<LockedDebian> {
  return lockedDebian(spec(), report);
}

function spec(): DebianSpec {
  const files = new Map<string, string>(readdirSync(GUEST).sort().map((name) => [name, readFileSync(join(GUEST, name), 'utf8')]));
  for (const part of PARTS) files.set(`parts/${part.name}.sh`, scriptOf(part));
  return {
    name: 'work', title: 'Work', folder: 'work', lockFile: fileURLToPath(new URL('work.lock.json', import.meta.url)), memoryMiB: 1024,
    wanted: PACKAGES, repository: REPOSITORY, contents: [[...files], TEXTS_MB, INDEX_BYTES, C_FUNCTIONS, UNUSED, readFileSync(fileURLToPath(import.meta.url), 'utf8')],
    lay: async (tree, debs, lock) => {
      for (const path of UNUSED) {
        if (tree.lookup(path) === null) throw new Error(`there is no ${path} to leave out`);
        tree.remove(path);
      }
      tree.symlink('usr/bin/python3', 'python3.13');
      for (const dir of ['work', 'work/parts']) tree.mkdir(dir);
      for (const [name, text] of files) tree.write(`work/${name}`, text);
      for (const mb of TEXTS_MB) tree.write(`work/text${mb}`, logText(mb * 2 ** 20));
      tree.write('work/generated.c', generateC(20_261_130, C_FUNCTIONS));
      await layRepository(tree, debs, lock);
    },
  };
}

const WORDS = 'the of and to in is that it was for on are with as his they at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part'.split(' ');
const SERVICES = ['sshd', 'nginx', 'cron', 'kernel', 'systemd', 'postfix/smtpd', 'dockerd'];

/** Lines of a log: times, names, addresses, words, here and there a letter beyond ASCII. */
function logText(bytes: number): string {
  const chance = new Chance(11);
  const lines: string[] = [];
  for (let size = 0, second = 0; size < bytes; second += chance.below(4)) {
    const time = new Date(1_764_000_000_000 + second * 1000).toISOString().slice(0, 19);
    const words = Array.from({ length: 3 + chance.below(9) }, () => chance.pick(WORDS)).join(' ');
    const line = `${time} host${chance.below(20)} ${chance.pick(SERVICES)}[${chance.below(30_000)}]: ${chance.pick(['info', 'info', 'info', 'warning', 'error'])}: ${words}${chance.oneIn(50) ? ' größer' : ''} from 10.${chance.below(4)}.${chance.below(256)}.${chance.below(256)} port ${1024 + chance.below(60_000)} id=${chance.u32().toString(16)}`;
    lines.push(line);
    size += line.length + 1;
  }
  return `${lines.join('\n')}\n`;
}

/** A repository in /work/repo: the lock's packages, and as many more in its index as Debian has, each an installed one's control file under another name. */
async function layRepository(tree: Tree, debs: Map<string, Deb>, lock: Lock): Promise<void> {
  const chance = new Chance(54);
  const stanzas: string[] = [];
  tree.mkdir('work/repo');
  for (const name of lock.groups.repository) {
    const locked = lock.packages[name], bytes = await readPackage(locked), { control } = await readDeb(bytes);
    tree.write(`work/repo/${name}.deb`, bytes);
    stanzas.push(`${Buffer.from(control.get('control')!).toString().trimEnd()}\nFilename: ./${name}.deb\nSize: ${locked.size}\nSHA256: ${locked.sha256}\n`);
  }
  const models = [...debs].map(([name, { control }]) => ({ name, text: Buffer.from(control.get('control')!).toString().trimEnd() }));
  const hex = (words: number): string => Array.from({ length: words }, () => chance.u32().toString(16).padStart(8, '0')).join('');
  for (let size = 0, turn = 0; size < INDEX_BYTES; turn++) {
    for (const { name, text } of models) {
      // What other packages need has to be there: of the same turn.
      const renamed = text.replace(/^Package: .*$/m, `Package: ${name}-${turn}`).replace(/^(Essential|Protected|Important|Provides|Breaks|Replaces|Conflicts|Multi-Arch): .*\n( .*\n)*/gm, '')
        .replace(/^((?:Pre-)?Depends: )(.*)$/gm, (_, field: string, list: string) => field + list.replace(/(^|, |\| )([a-z0-9][a-z0-9+.-]+)/g, (all, before: string, other: string) => (debs.has(other) ? `${before}${other}-${turn}` : all)));
      const stanza = `${renamed}\nDescription-md5: ${hex(4)}\nSection: misc\nPriority: optional\nFilename: pool/main/${name[0]}/${name}/${name}-${turn}_1_riscv64.deb\nSize: ${chance.below(5e6)}\nMD5sum: ${hex(4)}\nSHA256: ${hex(8)}\n`
        .replace(/^(Section|Priority): .*\n(?=[^]*^\1: )/gm, '');
      stanzas.push(stanza);
      size += stanza.length + 1;
    }
  }
  const index = Buffer.from(stanzas.join('\n')), packed = gzipSync(index);
  tree.write('work/repo/Packages.gz', packed);
  const sums = [['Packages', index], ['Packages.gz', packed]].map(([name, bytes]) => ` ${createHash('sha256').update(bytes as Buffer).digest('hex')} ${bytes.length} ${name as string}`);
  tree.write('work/repo/Release', ['Origin: Portside', 'Label: Portside benchmark', `Architectures: ${lock.architecture}`, 'Date: Mon, 24 Nov 2025 15:20:00 UTC', 'SHA256:', ...sums, ''].join('\n'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await pinAnew(spec());
