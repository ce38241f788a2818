/** What the network emits, of every kind, as tshark judges it: the conversations of the fuzzers' corpus, captured. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { FakeHostNet } from '../../shared/net/services/fake-host-net.ts';
import { SeededRandom, VirtualClock } from '../../shared/net/stack/fixture/virtual-clock.ts';
import { playNetwork } from '../../tools/fuzz/network-target.ts';
import { scriptPieces } from '../../tools/fuzz/script.ts';
import { TARGETS } from '../../tools/fuzz/targets.ts';
import { countEmitted, emittedFrames, hasTshark } from '../fixture/tshark.ts';
import { Capture } from './capture.ts';

/** what the corpus makes the network say, as display filters */
const KINDS = [
  'arp.opcode == 1', 'arp.opcode == 2', 'dhcp.option.dhcp == 2', 'dhcp.option.dhcp == 5', 'dhcp.option.dhcp == 6', 'dns.flags.response == 1 && dns.count.answers > 1',
  'dns.flags.rcode == 2', 'dns.flags.rcode == 3', 'icmp.type == 0', 'icmp.type == 3 && icmp.code == 3', 'icmp.type == 3 && icmp.code == 1', 'icmp.type == 11', 'ip.flags.mf == 1',
  'ip.frag_offset > 0', 'udp && !dns && !dhcp', 'tcp.flags.syn == 1 && tcp.flags.ack == 1', 'tcp.flags.syn == 1 && tcp.flags.ack == 0', 'tcp.options.sack_le',
  'tcp.flags.reset == 1', 'tcp.flags.fin == 1', 'tcp.len > 1000', 'tcp.port == 53 && tcp.len == 0',
];

test.skipIf(!hasTshark)('frames of every kind open without a malformed one and without a wrong checksum', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-capture-'));
  try {
    const file = join(folder, 'x.pcapng');
    const capture = await Capture.open(file);
    let networks = 0;
    // Hostile resolvers' answers travel as they came.
    for (const target of TARGETS.filter(({ name, pieces }) => pieces === scriptPieces && !['tcp', 'plug-in', 'resolver'].includes(name))) {
      for (const input of Object.values(target.seeds())) {
        await playNetwork(input, capture.createNetwork);
        networks++;
      }
    }
    expect(await capture.close()).toBeNull();
    const { frames, complaints } = emittedFrames(file);
    expect(frames).toBeGreaterThan(3 * networks);
    expect(complaints).toEqual([]);
    const counts = countEmitted(file, KINDS);
    expect(KINDS.filter((kind) => !(counts[kind] > 0))).toEqual([]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('the tap changes nothing: batches, backpressure, caps and closing are the network\'s', async () => {
  const capture = await Capture.open('/dev/null');
  const network = capture.createNetwork({ clock: new VirtualClock(), random: new SeededRandom(1), hostNet: new FakeHostNet(), config: { maxLinks: 1 } });
  expect(network).toBeInstanceOf(VirtualNetwork);
  const port = network.attach({ sendBatch: () => false });
  expect(() => network.attach({ sendBatch: () => true })).toThrow(/no more than 1 links/);
  port.receive(new Uint8Array(13), 0, 13);
  port.flush();
  port.onDrain();
  expect([network.stats()['drop:ethernet-truncated'], port.closed]).toEqual([1, false]);
  port.close();
  expect([port.closed, network.stats()['linksOpen']]).toEqual([true, 0]);
  network.close();
  await capture.close();
});
