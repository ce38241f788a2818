import { expect, test } from 'vitest';
import { TCP_ACK as ACK, TCP_FIN as FIN, TCP_PSH as PSH, TCP_RST as RST, TCP_SYN as SYN, TCP_URG as URG } from '../../wire/tcp.ts';
import { Conversation, GUEST_PORT, LINUX_OPTIONS } from '../fixture/scripted-guest.ts';
import { GATEWAY_MAC, GUEST_IP, GUEST_MAC, ethernet, ip, OUTSIDE_IP } from '../fixture/frames.ts';
import { emitArp } from '../../wire/arp.ts';
import type { Mac } from '../../wire/addr.ts';

/** What was sent since last time, as `SEQ+LEN`. */
function sentSince(c: Conversation): string[] {
  const segments: string[] = [];
  for (;;) {
    try {
      const { seq, payload, flags } = c.next();
      segments.push(`${seq}+${payload.length}${flags.includes('FIN') ? ' FIN' : ''}`);
    } catch (error) {
      if (String(error).includes('silent')) return segments;
      throw error;
    }
  }
}

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** No flow, no timer, no buffer. */
function expectNothingLeft(c: Conversation): void {
  expect([c.stack.tcp.flowCount, c.stack.tcp.heldBytes, c.stack.timers.size, c.stack.pool.held]).toEqual([0, 0, 0, 0]);
}

test('§3.5 the SYN is answered only when it is judged, with MSS, window scale and SACK', () => {
  const c = new Conversation();
  c.guestSends({ flags: SYN, seq: 0, options: LINUX_OPTIONS });
  c.stackIsSilent();
  c.guestSends({ flags: SYN, seq: 0, options: LINUX_OPTIONS });
  c.stackIsSilent();
  expect(c.stack.tcp.pendingCount).toBe(1);
  c.handler.connection = c.pending!.accept(c.handler);
  c.settle();
  c.stackReplies({ flags: 'SYN|ACK', seq: 0, ack: 1, mss: 1460, windowScale: 6, sackPermitted: true, window: 65535 });
  expect(c.handler.events).toEqual([]);
  c.guestSends({ flags: ACK });
  expect(c.handler.events).toEqual(['established']);
});

test('§3.5.1 a peer without options gets 536 bytes at a time and an unscaled window', () => {
  const c = Conversation.established({}, []);
  c.guestSends({ flags: ACK, window: 5000 });
  c.connection.send(bytes('x'.repeat(600)));
  c.settle();
  expect([c.next().payload.length, c.next().payload.length]).toEqual([536, 64]);
});

test('a refused dial is a RST, an unreachable one an ICMP error, and nothing is left', () => {
  const c = new Conversation();
  c.guestSends({ flags: SYN, seq: 0 });
  c.pending!.refuse();
  c.settle();
  c.stackReplies({ flags: 'RST|ACK', ack: 1 });
  c.guestSends({ flags: SYN, seq: 0 });
  c.pending!.unreachable(1);
  c.settle();
  expect(c.takeLines()).toEqual([
    `192.168.127.1 > 192.168.127.3 icmp type 3 code 1 about 192.168.127.3.${GUEST_PORT} > 203.0.113.9.80 protocol 6`,
  ]);
  c.guestSends({ flags: SYN, seq: 0 });
  c.pending!.ignore();
  c.stackIsSilent();
  expectNothingLeft(c);
});

test('a guest that gives up while the dial is out cancels it', () => {
  const c = new Conversation();
  c.guestSends({ flags: SYN, seq: 0 });
  let isCancelled = false;
  c.pending!.onCancel = () => (isCancelled = true);
  c.guestSends({ flags: RST, seq: 1 });
  expect(isCancelled).toBe(true);
  expect(c.pending!.accept(c.handler)).toBeNull();
  expectNothingLeft(c);
});

test('the cap on flows: one more SYN is refused and counted', () => {
  const c = new Conversation({ maxTcpFlows: 2 });
  for (let i = 0; i < 3; i++) c.guestSends({ flags: SYN, seq: 0, srcPort: 1000 + i });
  expect(c.stack.tcp.flowCount).toBe(2);
  expect(c.stack.counters.dropsOf('tcp-flow-cap')).toBe(1);
});

