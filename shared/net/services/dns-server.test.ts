import { describe, expect, test } from 'vitest';
import { udp, GATEWAY_IP, GUEST_IP } from '../stack/fixture/frames.ts';
import { QUERIES_MAX, UPSTREAM_TCP_MAX, WAITERS_MAX } from './dns-forwarder.ts';
import { IDLE_MS, OUTSTANDING_MAX } from './dns-tcp.ts';
import { behindLength, dnsAnswer, DnsLab, dnsQuery, nameBytes, opt, TcpAsker, TYPE_AAAA } from './fixture/dns-lab.ts';

const COOKIE: [number, number[]] = [10, [1, 2, 3, 4, 5, 6, 7, 8]];
const SERVER_COOKIE: [number, number[]] = [10, [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9, 9]];
const ONE = { addresses: ['1.1.1.1'] };
const TWO = { addresses: ['2.2.2.2'] };

describe('EDNS is hop by hop', () => {
  test('no option of a client goes on, none of a resolver comes back, and none is in the cache', () => {
    const lab = new DnsLab();
    lab.ask('example.org', { edns: 4096, options: [COOKIE, [8, [0, 1, 24, 0, 10, 1, 2]], [3, []], [12, [0, 0, 0]]] });
    const [{ socket, query }] = lab.asked(1);
    expect([...query.subarray(12)]).toEqual([...nameBytes('example.org'), 0, 1, 0, 1, ...opt(1232)]);
    lab.say(socket, dnsAnswer(query, { ...ONE, additional: [opt(1232, false, [SERVER_COOKIE, [15, [0, 3]]])] }));
    expect(lab.heardOne()).toMatchObject({ addresses: ['1.1.1.1'], optLen: 0, isDo: false });
    // Another client's cookie is not the first one's; one without EDNS gets none.
    lab.ask('example.org', { edns: 1232, options: [[10, [8, 8, 8, 8, 8, 8, 8, 8]]] });
    expect(lab.heardOne()).toMatchObject({ addresses: ['1.1.1.1'], optLen: 0 });
    lab.ask('example.org');
    expect(lab.heardOne()).toMatchObject({ addresses: ['1.1.1.1'], optLen: null });
    expect([lab.stat('dnsCacheHits'), lab.asked(1).length]).toEqual([2, 0]);
  });

  test('DO, CD, AD and RD make another question each; DO comes back as it was sent', () => {
    const lab = new DnsLab();
    const kinds = [{}, { edns: 1232, isDo: true }, { flags: 0x110 }, { flags: 0x120 }, { flags: 0 }];
    kinds.forEach((kind, i) => {
      lab.ask('example.org', kind);
      const asked = lab.asked(1);
      expect([asked.length, asked[0].query[2], asked[0].query[3]]).toEqual([1, (kind.flags ?? 0x100) >>> 8, (kind.flags ?? 0) & 0xff]);
      expect([...asked[0].query.subarray(29)]).toEqual(kind.isDo === true ? opt(1232, true) : []);
      lab.say(asked[0].socket, dnsAnswer(asked[0].query, { addresses: [`1.1.1.${i}`] }));
      expect(lab.heardOne()).toMatchObject({ addresses: [`1.1.1.${i}`], isDo: kind.isDo ?? false });
    });
    kinds.forEach((kind, i) => {
      lab.ask('example.org', kind);
      expect(lab.heardOne()!.addresses).toEqual([`1.1.1.${i}`]);
    });
    expect(lab.asked(1)).toEqual([]);
  });

  test('local answers have an OPT for those who sent one; a version that nobody knows is BADVERS; two OPTs are FORMERR', () => {
    const lab = new DnsLab();
    lab.ask('host.containers.internal', { edns: 1232, options: [COOKIE] });
    expect(lab.heardOne()).toMatchObject({ addresses: ['192.168.127.254'], optLen: 0 });
    lab.ask('host.containers.internal');
    expect(lab.heardOne()).toMatchObject({ optLen: null });
    lab.ask('example.org', { edns: 1232, version: 1 });
    expect(lab.heardOne()).toMatchObject({ rcode: 16, optLen: 0 });
    lab.send(17, udp(GUEST_IP, GATEWAY_IP, 5000, 53, dnsQuery('example.org', { edns: 1232, extra: [opt(512)] })));
    expect(lab.received(17).map((datagram) => datagram[11] & 15)).toEqual([1]);
    expect(lab.asked(1)).toEqual([]);
  });

  test('a resolver that knows no EDNS is asked without; a silent one in the second round, but not for DO', () => {
    for (const refusal of [{ rcode: 1 }, { rcode: 4 }, { additional: [opt(512, false, [], 0, 1)] }]) {
      const lab = new DnsLab();
      lab.ask('example.org', { edns: 1232 });
      expect(lab.answer(1, refusal)).toBe(1);
      const [{ socket, query }] = lab.asked(1);
      expect(query.length).toBe(29);
      lab.say(socket, dnsAnswer(query, ONE));
      expect(lab.heardOne()).toMatchObject({ addresses: ['1.1.1.1'], optLen: 0 });
    }
    for (const isDo of [false, true]) {
      const lab = new DnsLab();
      lab.ask('example.org', { edns: 1232, isDo });
      lab.clock.advance(2000);
      expect(lab.asked(1).map(({ query }) => query.length)).toEqual([40, isDo ? 40 : 29]);
    }
  });

  test('what is signed goes and comes as it is, and is not kept', () => {
    const lab = new DnsLab();
    const tsig = [1, 0x6b, 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
    for (let i = 0; i < 2; i++) {
      lab.ask('example.org', { edns: 1232, options: [COOKIE], extra: [tsig] });
      const [{ socket, query }] = lab.asked(1);
      expect(query.subarray(2)).toEqual(dnsQuery('example.org', { edns: 1232, options: [COOKIE], extra: [tsig] }).subarray(2));
      lab.say(socket, dnsAnswer(query, { ...ONE, additional: [opt(1232, false, [SERVER_COOKIE]), tsig] }));
      expect(lab.heardOne()).toMatchObject({ id: 7, addresses: ['1.1.1.1'], optLen: 20 });
    }
  });

  test('the answer is as long as the client takes it; TC, and the rest by TCP', () => {
    const lab = new DnsLab();
    const addresses = Array.from({ length: 100 }, (_, i) => `10.1.1.${i}`);
    lab.ask('example.org', { edns: 4096 });
    lab.answer(1, { addresses });
    expect(lab.heardOne()).toMatchObject({ addresses, isTruncated: false });
    for (const edns of [undefined, 512, 100, 1232, 1400]) {
      lab.ask('example.org', edns === undefined ? {} : { edns });
      const heard = lab.heardOne()!;
      const max = Math.max(512, edns ?? 0);
      expect([heard.isTruncated, heard.length <= max, heard.length > max - 32, heard.addresses]).toEqual([true, true, true, addresses.slice(0, heard.addresses.length)]);
    }
    const asker = new TcpAsker(lab);
    asker.write(behindLength(dnsQuery('example.org')));
    expect(asker.heard()).toMatchObject([{ addresses, isTruncated: false }]);
  });
});

describe('the host\'s resolvers', () => {
  test('SERVFAIL, NOTIMP, REFUSED, FORMERR, a lame or broken answer, an error without its question: the next is asked at once', () => {
    for (const first of [{ rcode: 2 }, { rcode: 4 }, { rcode: 5 }, { rcode: 1 }, { rcode: 9 }, { flags: 0x8100 }]) {
      const lab = new DnsLab(2);
      lab.ask('example.org');
      lab.answer(1, first);
      expect(lab.answer(2, TWO)).toBe(1);
      expect(lab.heardOne()).toMatchObject({ rcode: 0, addresses: ['2.2.2.2'] });
    }
    const lab = new DnsLab(3);
    lab.ask('example.org');
    const [{ socket, query }] = lab.asked(1);
    lab.say(socket, dnsAnswer(query, ONE).subarray(0, 40));
    const [second] = lab.asked(2);
    lab.say(second.socket, Uint8Array.of(second.query[0], second.query[1], 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0));
    lab.answer(3, TWO);
    expect(lab.heardOne()!.addresses).toEqual(['2.2.2.2']);
  });

  test('an error that all of them give, each as often as resolv.conf says, is given; different ones are SERVFAIL; nothing of it is kept', () => {
    for (const [one, two, given] of [[5, 5, 5], [2, 2, 2], [4, 4, 4], [5, 2, 2]]) {
      const lab = new DnsLab(2);
      for (let i = 0; i < 2; i++) {
        lab.ask('example.org');
        expect([1, 2, 1, 2].map((n) => [lab.heardOne(), lab.answer(n, { rcode: n === 1 ? one : two })])).toEqual(Array.from({ length: 4 }, () => [null, 1]));
        expect(lab.heardOne()).toMatchObject({ id: 7, rcode: given });
      }
      expect([lab.asked(1).length, lab.stat('dnsQueriesOpen')]).toEqual([0, 0]);
    }
  });

  test('nobody there: the next at once; nobody anywhere: SERVFAIL at once', () => {
    const lab = new DnsLab(3);
    lab.ask('example.org');
    lab.asked(1)[0].socket.handlers.onError('ECONNREFUSED');
    lab.asked(2)[0].socket.handlers.onError('ENETUNREACH');
    lab.answer(3, ONE);
    expect(lab.heardOne()!.addresses).toEqual(['1.1.1.1']);
    lab.ask('other.example');
    for (let i = 0; i < 6; i++) for (let n = 1; n <= 3; n++) for (const { socket } of lab.asked(n)) socket.handlers.onError('ECONNREFUSED');
    expect(lab.heardOne()).toMatchObject({ rcode: 2 });
    lab.clock.advance(11_000);
    expect(lab.left()).toEqual([]);
  });

  test('silence: the others are asked before a client\'s 5 s are over, and again; late answers count', () => {
    const lab = new DnsLab(3);
    const at: string[] = [];
    lab.ask('example.org');
    for (let ms = 0; ms < 11_000; ms += 100) {
      for (let n = 1; n <= 3; n++) for (const _ of lab.asked(n)) at.push(`${n} at ${ms / 1000}`);
      lab.clock.advance(100);
    }
    expect(at.slice(0, 3)).toEqual(['1 at 0', '2 at 2', '3 at 3']);
    expect([1, 2, 3].map((n) => at.filter((line) => line.startsWith(`${n} `)).length)).toEqual([3, 3, 3]);
    for (const lateMs of [1900, 4900, 6500, 9900]) {
      const late = new DnsLab(1);
      late.ask('example.org');
      const [{ socket, query }] = late.asked(1);
      late.clock.advance(lateMs);
      expect(late.heard()).toEqual([]);
      late.say(socket, dnsAnswer(query, ONE));
      expect(late.heardOne()!.addresses).toEqual(['1.1.1.1']);
    }
  });

  test('silence of all: SERVFAIL when the host\'s glibc would give up, 10 s at the least and 30 at the most', () => {
    for (const [count, options, seconds] of [[1, {}, 10], [2, {}, 20], [3, {}, 30], [3, { timeoutMs: 1000, attempts: 1 }, 10], [3, { timeoutMs: 30_000, attempts: 5 }, 30]] as const) {
      const lab = new DnsLab(count);
      lab.hostNet.options = { ...lab.hostNet.options, ...options };
      lab.ask('example.org');
      lab.clock.advance(seconds * 1000 - 700);
      expect([count, seconds, lab.heardOne()]).toEqual([count, seconds, null]);
      lab.clock.advance(700);
      expect(lab.heardOne()).toMatchObject({ rcode: 2 });
      lab.clock.advance(11_000);
      expect(lab.left()).toEqual([]);
    }
  });

  test('a later resolver\'s "no such name" waits for an earlier one that may know it, as long as glibc would', () => {
    const lab = new DnsLab(2);
    lab.ask('intern.example');
    const [{ socket, query }] = lab.asked(1);
    lab.clock.advance(2000);
    expect(lab.answer(2, { rcode: 3, soa: 60 })).toBe(1);
    expect(lab.heardOne()).toBeNull();
    lab.clock.advance(1000);
    lab.say(socket, dnsAnswer(query, ONE));
    expect(lab.heardOne()!.addresses).toEqual(['1.1.1.1']);
    // The first stays silent: what the second said is given within the client's 5 s; and at once when the first is refused.
    const silent = new DnsLab(2);
    silent.ask('nobody.example');
    silent.clock.advance(2000);
    silent.answer(2, { rcode: 3, soa: 60 });
    silent.clock.advance(2500);
    expect(silent.heardOne()).toMatchObject({ rcode: 3 });
    const refused = new DnsLab(2);
    refused.ask('nobody.example');
    refused.clock.advance(2000);
    refused.answer(2, { rcode: 3, soa: 60 });
    refused.asked(1)[0].socket.handlers.onError('ECONNREFUSED');
    expect(refused.heardOne()).toMatchObject({ rcode: 3 });
  });

  test('one that stays silent is not waited for any more, until it is heard', () => {
    const lab = new DnsLab(2);
    lab.ask('a.example');
    lab.ask('a.example', { type: TYPE_AAAA });
    lab.clock.advance(2000);
    lab.answer(2, ONE);
    expect(lab.heard().map(({ addresses }) => addresses)).toEqual([['1.1.1.1']]);
    lab.clock.advance(2500);
    // An AAAA question with an A record for its answer has no answer: it waited for the first one.
    expect(lab.heard().length).toBe(1);
    lab.ask('b.example');
    const [{ socket, query }] = lab.asked(1).slice(-1);
    expect(lab.answer(2, { rcode: 3, soa: 60 })).toBe(1);
    expect(lab.heardOne()).toMatchObject({ rcode: 3 });
    // Too late for that question, but it is there again.
    lab.say(socket, dnsAnswer(query, ONE));
    lab.ask('c.example');
    expect([lab.answer(2, ONE), lab.answer(1, TWO)]).toEqual([0, 1]);
    expect(lab.heardOne()!.addresses).toEqual(['2.2.2.2']);
  });

  test('who asks the same while the others wait in vain has the resolvers asked anew, and its own time', () => {
    const lab = new DnsLab(1);
    lab.ask('example.org', { id: 1 });
    lab.clock.advance(9400);
    lab.asked(1);
    lab.ask('example.org', { id: 2 }, 5001);
    expect(lab.asked(1).length).toBe(1);
    lab.clock.advance(700);
    expect(lab.heard().map(({ id, rcode }) => [id, rcode])).toEqual([[1, 2]]);
    lab.clock.advance(2000);
    lab.answer(1, ONE);
    expect(lab.heard().map(({ id, rcode }) => [id, rcode])).toEqual([[2, 0]]);
  });

  test('who asks for ever keeps no sockets open for ever', () => {
    const lab = new DnsLab(2);
    let most = 0;
    for (let s = 0; s < 600; s += 2) {
      lab.ask('dead.example', { id: s }, 5000 + s);
      lab.clock.advance(2000);
      most = Math.max(most, lab.stat('dnsSocketsOpen'));
    }
    // Of two servers, a new one each every 10 s, for the 30 s that an answer may be late.
    expect(most).toBeLessThanOrEqual(10);
    expect(lab.heard().length).toBeGreaterThan(280);
    lab.clock.advance(60_000);
    expect(lab.left()).toEqual([]);
  });

  test('resolv.conf changes: the new ones are asked, also for what is under way, and the cache is emptied', () => {
    const lab = new DnsLab(1);
    lab.ask('example.org');
    lab.answer(1, { rcode: 3, soa: 3600 });
    expect(lab.heardOne()).toMatchObject({ rcode: 3 });
    lab.ask('pending.example');
    const [{ socket, query }] = lab.asked(1);
    // The same list in another array is no change.
    lab.hostNet.resolverList = DnsLab.resolvers(1);
    lab.clock.advance(10);
    lab.ask('example.org');
    expect([lab.stat('dnsCacheHits'), lab.heardOne()]).toMatchObject([1, { rcode: 3 }]);
    lab.hostNet.resolverList = DnsLab.resolvers(1, 2);
    lab.clock.advance(10);
    lab.ask('example.org');
    lab.answer(2, TWO);
    expect(lab.heardOne()!.addresses).toEqual(['2.2.2.2']);
    lab.clock.advance(2000);
    lab.answer(2, TWO);
    expect(lab.heardOne()).toMatchObject({ addresses: ['2.2.2.2'], spelling: 'pending\x07example' });
    lab.say(socket, dnsAnswer(query, ONE));
    expect(lab.heard()).toEqual([]);
    // What the old one says while nobody has noticed yet is given, and not kept.
    lab.ask('third.example');
    const third = lab.asked(2)[0];
    lab.hostNet.resolverList = DnsLab.resolvers(1, 3);
    lab.say(third.socket, dnsAnswer(third.query, ONE));
    expect(lab.heardOne()!.addresses).toEqual(['1.1.1.1']);
    lab.ask('third.example');
    lab.answer(3, TWO);
    expect(lab.heardOne()!.addresses).toEqual(['2.2.2.2']);
    lab.hostNet.resolverList = [];
    lab.ask('fourth.example');
    expect(lab.heardOne()).toMatchObject({ rcode: 2 });
  });

  test('rotate: each question begins with the next one; timeout: the next is asked then', () => {
    const lab = new DnsLab(3);
    lab.hostNet.options = { ...lab.hostNet.options, isRotating: true };
    const first: number[] = [];
    for (const name of ['a', 'b', 'c', 'd'].map((label) => `${label}.example`)) {
      lab.ask(name);
      first.push(...[1, 2, 3].filter((n) => lab.answer(n, ONE) === 1));
    }
    expect(first).toEqual([1, 2, 3, 1]);
    const hasty = new DnsLab(2);
    hasty.hostNet.options = { ...hasty.hostNet.options, timeoutMs: 1000 };
    hasty.ask('example.org');
    hasty.clock.advance(1000);
    expect(hasty.answer(2, { rcode: 3 })).toBe(1);
    expect(hasty.heardOne()).toMatchObject({ rcode: 3 });
  });

  test('an answer that was cut is fetched by TCP, for UDP clients too; without TCP they get what there is, and TC', () => {
    const addresses = Array.from({ length: 200 }, (_, i) => `10.1.${i >> 7}.${i & 127}`);
    const lab = new DnsLab(1);
    lab.ask('example.org', { edns: 4096 });
    lab.answer(1, { addresses: addresses.slice(0, 20), isTruncated: true });
    const [socket] = lab.dialled(1);
    socket.handlers.onConnect!();
    const query = socket.sent[0].subarray(2);
    const stream = behindLength(dnsAnswer(query, { addresses, additional: [opt(1232)] }));
    for (let at = 0; at < stream.length; at += 700) socket.handlers.onData(stream.slice(at, at + 700));
    expect(lab.heardOne()).toMatchObject({ addresses, isTruncated: false });
    expect(lab.dialled(1)).toEqual([]);
    for (const isRefused of [true, false]) {
      const poor = new DnsLab(1);
      poor.ask('example.org');
      for (let round = 0; round < 2; round++) {
        const [asked] = poor.asked(1);
        // Cut within a record, as some do.
        poor.say(asked.socket, dnsAnswer(asked.query, { addresses: addresses.slice(0, 30), isTruncated: true, ...(round === 0 ? {} : { rcode: 0 }) }).subarray(0, 29 + 25 * 16 + 3));
        if (!isRefused) break;
        const [tcp] = poor.dialled(1);
        tcp.isReset = true;
        tcp.handlers.onClose('ECONNREFUSED');
      }
      if (!isRefused) poor.clock.advance(4500);
      expect(poor.heardOne()).toMatchObject({ addresses: addresses.slice(0, 25), isTruncated: true });
      poor.clock.advance(11_000);
      expect(poor.left()).toEqual([]);
    }
  });

  test('a cut answer whose TCP gives nothing: the next server, and its answer', () => {
    const lab = new DnsLab(2);
    lab.ask('example.org');
    lab.answer(1, { ...ONE, isTruncated: true });
    const [socket] = lab.dialled(1);
    socket.handlers.onConnect!();
    socket.handlers.onData(behindLength(dnsAnswer(dnsQuery('other.example'), ONE)));
    expect(lab.answer(2, TWO)).toBe(1);
    expect(lab.heardOne()!.addresses).toEqual(['2.2.2.2']);
    expect([lab.dialled(1).length, lab.stat('drop:dns-malformed')]).toEqual([0, 1]);
  });

  test('use-vc: TCP only, and the next server when one is gone', () => {
    const lab = new DnsLab(2);
    lab.hostNet.options = { ...lab.hostNet.options, isTcpOnly: true };
    lab.ask('example.org');
    expect(lab.hostNet.udp).toEqual([]);
    lab.dialled(1)[0].handlers.onClose('ECONNREFUSED');
    const [socket] = lab.dialled(2);
    socket.handlers.onConnect!();
    socket.handlers.onData(behindLength(dnsAnswer(socket.sent[0].subarray(2), TWO)));
    expect(lab.heardOne()!.addresses).toEqual(['2.2.2.2']);
  });

  test('no more connections to resolvers than UPSTREAM_TCP_MAX: the others wait for theirs', () => {
    const lab = new DnsLab(1);
    for (let i = 0; i < UPSTREAM_TCP_MAX + 5; i++) lab.ask(`n${i}.example`);
    lab.answer(1, { ...ONE, isTruncated: true });
    expect(lab.dialled(1).length).toBe(UPSTREAM_TCP_MAX);
    let answers = 0;
    for (let socket = lab.dialled(1)[0]; socket !== undefined; socket = lab.dialled(1)[0]) {
      socket.handlers.onConnect!();
      socket.handlers.onData(behindLength(dnsAnswer(socket.sent[0].subarray(2), TWO)));
      answers += lab.heard().filter(({ addresses }) => addresses[0] === '2.2.2.2').length;
    }
    expect([answers, lab.stat('dnsQueriesOpen')]).toEqual([UPSTREAM_TCP_MAX + 5, 0]);
  });

  test('answers with another id, question, type or from nobody are counted, and the wait goes on; the guest\'s spelling is kept', () => {
    const lab = new DnsLab(1);
    lab.ask('eXaMple.ORG');
    const [{ socket, query }] = lab.asked(1);
    expect([...query.subarray(12, 25)]).toEqual(nameBytes('eXaMple.ORG'));
    const good = dnsAnswer(query, ONE);
    for (const forged of [good.with(0, good[0] ^ 1), good.with(14, 0x79), dnsAnswer(dnsQuery('a.b', { id: query[0] * 256 + query[1] }), ONE), query, good.subarray(0, 11), new Uint8Array(1), good.with(26, 28)]) lab.say(socket, forged);
    expect([lab.heardOne(), lab.stat('drop:dns-malformed'), lab.stat('dnsQueriesOpen')]).toEqual([null, 7, 1]);
    // RFC 4343: a resolver may spell it otherwise.
    lab.say(socket, dnsAnswer(dnsQuery('example.org', { id: query[0] * 256 + query[1] }), ONE));
    expect(lab.heardOne()).toMatchObject({ spelling: 'eXaMple\x03ORG', addresses: ['1.1.1.1'] });
    lab.ask('EXAMPLE.org');
    expect(lab.heardOne()).toMatchObject({ spelling: 'EXAMPLE\x03org' });
  });

  test('negative answers are kept as their SOA says, others as their TTLs', () => {
    const lab = new DnsLab(1);
    lab.ask('nobody.example');
    lab.answer(1, { rcode: 3, soa: 30 });
    lab.ask('empty.example', { type: TYPE_AAAA });
    lab.answer(1, { soa: 30 });
    lab.ask('fleeting.example');
    lab.answer(1, { rcode: 3 });
    expect(lab.heard().map(({ rcode }) => rcode)).toEqual([3, 0, 3]);
    lab.clock.advance(29_000);
    lab.ask('nobody.example');
    lab.ask('empty.example', { type: TYPE_AAAA });
    expect(lab.heard().map(({ rcode, ttl }) => [rcode, ttl])).toEqual([[3, 3571], [0, 3571]]);
    lab.ask('fleeting.example');
    expect(lab.asked(1).length).toBe(1);
    lab.clock.advance(1000);
    lab.ask('nobody.example');
    expect(lab.asked(1).length).toBe(1);
  });

  test('the caps: the oldest question makes room, with SERVFAIL; the new one is asked', () => {
    const lab = new DnsLab(1);
    for (let i = 0; i < QUERIES_MAX; i++) lab.ask(`n${i}.example`, { id: i });
    expect([lab.heard().length, lab.stat('dnsQueriesOpen'), lab.asked(1).length]).toEqual([0, QUERIES_MAX, QUERIES_MAX]);
    lab.ask('last.example', { id: 60_000 });
    expect(lab.heard().map(({ id, rcode }) => [id, rcode])).toEqual([[0, 2]]);
    expect([lab.answer(1, ONE), lab.heardOne()!.id, lab.stat('drop:dns-cap')]).toEqual([1, 60_000, 1]);
    const crowd = new DnsLab(1);
    for (let i = 0; i < WAITERS_MAX; i++) crowd.ask('same.example', { id: i });
    expect([crowd.heard().length, crowd.asked(1).length]).toEqual([0, 1]);
    crowd.ask('other.example', { id: 60_000 });
    expect([crowd.heard().length, crowd.stat('dnsQueriesOpen')]).toEqual([WAITERS_MAX, 1]);
  });
});

describe('RFC 7766: questions on one connection', () => {
  const stream = (count: number): Uint8Array => behindLength(...Array.from({ length: count }, (_, i) => dnsQuery(`n${i}.example`, { id: i })));

  for (const count of [1, 17, 100, 1000]) {
    test(`${count} at once, cut anywhere: all are answered, in any order`, () => {
      for (const size of count > 100 ? [1460] : [1, 3, 1460]) {
        const lab = new DnsLab(1);
        const asker = new TcpAsker(lab);
        asker.write(stream(count), size);
        const seen: number[] = [];
        for (let i = 0; i < 50 && seen.length < count; i++) {
          const asked = lab.asked(1).toReversed();
          expect(asked.length).toBeLessThanOrEqual(OUTSTANDING_MAX);
          for (const { socket, query } of asked) lab.say(socket, dnsAnswer(query, ONE));
          seen.push(...asker.heard().map(({ id }) => id));
        }
        expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
        expect([asker.isReset, asker.hasFin]).toEqual([false, false]);
      }
    });
  }

  test('a half-close behind the questions: all the answers, then the FIN', () => {
    const lab = new DnsLab(1);
    const asker = new TcpAsker(lab);
    asker.write(stream(300));
    asker.fin();
    let count = 0;
    for (let i = 0; i < 10 && count < 300; i++) {
      expect(asker.hasFin).toBe(false);
      lab.answer(1, ONE);
      count += asker.heard().length;
    }
    asker.poll();
    expect([count, asker.hasFin, asker.isReset]).toEqual([300, true, false]);
    lab.clock.advance(60_000);
    expect(lab.left()).toEqual([]);
  });

  test('a silent name does not keep the others of a connection back; a broken message keeps no answer back', () => {
    const lab = new DnsLab(1);
    const asker = new TcpAsker(lab);
    asker.write(behindLength(dnsQuery('silent.example', { id: 1 }), dnsQuery('good.example', { id: 2 }), dnsQuery('host.containers.internal', { id: 3 })));
    const [, good] = lab.asked(1);
    lab.say(good.socket, dnsAnswer(good.query, ONE));
    expect(asker.heard().map(({ id }) => id)).toEqual([3, 2]);
    // An answer is no question: nothing more is read, what was asked is answered.
    asker.write(behindLength(dnsAnswer(dnsQuery('x.example'), ONE), dnsQuery('never.example', { id: 4 })));
    expect([asker.isReset, asker.hasFin]).toEqual([false, false]);
    lab.clock.advance(10_000);
    expect(asker.heard().map(({ id, rcode }) => [id, rcode])).toEqual([[1, 2]]);
    expect([asker.hasFin, asker.isReset, lab.stat('dnsQueriesOpen')]).toEqual([true, false, 0]);
  });

  test('what waits is held back by the window; a client that does not read is asked no more', () => {
    const lab = new DnsLab(1);
    const asker = new TcpAsker(lab, 40_000, 0);
    const questions = stream(2500);
    let sent = 0;
    while (asker.peerWindow >= 1000 && sent < questions.length) {
      asker.write(questions.subarray(sent, sent + 1000));
      sent += 1000;
    }
    expect(sent).toBeLessThan(questions.length);
    expect(lab.asked(1).length).toBe(OUTSTANDING_MAX);
    lab.clock.advance(1);
    expect([lab.stat('dnsQueriesOpen'), asker.isReset]).toEqual([OUTSTANDING_MAX, false]);
  });

  test('idle for 30 s: the end; each question counts, also a slow one\'s bytes; a question under way is waited for', () => {
    const lab = new DnsLab(1);
    const asker = new TcpAsker(lab);
    const bytes = behindLength(dnsQuery('slow.example'));
    for (const byte of bytes) {
      asker.write(Uint8Array.of(byte));
      lab.clock.advance(20_000);
    }
    asker.poll();
    expect([asker.hasFin, asker.isReset]).toEqual([false, false]);
    expect(asker.heard()).toMatchObject([{ rcode: 2 }]);
    asker.write(bytes);
    lab.answer(1, ONE);
    expect(asker.heard()).toMatchObject([{ rcode: 0 }]);
    lab.clock.advance(IDLE_MS - 1);
    asker.poll();
    expect(asker.hasFin).toBe(false);
    lab.clock.advance(2);
    asker.poll();
    expect([asker.hasFin, asker.isReset]).toEqual([true, false]);
    // It does not end either: reset.
    lab.clock.advance(IDLE_MS + 1);
    asker.poll();
    expect(asker.isReset).toBe(true);
    lab.clock.advance(60_000);
    expect(lab.left()).toEqual([]);
  });

  test('256 connections: one more takes the place of the one that was idle longest', () => {
    const lab = new DnsLab(1);
    const askers = Array.from({ length: 256 }, (_, i) => { lab.clock.advance(1); return new TcpAsker(lab, 30_000 + i); });
    lab.clock.advance(10);
    askers[0].write(behindLength(dnsQuery('host.containers.internal')));
    expect(askers[0].heard().length).toBe(1);
    const late = new TcpAsker(lab, 50_000);
    late.write(behindLength(dnsQuery('host.containers.internal')));
    expect(late.heard().length).toBe(1);
    expect([lab.stat('dnsSessionsOpen'), lab.stat('drop:dns-cap')]).toEqual([256, 1]);
  });
});
