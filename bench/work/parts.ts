/*
 * The everyday commands, in shell. Each takes about 0.5 to 5 s in QEMU. `prepare` is not timed: it makes inputs and has programs and their
 * files read from the disk once. `check` says what came of it, if that is not what the command printed; it must not depend on time,
 * randomness or the machine. All run as bash functions in an empty folder, `guest/run.sh` around them, with `in` for what `guest/inputs.sh` makes.
 */
export interface Part {
  name: string;
  /** for the table */
  title: string;
  kind: Kind;
  prepare?: string;
  work: string;
  check?: string;
}

export const KINDS = ['hashes', 'compression', 'languages', 'shell', 'text', 'files', 'compiler', 'database', 'integers', 'floating point', 'apt'] as const;
export type Kind = (typeof KINDS)[number];

const KEY = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';
const IV = '0f0e0d0c0b0a09080706050403020100';
/** 2^1279 - 1, a prime: modular exponentiation as RSA has it */
const MERSENNE = `7${'F'.repeat(319)}`;

export const PARTS: Part[] = [
  { name: 'sha256sum', title: 'sha256sum, 16 MB', kind: 'hashes', prepare: 'text 16', work: 'sha256sum <$in/text16' },
  { name: 'md5sum', title: 'md5sum, 32 MB', kind: 'hashes', prepare: 'text 32', work: 'md5sum <$in/text32' },
  { name: 'cksum', title: 'cksum, 64 MB', kind: 'hashes', prepare: 'text 32', work: 'cat $in/text32 $in/text32 | cksum' },
  { name: 'sha512', title: 'openssl dgst -sha512, 32 MB', kind: 'hashes', prepare: 'text 32', work: 'openssl dgst -sha512 -r $in/text32 | cut -d" " -f1' },
  { name: 'aes', title: 'openssl enc -aes-256-ctr, 16 MB', kind: 'hashes', prepare: 'text 16', work: `openssl enc -aes-256-ctr -K ${KEY} -iv ${IV} -in $in/text16 -out sealed`, check: 'sha256sum sealed' },
  { name: 'chacha20', title: 'openssl enc -chacha20, 32 MB', kind: 'hashes', prepare: 'text 32', work: `openssl enc -chacha20 -K ${KEY} -iv ${IV} -in $in/text32 -out sealed`, check: 'sha256sum sealed' },
  { name: 'bignum', title: 'openssl prime, 1279 bits', kind: 'hashes', work: `openssl prime -hex ${MERSENNE}` },

  { name: 'gzip', title: 'gzip -6, 4 MB', kind: 'compression', prepare: 'text 4', work: 'gzip -n -6 <$in/text4 >packed', check: 'sha256sum packed' },
  { name: 'gunzip', title: 'gunzip, 16 MB', kind: 'compression', prepare: 'text 16; gzip -1 <$in/text16 >packed', work: 'gunzip <packed >/dev/null' },
  { name: 'xz', title: 'xz -2, 2 MB', kind: 'compression', prepare: 'text 2', work: 'xz -2 -T1 <$in/text2 >packed', check: 'sha256sum packed' },
  { name: 'unxz', title: 'unxz, 8 MB', kind: 'compression', prepare: 'text 8; xz -0 -T1 <$in/text8 >packed', work: 'xz -dc <packed >/dev/null' },
  { name: 'zstd', title: 'zstd -6, 4 MB', kind: 'compression', prepare: 'text 4', work: 'zstd -q -6 --single-thread <$in/text4 >packed', check: 'sha256sum packed' },

  { name: 'perl-regex', title: 'perl, regular expressions', kind: 'languages', prepare: 'text 2; perl -e 1', work: 'perl /work/perl.pl regex $in/text2' },
  { name: 'perl-hash', title: 'perl, hashes', kind: 'languages', prepare: 'text 1; perl -e 1', work: 'perl /work/perl.pl hash $in/text1' },
  { name: 'python-start', title: 'python, 3 starts', kind: 'languages', prepare: 'python3 -c "import json, re, subprocess"', work: 'for i in 1 2 3; do python3 -c "import json, re, subprocess; print(len(re.__name__))"; done' },
  ...([['generators', 'generators'], ['text', 'dict and str'], ['json', 'json'], ['objects', 'classes and methods']] as const)
    .map(([name, title]): Part => ({ name: `python-${name}`, title: `python, ${title}`, kind: 'languages', prepare: 'text 2; python3 -c "import json, re"', work: `python3 /work/python.py ${name} $in/text2` })),
  ...([['nbody', 'n-body'], ['matrix', 'matrix product'], ['fft', 'FFT']] as const)
    .map(([name, title]): Part => ({ name: `python-${name}`, title: `python, ${title}`, kind: 'floating point', prepare: 'python3 -c "import cmath"', work: `python3 /work/python.py ${name}` })),
  { name: 'node-start', title: 'node, start', kind: 'languages', prepare: 'node -e 0', work: 'node -p "1 + 1"' },
  { name: 'node', title: 'node, objects, JSON, sort', kind: 'languages', prepare: 'node -e 0', work: 'node /work/node.cjs' },

  { name: 'bash-loop', title: 'bash, loop', kind: 'shell', work: 'bash /work/loop.bash' },
  { name: 'dash-loop', title: 'dash, loop', kind: 'shell', work: "dash -c 'i=0; s=0; while [ $i -lt 50000 ]; do s=$(((s * 31 + i) % 65521)); i=$((i + 1)); done; echo $s'" },
  { name: 'fork-exec', title: 'dash, 100 x /bin/true', kind: 'shell', work: "dash -c 'i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i + 1)); done; echo $i'" },
  { name: 'pipelines', title: 'bash, 30 x $(a | b)', kind: 'shell', work: 'n=0; for ((i = 0; i < 30; i++)); do x=$(echo "$i a b" | cut -d" " -f1); n=$((n + x)); done; echo $n' },

  { name: 'awk', title: 'awk, 4 MB', kind: 'text', prepare: 'text 4', work: `awk '{ n[$3]++; bytes += length($0); for (i = 4; i <= NF; i++) if ($i in w) w[$i] += i; else w[$i] = 1 } END { for (k in w) if (w[k] > 1000) t += w[k]; print NR, bytes, t, n["host"] }' $in/text4` },
  { name: 'sed', title: 'sed, 4 MB', kind: 'text', prepare: 'text 4', work: "sed -E -e 's/([0-9]+)\\.([0-9]+)\\.([0-9]+)/\\3.\\2.\\1/' -e '/warning/d' -e 's/host([0-9])/node-\\1/g' $in/text4" },
  { name: 'sort', title: 'sort, 4 MB by two keys', kind: 'text', prepare: 'text 4', work: 'sort -k2,2 -k12n $in/text4' },
  { name: 'grep', title: 'grep -E, 16 MB', kind: 'text', prepare: 'text 16', work: "grep -cE '(error|warning): .*(water|people).*10\\.[0-3]\\.1[0-9]+' $in/text16; grep -ciE 'gr(ö|oe)sser|größer$' $in/text16; grep -c 'port 4[0-9]*2 ' $in/text16" },
  { name: 'pipeline', title: 'cut | tr | sort | uniq | head', kind: 'text', prepare: 'text 2', work: "cut -d' ' -f5-9 $in/text2 | tr ' ' '\\n' | sort | uniq -c | sort -rn | head -50" },

  { name: 'tar', title: 'tar, create and extract', kind: 'files', prepare: 'tar cf - /usr/include/linux | cat >/dev/null', work: 'tar cf a.tar -C /usr/include linux && mkdir b && tar xf a.tar -C b', check: 'sha256sum <a.tar; find b -type f | wc -l' },
  { name: 'find', title: 'find /usr /var', kind: 'files', prepare: 'find /usr -size +1k >/dev/null', work: "find /usr /var -type f \\( -name '*.h' -o -size +100k \\) -printf '%s %p\\n' | wc" },
  { name: 'cp-rm', title: 'cp -r, chmod -R, find, rm -r', kind: 'files', prepare: 'cp -r /usr/include/linux a; rm -r a', work: 'cp -r /usr/include/linux a && cp -r a b && chmod -R go-r b && find a b -type f | wc -l && rm -r a b' },
  { name: 'git', title: 'git init, add, commit, diff, log, gc', kind: 'files', prepare: 'mkdir linux; cp /usr/include/linux/[a-d]*.h linux; git --version', work: 'sh /work/git.sh', check: 'git -C linux rev-parse HEAD; tail -3 out' },

  { name: 'gcc', title: 'gcc -O2, 500 lines of arithmetic', kind: 'compiler', prepare: 'echo "#include <stdio.h>" | gcc -O2 -xc -c -o x.o -', work: 'gcc -O2 -c -o g.o /work/generated.c', check: 'sha256sum <g.o' },
  { name: 'gcc-O0', title: 'gcc -O0 and link', kind: 'compiler', prepare: 'echo "int main(void) { return 0; }" | gcc -xc -o x -', work: 'gcc -O0 -o g /work/generated.c -lm', check: 'sha256sum <g' },

  { name: 'sqlite', title: 'sqlite3, inserts and joins', kind: 'database', prepare: 'sqlite3 :memory: "select 1"', work: 'sqlite3 t.db </work/work.sql' },

  ...([['sieve', 'sieve'], ['qsort', 'qsort'], ['collatz', 'Collatz'], ['hash', 'hash and table'], ['strings', 'strings']] as const)
    .map(([name, title]): Part => ({ name: `c-${name}`, title: `C, ${title}`, kind: 'integers', prepare: 'program', work: `$in/program ${name}` })),
  ...([['nbody', 'n-body'], ['fft', 'FFT'], ['matrix', 'matrix product'], ['mandelbrot', 'Mandelbrot, float']] as const)
    .map(([name, title]): Part => ({ name: `c-${name}`, title: `C, ${title}`, kind: 'floating point', prepare: 'program', work: `$in/program ${name}` })),

  { name: 'apt-update', title: 'apt-get update, index of 54 MB', kind: 'apt', prepare: 'repository; cat /work/repo/* >/dev/null', work: 'apt-get update -qq', check: 'apt-cache policy tree | head -3; apt-cache show jq-0 jq | grep -c ^Package' },
  { name: 'apt-install', title: 'apt-get install jq file bc tree figlet', kind: 'apt', prepare: 'repository; apt-get purge -qq -y jq file bc tree figlet libjq1 libmagic1t64 libmagic-mgc libonig5; [ -e /var/lib/apt/lists/*_Packages ] || apt-get update -qq', work: 'apt-get install -qq -y jq file bc tree figlet', check: "dpkg-query -W -f '${Status} ${Package}\\n' jq file bc tree figlet; echo '{\"a\": [1, 2]}' | jq -c .a" },
];

/** The file that `guest/run.sh` reads for a part. */
export function scriptOf({ prepare = ':', work, check = 'cat out' }: Part): string {
  return `prepare() {\n${prepare}\n}\nwork() {\n${work}\n}\ncheck() {\n${check}\n}\n`;
}

/** Of `--only`: names or kinds, by commas. */
export function chosenParts(only: string | undefined): Part[] {
  if (only === undefined) return PARTS;
  const wanted = only.split(',').map((word) => word.trim()).filter((word) => word !== '');
  const unknown = wanted.filter((word) => !PARTS.some(({ name, kind }) => name === word || kind === word));
  if (unknown.length > 0 || wanted.length === 0) throw new Error(`no part is called ${unknown.join(', ') || 'nothing'}; --list names them`);
  return PARTS.filter(({ name, kind }) => wanted.includes(name) || wanted.includes(kind));
}
