/*
 * What the proof runs: shell scripts whose lines `= NAME RESULT` have to come out the same on both machines. Everything else
 * that they print (times, speeds) is for people. Nothing in them depends on time, randomness or the machine's speed.
 */
import { generateC } from './generate-c.ts';

export interface Part {
  name: string;
  script: string;
  timeoutMs: number;
}

const MINUTE = 60_000;
/** after which a module of python's tests is taken for hung, in `s`: much, as a busy machine is no difference */
const MODULE_S = 3600;

/** Modules of python's own test suite, by subject: a start for each subject. Each case is a line, so that a difference names itself. */
const PYTHON_TESTS = {
  numbers: ['math', 'cmath', 'float', 'complex', 'int', 'long', 'fractions', 'statistics', 'random', 'decimal'],
  data: ['struct', 'json', 're', 'hashlib', 'zlib', 'bz2', 'lzma', 'binascii', 'base64', 'array', 'itertools', 'sort', 'dict', 'set', 'bytes', 'heapq', 'pickle', 'datetime'],
  system: ['time', 'select', 'selectors', 'signal', 'threading', 'queue', 'subprocess', 'socket', 'mmap', 'os', 'posix', 'fcntl', 'tempfile'],
  // What is about Windows is all skipped.
  asyncio: [
    'tasks', 'futures', 'futures2', 'locks', 'queues', 'taskgroups', 'timeouts', 'waitfor', 'runners', 'threads', 'context', 'eager_task_factory', 'staggered', 'pep492', 'protocols', 'transports', 'buffered_proto',
    'base_events', 'events', 'selector_events', 'unix_events', 'proactor_events', 'sock_lowlevel', 'server', 'streams', 'sendfile', 'subprocess', 'sslproto', 'ssl',
  ].map((name) => `asyncio.test_${name}`),
};
/** Their cases are about the network beyond, about what the container lacks, or about timing itself. */
const PYTHON_RUNNER = `import sys, unittest
from test import support
support.use_resources = []
support.verbose = 0
class Lines(unittest.TestResult):
    def line(self, test, word): print('=', test.id(), word, flush=True)
    def addSuccess(self, test): self.line(test, 'ok')
    def addError(self, test, err): self.line(test, 'error'); sys.stderr.write(self._exc_info_to_string(err, test)[-800:])
    def addFailure(self, test, err): self.line(test, 'failed'); sys.stderr.write(self._exc_info_to_string(err, test)[-800:])
    def addSkip(self, test, reason): self.line(test, 'skipped')
    def addExpectedFailure(self, test, err): self.line(test, 'xfail')
    def addUnexpectedSuccess(self, test): self.line(test, 'xpass')
unittest.defaultTestLoader.loadTestsFromName('test.test_' + sys.argv[1]).run(Lines())
`;

function python(modules: string[]): string {
  return `cat >/tmp/lines.py <<'END'\n${PYTHON_RUNNER}END\ncd /tmp; for m in ${modules.join(' ')}; do timeout ${MODULE_S} python3.13 /tmp/lines.py $m 2>&1; echo "= $m status $?"; done`;
}

const PYTHON_PARTS: Part[] = Object.entries(PYTHON_TESTS).map(([subject, modules]) => ({ name: `python-${subject}`, timeoutMs: modules.length * MODULE_S * 1000, script: python(modules) }));