test('§3.10.7.1 a segment for no connection gets a RST, a RST gets nothing', () => {
  const c = new Conversation();
  c.guestSends({ flags: RST | ACK, seq: 5 });
  c.stackIsSilent();
  c.guestSends({ flags: FIN, seq: 5, payload: 'ab' });
  c.stackReplies({ flags: 'RST|ACK', ack: 8 });
});

test('one acknowledgment answers a batch', () => {
  const c = Conversation.established();
  const port = c.port;
  const flush = port.flush.bind(port);
  port.flush = () => {};
  for (let i = 0; i < 20; i++) c.guestSends({ flags: ACK, payload: 'y'.repeat(1000) });
  port.flush = flush;
  port.flush();
  c.stackReplies({ flags: 'ACK', ack: 20_001 });
  c.stackIsSilent();
  expect(c.handler.received.length).toBe(20_000);
});

test('§3.8.6.3 in a dialogue a small segment waits to ride on the answer, 20 ms at most', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK | PSH, payload: 'a' });
  c.stackReplies({ flags: 'ACK', ack: 2 });
  c.connection.send(bytes('b'));
  c.settle();
  c.stackReplies({ payload: 'b', ack: 2 });
  c.guestSends({ flags: ACK | PSH, payload: 'c' });
  c.stackIsSilent();
  c.clock.advance(19);
  c.stackIsSilent();
  c.clock.advance(2);
  c.stackReplies({ flags: 'ACK', ack: 3 });
});

test('§3.10.7.4 early data is kept, reported by SACK, and delivered in order; overlaps are cut', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK, seq: 4, payload: 'def' });
  c.stackReplies({ flags: 'ACK', ack: 1, sack: [[4, 7]] });
  c.guestSends({ flags: ACK, seq: 10, payload: 'jkl' });
  c.stackReplies({ ack: 1, sack: [[10, 13], [4, 7]] });
  c.guestSends({ flags: ACK, seq: 6, payload: 'fghij' });
  c.stackReplies({ ack: 1, sack: [[4, 13]] });
  c.guestSends({ flags: ACK, seq: 1, payload: 'abcde' });
  c.stackReplies({ ack: 13, sack: [] });
  expect(c.handler.received).toBe('abcdefghijkl');
});

test('§3.10.7.4 a retransmission of what was acknowledged is acknowledged again and not delivered', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK, seq: 1, payload: 'abc' });
  c.stackReplies({ ack: 4 });
  c.guestSends({ flags: ACK, seq: 1, payload: 'abc' });
  c.stackReplies({ ack: 4 });
  c.guestSends({ flags: ACK, seq: 1, payload: 'abcd' });
  c.stackReplies({ ack: 5 });
  expect(c.handler.received).toBe('abcd');
});

test('§3.8.6 a stalled application closes the window, and opens it again; the edge never moves left', () => {
  const c = Conversation.established({ tcpWindowMax: 65_535 });
  c.handler.isStalled = true;
  let edge = 0;
  let sent = 1;
  for (let i = 0; i < 100; i++) {
    c.guestSends({ flags: ACK, payload: 'z'.repeat(1000) });
    sent += 1000;
    const seen = c.next();
    expect(seen.ack + seen.window).toBeGreaterThanOrEqual(edge);
    edge = seen.ack + seen.window;
    if (seen.ack < sent) break;
  }
  expect(c.handler.received.length).toBe(65_535);
  // A probe of the closed window is answered, its byte refused.
  c.guestSends({ flags: ACK, seq: 65_536, payload: '!' });
  c.stackReplies({ ack: 65_536, window: 0 });
  expect(c.stack.tcp.heldBytes).toBe(65_535);
  c.handler.takeAll();
  c.settle();
  c.stackReplies({ flags: 'ACK', ack: 65_536, window: 65_535 });
  expect(c.stack.tcp.heldBytes).toBe(0);
});

