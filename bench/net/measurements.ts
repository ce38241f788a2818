/** What is measured, and which rows of the table come of it. */
import { ECHO_PORTS } from '../../relay/fixture/linux/lab.ts';
import type { Session } from './session.ts';

export type Figures = Record<string, number>;

export interface Measurement {
  name: string;
  /** in a session of its own: what it leaves behind burdens some peers */
  isAlone?: boolean;
  /** at which MTU it belongs to the default set; absent: the small one */
  atLargeMtu?: boolean;
  run(session: Session): Promise<Figures>;
}

const STREAM_SECONDS = 3;
const SHORT_SECONDS = 2;
const DATAGRAM = 1400;
const HELD = 1000;
const HELD_BYTES = 128 * 1024;
const QUERIES_OUT = 32;

export const MEASUREMENTS: Measurement[] = [
  stream('up1', 'guest', ['-P', '1']),
  stream('up4', 'guest', ['-P', '4']),
  stream('down1', 'guest', ['-P', '1', '-R']),
  stream('down4', 'guest', ['-P', '4', '-R']),
  { ...stream('forward-in', 'host', ['-P', '1']), atLargeMtu: false },
  { ...stream('forward-out', 'host', ['-P', '1', '-R']), atLargeMtu: false },
  datagrams('udp-up-200M', ['-b', '200M']),
  datagrams('udp-up-1G', ['-b', '1G']),
  datagrams('udp-down-500M', ['-b', '500M', '-R']),
  {
    name: 'rr',
    run: async (session) => session.load(SHORT_SECONDS, 'round-trips', session.peer.hostIp, '7001', String(SHORT_SECONDS)),
  },
  connects('crr1', '1'),
  connects('crr16', '16'),
  queries('dns'),
  { ...queries('dns-new', '--new-ports'), isAlone: true },
  {
    name: 'held',
    isAlone: true,
    run: async (session) => {
      const { result, cost } = await session.cost(() => session.load(90, 'hold', session.peer.hostIp, '7008', String(HELD), String(HELD_BYTES)));
      if (result['mismatches'] > 0) throw new Error(`${result['mismatches']} bytes of ${HELD} connections were wrong`);
      return { ...result, peakMiB: cost.peakMiB };
    },
  },
];

function stream(name: string, side: 'guest' | 'host', args: string[]): Measurement {
  return {
    name,
    atLargeMtu: true,
    run: async (session) => {
      const { result, cost } = await session.cost(() => session.iperf(side, STREAM_SECONDS, ...args));
      const { bits_per_second: rate, bytes } = result.end.sum_received;
      return { mbit: rate / 1e6, cpuPerGb: cost.cpuSeconds / (bytes / 1e9), peakMiB: cost.peakMiB };
    },
  };
}

function datagrams(name: string, args: string[]): Measurement {
  return {
    name,
    run: async (session) => {
      const { end } = await session.iperf('guest', SHORT_SECONDS, '-u', '-l', String(DATAGRAM), ...args);
      const { packets, lost_packets: lost, lost_percent: loss, seconds } = end.sum;
      return { mbit: ((packets - lost) * DATAGRAM * 8) / seconds / 1e6, loss };
    },
  };
}

function connects(name: string, atATime: string): Measurement {
  return {
    name,
    run: async (session) => {
      const result = await session.load(SHORT_SECONDS + 10, 'connects', session.peer.hostIp, ECHO_PORTS, '--seconds', String(SHORT_SECONDS), '--at-a-time', atATime);
      return { ...result, failed: result['begun'] - result['done'] };
    },
  };
}

function queries(name: string, ...args: string[]): Measurement {
  return { name, run: (session) => session.load(SHORT_SECONDS, 'queries', session.peer.dns, '53', String(SHORT_SECONDS), String(QUERIES_OUT), ...args) };
}

/** What must hold between our figure and gvproxy's, or for ours alone. */
export type Target = { ratioAtLeast: number } | { below: number } | 'no more' | null;

export interface Row {
  label: string;
  measurement: string;
  figure: string;
  digits: number;
  target: Target;
  /** at the large MTU, where it differs */
  largeMtuTarget?: Target;
}

const atLeast = (ratioAtLeast: number): Target => ({ ratioAtLeast });

export const ROWS: Row[] = [
  ...streamRows('TCP guest to host', 'up1', atLeast(2), atLeast(1.5)),
  ...streamRows('the same, 4 streams', 'up4', atLeast(2), atLeast(1.5)),
  ...streamRows('TCP host to guest', 'down1', atLeast(3), atLeast(2.5)),
  ...streamRows('the same, 4 streams', 'down4', atLeast(3), atLeast(2.5)),
  ...streamRows('forwarded port, into the guest', 'forward-in', atLeast(3), null),
  ...streamRows('forwarded port, out of it', 'forward-out', atLeast(2), null),
  ...datagramRows('UDP up, 200 Mbit/s', 'udp-up-200M'),
  ...datagramRows('UDP up, 1 Gbit/s', 'udp-up-1G'),
  ...datagramRows('UDP down, 500 Mbit/s', 'udp-down-500M'),
  { label: '1-byte round trips per s', measurement: 'rr', figure: 'perSecond', digits: 0, target: atLeast(1.3) },
  { label: '  p50, us', measurement: 'rr', figure: 'p50Us', digits: 0, target: null },
  { label: '  p99, us', measurement: 'rr', figure: 'p99Us', digits: 0, target: null },
  { label: 'connections per s, 1 at a time', measurement: 'crr1', figure: 'perSecond', digits: 0, target: atLeast(1.5) },
  { label: 'connections per s, 16 at a time', measurement: 'crr16', figure: 'perSecond', digits: 0, target: atLeast(1.5) },
  { label: '  failed', measurement: 'crr16', figure: 'failed', digits: 0, target: null },
  { label: '1000 connections: opened', measurement: 'held', figure: 'opened', digits: 0, target: null },
  { label: '  in s', measurement: 'held', figure: 'openSeconds', digits: 2, target: null },
  { label: '  data through all, Mbit/s', measurement: 'held', figure: 'mbitPerSecond', digits: 0, target: atLeast(2) },
  { label: '  peak memory, MiB', measurement: 'held', figure: 'peakMiB', digits: 0, target: { below: 250 } },
  { label: 'DNS queries per s, one port', measurement: 'dns', figure: 'perSecond', digits: 0, target: atLeast(1.5) },
  { label: 'DNS queries per s, new port each', measurement: 'dns-new', figure: 'perSecond', digits: 0, target: atLeast(1.5) },
];

function streamRows(label: string, measurement: string, target: Target, largeMtuTarget: Target): Row[] {
  return [
    { label: `${label}, Mbit/s`, measurement, figure: 'mbit', digits: 0, target, largeMtuTarget },
    { label: '  CPU, s/GB', measurement, figure: 'cpuPerGb', digits: 2, target: null },
  ];
}

function datagramRows(label: string, measurement: string): Row[] {
  return [
    { label: `${label}: arrived, Mbit/s`, measurement, figure: 'mbit', digits: 0, target: null },
    { label: '  lost, %', measurement, figure: 'loss', digits: 2, target: 'no more' },
  ];
}