const OPENSSL = `cd /tmp
head -c 1000003 /dev/zero | tr '\\0' 'p' >data
for d in md5 sha1 sha256 sha512 sha3-256 blake2b512 blake2s256 ripemd160; do echo "= $d $(openssl dgst -$d -r data | cut -d' ' -f1)"; done
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f; iv=0f0e0d0c0b0a09080706050403020100
for c in aes-128-cbc aes-256-ctr aes-256-cbc aria-256-cbc camellia-256-ctr chacha20 sm4-ctr; do
  len=\${c#*-}; case $c in *128*|sm4*) k=\${key%????????????????????????????????} ;; *) k=$key ;; esac
  openssl enc -$c -K $k -iv $iv -in data -out sealed 2>/dev/null; echo "= $c $(sha256sum <sealed)"
  openssl enc -d -$c -K $k -iv $iv -in sealed 2>/dev/null | cmp - data; echo "= $c back $?"
done
echo "= hmac $(openssl dgst -sha256 -hmac secret -r data | cut -d' ' -f1)"
echo "= kdf $(openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:p -kdfopt salt:s -kdfopt iter:2000 PBKDF2)"
echo "= scrypt $(openssl kdf -keylen 32 -kdfopt pass:p -kdfopt salt:salt -kdfopt n:1024 -kdfopt r:8 -kdfopt p:1 SCRYPT)"
for a in RSA:rsa_keygen_bits:2048 EC:ec_paramgen_curve:P-256 EC:ec_paramgen_curve:P-384 ED25519: ED448:; do
  n=\${a%%:*}; o=\${a#*:}
  openssl genpkey -algorithm $n \${o:+-pkeyopt $o} -out key.pem 2>/dev/null && openssl pkey -in key.pem -pubout -out pub.pem
  head -c 5000 data >part; raw=; case $n in ED*) raw=-rawin ;; *) openssl dgst -sha256 -binary part >hash; mv hash part ;; esac
  openssl pkeyutl -sign -inkey key.pem $raw -in part -out sig 2>/dev/null
  echo "= $n $o $(openssl pkeyutl -verify -pubin -inkey pub.pem $raw -in part -sigfile sig 2>&1)"
  printf x | dd of=part bs=1 seek=3 conv=notrunc 2>/dev/null
  openssl pkeyutl -verify -pubin -inkey pub.pem $raw -in part -sigfile sig >/dev/null 2>&1; echo "= $n $o of another $?"
done
echo "= prime $(openssl prime 57896044618658097711785492504343953926634992332820282019728792003956564819949 | tail -c 10)"
for a in sha256 '-evp aes-256-gcm' '-evp chacha20-poly1305' ecdhx25519; do openssl speed -seconds 1 -bytes 16384 $a >log 2>&1; echo "= speed $a $?"; tail -1 log; done`;

const sqlite = (rows: number): string => `cd /tmp; rm -f t.db; cat >t.sql <<'END'
.bail on
pragma journal_mode=wal;
create table t(id integer primary key, a integer, b real, c text, d blob);
create index t_a on t(a); create index t_c on t(c, b);
begin;
with recursive n(i) as (select 1 union all select i+1 from n where i < ${rows})
insert into t select i, (i * 7919) % 10007, (i % 1000) / 7.0, printf('row-%06d-%s', (i * 31) % 60000, hex(i)), zeroblob(i % 50) from n;
commit;
update t set b = b * 1.5 + a where id % 3 = 0;
delete from t where a between 100 and 900 and id % 2 = 1;
savepoint s; delete from t; rollback to s; release s;
create virtual table f using fts5(body);
insert into f select c || ' ' || (a % 50) from t where id % 7 = 0;
create table j as select json_object('id', id, 'a', a, 'list', json_array(a, b)) as doc from t where id < 3000;
select '= counts', count(*), sum(a), round(sum(b), 6), sum(length(d)) from t;
select '= groups', a % 17, count(*), round(avg(b), 9), max(c) from t group by 2 order by 2;
select '= window', id, sum(a) over (order by id rows 20 preceding) from t where id % 5000 = 0;
select '= join', count(*), sum(x.a - y.a) from t x join t y on x.a = y.id;
select '= fts', count(*) from f where f match '17 OR 23';
select '= json', sum(json_extract(doc, '$.list[0]')), count(*) from j;
select '= text', group_concat(c, ';') from (select c from t order by c desc limit 5);
select '= float', 0.1 + 0.2, 1e308 * 10, 1.0 / 3, round(2.5), exp(1), sin(1), pow(2, 0.5), ln(10);
vacuum; reindex;
pragma integrity_check; pragma foreign_key_check;
END
sqlite3 t.db <t.sql; echo "= status $?"
echo "= integrity $(sqlite3 t.db 'pragma integrity_check')"; echo "= dump $(sqlite3 t.db .dump | sha256sum)"`;