test('§3.8.6.1 a zero window of the guest is probed with backoff, and data follows when it opens', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK, window: 0 });
  c.connection.send(bytes('hello'));
  c.stackIsSilent();
  c.clock.advance(210);
  c.stackReplies({ flags: 'ACK', seq: 0, payload: '' });
  c.guestSends({ flags: ACK, window: 0 });
  c.clock.advance(370);
  c.stackIsSilent();
  c.clock.advance(40);
  c.stackReplies({ flags: 'ACK', payload: '' });
  c.guestSends({ flags: ACK, window: 500 });
  c.stackReplies({ payload: 'hello', seq: 1 });
});

test('§3.8.6.2.1 no silly segment into a small window; the override sends it after all', () => {
  const c = Conversation.established({}, [2, 4, 5, 180]);
  c.guestSends({ flags: ACK, window: 100 });
  c.connection.send(bytes('s'.repeat(1000)));
  c.stackIsSilent();
  c.clock.advance(1100);
  expect(c.next().payload.length).toBe(100);
});

test('half-close by the guest: data still flows to it, then our FIN, LAST-ACK, nothing left', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK | FIN, payload: 'bye' });
  c.stackReplies({ flags: 'ACK', ack: 5 });
  expect([c.connection.state, c.handler.received, c.handler.events]).toEqual(['close-wait', 'bye', ['established', 'fin']]);
  c.connection.send(bytes('rest'));
  c.connection.shutdown();
  c.settle();
  c.stackReplies({ flags: 'FIN|PSH|ACK', payload: 'rest' });
  expect(c.connection.state).toBe('last-ack');
  c.guestSends({ flags: ACK });
  expect(c.handler.events.at(-1)).toBe('closed:closed');
  expectNothingLeft(c);
});

test('half-close by us: the guest goes on in FIN-WAIT-2, then TIME-WAIT, nothing left after it', () => {
  const c = Conversation.established();
  c.connection.shutdown();
  c.settle();
  c.stackReplies({ flags: 'FIN|ACK', seq: 1 });
  c.guestSends({ flags: ACK });
  expect(c.connection.state).toBe('fin-wait-2');
  c.guestSends({ flags: ACK, payload: 'more' });
  c.stackReplies({ ack: 5 });
  c.guestSends({ flags: FIN | ACK });
  c.stackReplies({ ack: 6 });
  expect([c.connection.state, c.handler.received]).toEqual(['time-wait', 'more']);
  c.guestSends({ flags: FIN | ACK, seq: 5 });
  c.stackReplies({ ack: 6 });
  c.clock.advance(10_100);
  expectNothingLeft(c);
});

test('§3.6 figure 13: simultaneous close goes through CLOSING to TIME-WAIT', () => {
  const c = Conversation.established();
  c.connection.shutdown();
  c.settle();
  c.stackReplies({ flags: 'FIN|ACK' });
  c.guestSends({ flags: FIN | ACK, ack: 1 });
  c.stackReplies({ flags: 'ACK', ack: 2 });
  expect(c.connection.state).toBe('closing');
  c.guestSends({ flags: ACK, ack: 2 });
  expect(c.connection.state).toBe('time-wait');
});

test('a FIN that comes before its data waits for it', () => {
  const c = Conversation.established();
  c.guestSends({ flags: FIN | ACK, seq: 4, payload: 'def' });
  c.stackReplies({ ack: 1 });
  expect(c.handler.events).toEqual(['established']);
  c.guestSends({ flags: ACK, seq: 1, payload: 'abc' });
  c.stackReplies({ ack: 8 });
  expect([c.handler.received, c.handler.events]).toEqual(['abcdef', ['established', 'fin']]);
});

test('§3.10.7.4 MAY-2: a SYN beyond the old numbers reopens TIME-WAIT', () => {
  const c = Conversation.established();
  c.connection.shutdown();
  c.settle();
  c.next();
  c.guestSends({ flags: FIN | ACK, ack: 2 });
  c.next();
  expect(c.connection.state).toBe('time-wait');
  c.pending = null;
  c.guestSends({ flags: SYN, seq: 100_000, options: LINUX_OPTIONS });
  expect(c.pending).not.toBeNull();
});

test('RFC 5961 §3.2: a RST counts only at exactly rcv.nxt, elsewhere in the window it earns a challenge', () => {
  const c = Conversation.established();
  c.guestSends({ flags: RST, seq: 100 });
  c.stackReplies({ flags: 'ACK', ack: 1 });
  c.guestSends({ flags: RST, seq: 10_000_000 });
  c.stackIsSilent();
  expect(c.connection.state).toBe('established');
  c.guestSends({ flags: RST, seq: 1 });
  expect(c.handler.events.at(-1)).toBe('closed:reset');
  expectNothingLeft(c);
});

test('RFC 5961 §4.2 and §5.2: a SYN and an impossible acknowledgment earn challenges, ten per second', () => {
  const c = Conversation.established();
  c.guestSends({ flags: SYN, seq: 50 });
  c.stackReplies({ flags: 'ACK', ack: 1 });
  c.guestSends({ flags: ACK, seq: 1, ack: 5000, payload: 'forged' });
  c.stackReplies({ flags: 'ACK', ack: 1 });
  expect(c.handler.received).toBe('');
  for (let i = 0; i < 30; i++) c.guestSends({ flags: SYN, seq: 50 });
  expect(c.takeLines().length).toBe(8);
});

test('urgent data is data', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK | URG, payload: 'u' });
  expect(c.handler.received).toBe('u');
});

test('RFC 6298: a lost segment is sent again after RTO, doubled each time, and the peer is dead after 15', () => {
  const c = Conversation.established();
  c.connection.send(bytes('lost'));
  c.settle();
  c.stackReplies({ payload: 'lost', seq: 1 });
  const times: number[] = [];
  let last = c.clock.nowMs();
  for (let i = 0; i < 4; i++) {
    c.clock.runUntil(() => c.takeLines().length > 0, 100_000);
    times.push(Math.round(c.clock.nowMs() - last));
    last = c.clock.nowMs();
  }
  // The handshake took no time, so the first is the floor of 200 ms.
  expect(times.map((ms) => Math.round(ms / 100) * 100)).toEqual([200, 400, 800, 1600]);
  c.clock.advance(1_000_000);
  expect(c.handler.events.at(-1)).toBe('closed:timed-out');
  c.takeLines();
  expectNothingLeft(c);
});