const STRESSORS = {
  cpu: '--cpu 1 --cpu-method all', vm: '--vm 1 --vm-bytes 96M --vm-method all', fork: '--fork 1', futex: '--futex 1', timer: '--timer 1 --timer-freq 1000', timerfd: '--timerfd 1 --timerfd-freq 1000',
  itimer: '--itimer 1 --itimer-freq 1000', sigq: '--sigq 1', sigfpe: '--sigfpe 1', sigsegv: '--sigsegv 1', signal: '--signal 1', sigtrap: '--sigtrap 1', pipe: '--pipe 1', mmap: '--mmap 1 --mmap-bytes 64M', mremap: '--mremap 1 --mremap-bytes 32M',
  switch: '--switch 1', mutex: '--mutex 1', sem: '--sem 1', pthread: '--pthread 1', clock: '--clock 1', nanosleep: '--nanosleep 1', 'fp-error': '--fp-error 1', fp: '--fp 1', atomic: '--atomic 1', branch: '--branch 1',
  matrix: '--matrix 1', qsort: '--qsort 1', hash: '--hash 1', crypt: '--crypt 1', zlib: '--zlib 1', memcpy: '--memcpy 1', 'str': '--str 1', 'vm-rw': '--vm-rw 1 --vm-rw-bytes 16M', vfork: '--vfork 1', poll: '--poll 1', epoll: '--epoll 1', eventfd: '--eventfd 1', sock: '--sock 1', longjmp: '--longjmp 1', icache: '--icache 1', tsc: '--tsc 1', fault: '--fault 1', mprotect: '--mprotect 1',
};

/** How many seconds each stressor runs. A failed verification is a status of its own: 2. */
function stress(seconds: number, names: string[]): string[] {
  return names.map((name) => `timeout ${seconds * 6 + 60} stress-ng --verify --no-rand-seed --temp-path /tmp --timeout ${seconds}s ${STRESSORS[name as keyof typeof STRESSORS]} >/tmp/log 2>&1; s=$?; echo "= ${name} $s"; [ $s = 0 ] || tail -5 /tmp/log`);
}
const STRESS_S = 5;

/** gcc makes a program of thousands of lines at three levels of optimisation; its checksums are also those of this computer's gcc. */
export const C_PROGRAM = generateC(20_251_125, 120);
const C = `for o in 0 2 3; do gcc -O$o -ffp-contract=off -o /tmp/p /proof/p.c -lm; echo "= gcc -O$o $?"; /tmp/p | sed "s/^/= /"; done`;

export const PARTS: Part[] = [
  { name: 'openssl', script: OPENSSL, timeoutMs: 20 * MINUTE }, { name: 'sqlite', script: sqlite(60_000), timeoutMs: 20 * MINUTE }, { name: 'gcc', script: C, timeoutMs: 60 * MINUTE },
  { name: 'stress-ng', script: stress(STRESS_S, Object.keys(STRESSORS)).join('\n'), timeoutMs: Object.keys(STRESSORS).length * (STRESS_S * 6 + 60) * 1000 }, ...PYTHON_PARTS,
];

/** Something of each but gcc: what `npm test` runs each time. */
export const SHORT: Part = {
  name: 'short', timeoutMs: 20 * MINUTE,
  script: [OPENSSL, sqlite(10_000), python(['float', 'struct']), ...stress(1, ['cpu', 'vm', 'fork', 'futex', 'timer', 'sigq', 'sigsegv', 'switch', 'tsc', 'clock'])].join('\n'),
};

/** What lies in the root as /proof. */
export function proofFiles(parts: Part[]): Map<string, string> {
  return new Map([['p.c', C_PROGRAM], ...parts.map(({ name, script }): [string, string] => [`${name}.sh`, `${script}\n`])]);
}