test('RFC 2018 and 8985: what SACK shows as missing is sent again at once, and only that', () => {
  const c = Conversation.established();
  c.connection.send(bytes('abcdefgh'.repeat(1460)));
  c.settle();
  const first = [c.next(), c.next(), c.next(), c.next(), c.next(), c.next()];
  expect(first.map((s) => s.seq)).toEqual([1, 1461, 2921, 4381, 5841, 7301]);
  c.takeLines();
  c.clock.advance(5);
  // Options carry absolute numbers.
  const sack = c.connection.snd;
  const absolute = (seq: number): number[] => {
    const n = (sack.iss + seq) >>> 0;
    return [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
  };
  c.guestSends({ flags: ACK, ack: 1461, options: [1, 1, 5, 10, ...absolute(2921), ...absolute(8761)] });
  const again = c.takeLines();
  expect(again[0]).toContain(`seq ${(sack.iss + 1461) >>> 0} `);
  expect(c.stack.counters.tcpRetransmits).toBe(1);
});

test('RFC 6582: without SACK three duplicate acknowledgments bring the first segment again', () => {
  const c = Conversation.established({}, [2, 4, 5, 180, 1, 3, 3, 7]);
  c.connection.send(bytes('x'.repeat(14_600)));
  c.settle();
  c.takeLines();
  for (let i = 0; i < 2; i++) c.guestSends({ flags: ACK, ack: 1 });
  c.stackIsSilent();
  c.guestSends({ flags: ACK, ack: 1 });
  c.stackReplies({ seq: 1 });
  expect(c.stack.counters.tcpRetransmits).toBe(1);
});

test('§3.8.4 keepalive: an idle peer is probed, a dead one given up', () => {
  const c = Conversation.established({ tcpKeepaliveMs: 60_000 });
  c.clock.advance(60_100);
  c.stackReplies({ flags: 'ACK', seq: 0, payload: '' });
  c.guestSends({ flags: ACK });
  c.clock.advance(60_100);
  c.stackReplies({ flags: 'ACK', seq: 0 });
  c.clock.advance(75_000 * 10);
  expect(c.handler.events.at(-1)).toBe('closed:timed-out');
});

test('§3.8.4 the guest\'s keepalive probes are answered and told, with the silence before the first; what only resembles one is not', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK, payload: 'abc' });
  c.takeLines();
  // Its last byte again, at once; then after 5 s, with a byte of garbage and without; each later one by what came before the first.
  c.guestSends({ flags: ACK, seq: 3, payload: 'c' });
  expect([c.handler.keepalives, c.takeLines().length]).toEqual([[], 1]);
  c.clock.advance(5000);
  c.guestSends({ flags: ACK, seq: 3 });
  c.clock.advance(1000);
  c.guestSends({ flags: ACK, seq: 3, payload: 'x' });
  expect([c.handler.keepalives, c.takeLines().length, c.handler.received]).toEqual([[5000, 6000], 2, 'abc']);
  c.clock.advance(5000);
  for (const seq of [2, 4, 5]) c.guestSends({ flags: ACK, seq });
  c.clock.advance(5000);
  c.guestSends({ flags: ACK, seq: 3, payload: 'cde' });
  expect(c.handler.keepalives).toEqual([5000, 6000]);
  // A window that is closed is asked for in the same way.
  c.handler.isStalled = true;
  while (c.connection.rcv.edge !== c.connection.rcv.nxt) {
    const room = (c.connection.rcv.edge - c.connection.rcv.nxt) >>> 0;
    c.guestSends({ flags: ACK, payload: 'x'.repeat(Math.min(1460, room)) });
  }
  c.clock.advance(5000);
  c.guestSends({ flags: ACK, seq: ((c.connection.rcv.nxt - c.connection.rcv.irs) >>> 0) - 1 });
  expect(c.handler.keepalives).toEqual([5000, 6000]);
});

test('RFC 1191: "fragmentation needed" cuts what is under way, sends it again at once, and what comes later is smaller', () => {
  const c = Conversation.established();
  c.connection.send(bytes('abcdefgh'.repeat(730)));
  c.connection.shutdown();
  c.settle();
  expect(sentSince(c)).toEqual(['1+1460', '1461+1460', '2921+1460', '4381+1460 FIN']);
  c.guestSends({ flags: ACK, ack: 1461 });
  c.guestReports(4, 1400, 1461);
  c.settle();
  expect(sentSince(c)).toEqual(['1461+1360', '2821+100', '2921+1360', '4281+100', '4381+1360', '5741+100 FIN']);
  c.guestSends({ flags: ACK, ack: 5842 });
  expect(c.connection.state).toBe('fin-wait-2');
  expect(c.connection.snd.sent.pipe).toBe(0);
  // A later connection to that address begins so, for ten minutes.
  const mssOf = (): number => {
    const other = c.stack.tcp.connect(GUEST_IP, 1000 + c.stack.tcp.flowCount, OUTSIDE_IP, 99, c.handler)!;
    c.settle();
    c.takeLines();
    return c.stack.tcp.mssTo(other.neighbor);
  };
  expect(mssOf()).toBe(1360);
  c.clock.advance(600_000);
  expect(mssOf()).toBe(1460);
});

test('RFC 1191 and SACK: congestion control hears nothing of it; what had arrived is not sent again', () => {
  const c = Conversation.established();
  c.connection.send(bytes('x'.repeat(1460 * 4)));
  c.settle();
  c.takeLines();
  const { cwnd, iss } = c.connection.snd;
  c.guestReports(4, 1400, 1);
  c.settle();
  expect([sentSince(c).length, c.connection.snd.cwnd, c.connection.snd.state]).toEqual([8, cwnd, 'open']);
  const word = (seq: number): number[] => { const n = (iss + seq) >>> 0; return [(n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]; };
  c.guestSends({ flags: ACK, ack: 1, options: [1, 1, 5, 10, ...word(4381), ...word(5841)] });
  sentSince(c);
  c.guestReports(4, 1300, 1);
  c.settle();
  // As many as recovery lets go.
  expect(sentSince(c)).toEqual(['1+1260', '1261+100', '1461+1260', '2721+100']);
  c.guestSends({ flags: ACK, ack: 5841 });
  expect([c.connection.snd.sent.count, c.connection.snd.sent.pipe, c.connection.snd.sent.sackedCount, c.connection.snd.sent.lostCount]).toEqual([0, 0, 0, 0]);
});

test('RFC 5927: a forged or silly "fragmentation needed" is counted and changes nothing; the least that is believed is 552', () => {
  const c = Conversation.established();
  c.connection.send(bytes('x'.repeat(1460 * 2)));
  c.settle();
  c.takeLines();
  const forged: (() => void)[] = [
    () => c.guestReports(4, 1400, 0), () => c.guestReports(4, 1400, 2921), () => c.guestReports(4, 1400, 1, { srcPort: 81 }),
    () => c.guestReports(4, 1400, 1, { quoteDst: ip('192.168.127.9') }), () => c.guestReports(4, 1400, 1, { to: ip('203.0.113.10') }),
    () => c.guestReports(4, 1500, 1), () => c.guestReports(4, 9000, 1), () => c.guestReports(4, 1400, 1, { type: 11 }),
    () => c.guestReports(4, 1400, 1, { quoteLen: 27 }), () => c.guestReports(4, 1400, 1, { quoteLen: 0 }), () => c.guestReports(1, 0, 1),
  ];
  for (const forge of forged) forge();
  c.stackIsSilent();
  expect([c.connection.snd.mss, c.connection.state, c.stack.counters.dropsOf('icmp-unrelated')]).toEqual([1460, 'established', forged.length]);
  c.guestReports(4, 0, 1);
  expect(c.connection.snd.mss).toBe(1452);
  c.guestReports(4, 68, 1);
  expect(c.connection.snd.mss).toBe(512);
  c.guestReports(4, 1400, 1);
  expect(c.connection.snd.mss).toBe(512);
});

test('RFC 5927 §4: unreachable ends only a connection that is being opened', () => {
  const c = new Conversation();
  c.guestSends({ flags: RST, seq: 0 });
  c.handler.connection = c.stack.tcp.connect(GUEST_IP, GUEST_PORT, OUTSIDE_IP, 80, c.handler);
  c.settle();
  c.stackReplies({ flags: 'SYN' });
  c.guestReports(13, 0, 1);
  expect(c.handler.events).toEqual([]);
  c.guestReports(13, 0, 0);
  expect(c.handler.events).toEqual(['closed:refused']);
  expectNothingLeft(c);
});

test('active open: SYN, answer, data; a RST refuses; silence times out', () => {
  const c = new Conversation();
  c.guestSends({ flags: RST, seq: 0 });
  const connect = (): void => {
    c.handler.connection = c.stack.tcp.connect(GUEST_IP, GUEST_PORT, OUTSIDE_IP, 80, c.handler);
    c.settle();
  };
  connect();
  c.stackReplies({ flags: 'SYN', mss: 1460, windowScale: 6, sackPermitted: true });
  c.guestSends({ flags: SYN | ACK, seq: 0, options: LINUX_OPTIONS });
  c.stackReplies({ flags: 'ACK', seq: 1, ack: 1 });
  expect(c.handler.events).toEqual(['established']);
  c.connection.abort();
  c.settle();
  c.stackReplies({ flags: 'RST|ACK' });
  connect();
  c.next();
  c.guestSends({ flags: RST | ACK, seq: 0 });
  expect(c.handler.events.at(-1)).toBe('closed:refused');
  connect();
  c.clock.advance(400_000);
  expect(c.handler.events.at(-1)).toBe('closed:timed-out');
  c.takeLines();
  expectNothingLeft(c);
});

test('§3.5 figure 7: simultaneous open', () => {
  const c = new Conversation();
  c.guestSends({ flags: RST, seq: 0 });
  c.handler.connection = c.stack.tcp.connect(GUEST_IP, GUEST_PORT, OUTSIDE_IP, 80, c.handler);
  c.settle();
  c.stackReplies({ flags: 'SYN' });
  c.guestSends({ flags: SYN, seq: 0, options: LINUX_OPTIONS });
  c.stackReplies({ flags: 'SYN|ACK', ack: 1 });
  c.guestSends({ flags: ACK });
  expect([c.connection.state, c.handler.events]).toEqual(['established', ['established']]);
});

test('a full link stops data, not for a timer: it goes on when the link has drained', () => {
  const c = Conversation.established();
  c.isSinkFull = true;
  c.connection.send(bytes('1'.repeat(1000)));
  c.settle();
  c.takeLines();
  c.connection.send(bytes('2'.repeat(1000)));
  c.clock.advance(5000);
  expect(c.takeLines()).toEqual([]);
  c.isSinkFull = false;
  c.port.onDrain();
  expect(c.next().payload).toBe('2'.repeat(1000));
});

test('a full link stops acknowledgments: one answers for all when it has drained, and none is dropped', () => {
  const c = Conversation.established();
  c.isSinkFull = true;
  for (let i = 0; i < 3000; i++) c.guestSends({ flags: ACK, payload: 'xy' });
  c.takeLines();
  c.isSinkFull = false;
  c.port.onDrain();
  c.stackReplies({ flags: 'ACK', ack: 6001 });
  c.stackIsSilent();
  expect(c.stack.counters.snapshot()['drop:switch-port-full']).toBeUndefined();
});

test('the source is told to pause at 256 KiB and to go on when the guest has taken', () => {
  const c = Conversation.established();
  c.guestSends({ flags: ACK, window: 0 });
  while (!c.connection.isSendFull) c.connection.send(new Uint8Array(65_536));
  expect(c.connection.snd.unsent).toBe(262_144);
  c.settle();
  for (let acked = 1; c.connection.isSendFull; ) {
    c.guestSends({ flags: ACK, ack: acked, window: 4000 });
    acked += c.takeLines().reduce((sum, line) => sum + Number(/len (\d+)$/.exec(line)![1]), 0);
  }
  expect(c.handler.events.at(-1)).toBe('space');
  expect(c.connection.snd.unsent).toBeLessThanOrEqual(131_072);
});

test('a guest that comes back by another link gets at once what was lost', () => {
  const c = Conversation.established();
  c.port.close();
  c.connection.send(bytes('while away'));
  c.clock.advance(3000);
  expect(c.takeLines()).toEqual([]);
  c.port = c.attach();
  const arp = new Uint8Array(28);
  emitArp({ operation: 'request', senderMac: GUEST_MAC, senderIp: GUEST_IP, targetMac: 0 as Mac, targetIp: c.stack.config.gatewayIp }, arp, 0);
  const frame = ethernet(GATEWAY_MAC, GUEST_MAC, 0x0806, arp);
  c.port.receive(frame, 0, frame.length);
  c.port.flush();
  c.settle();
  expect(c.takeLines().some((line) => line.includes('len 10'))).toBe(true);
});

test('a guest whose new link is there before the old one is gone gets at once what was lost, though it says nothing', () => {
  const c = Conversation.established();
  const old = c.port;
  c.port = c.attach();
  old.close();
  c.connection.send(bytes('meanwhile'));
  c.settle();
  expect(c.takeLines().some((line) => line.includes('len 9'))).toBe(true);
});

test('options: timestamps are agreed on when both want them, and PAWS refuses old ones', () => {
  const ts = (value: number): number[] => [1, 1, 8, 10, 0, 0, value >> 8, value & 255, 0, 0, 0, 0];
  const c = Conversation.synReceived({ tcpTimestamps: true }, [2, 4, 5, 180, ...ts(1000)]);
  c.guestSends({ flags: ACK, options: ts(1001) });
  c.guestSends({ flags: ACK, payload: 'a', options: ts(1002) });
  expect(c.takeLines()[0]).toMatch(/TS \d+ ecr 1002/);
  c.guestSends({ flags: ACK, payload: 'b', options: ts(900) });
  expect(c.handler.received).toBe('a');
});
