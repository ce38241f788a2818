/*
 * `npm run bench:net`: our relay, gvproxy and passt with the same Linux guest, each in namespaces of its own, run by run in turn.
 *
 *   npm run bench:net -- [--runs 5] [--mtu 1500,65520] [--peers portside,gvproxy,passt] [--tests up1,rr,…] [--json FILE]
 *
 * Needs root, iperf3 and gcc. gvproxy and passt are taken from PATH, or GVPROXY=FILE, PASST=FILE; what is missing is left out. Prints
 * medians, our ratio to gvproxy, and the target. Takes some 2 minutes per run with everything.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { missingForLinuxGuest } from '../relay/fixture/linux/requirements.ts';
import { MEASUREMENTS, ROWS, type Figures, type Measurement, type Row, type Target } from './net/measurements.ts';
import { allPeers, type Peer } from './net/peers.ts';
import { Session } from './net/session.ts';
import { machineLine, median, table } from './report.ts';

interface Sample {
  run: number;
  peer: string;
  mtu: number;
  measurement: string;
  figures: Figures | null;
  error?: string;
}

const LARGE_MTU = 9000;
const REFERENCE = 'gvproxy';

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    mtu: { type: 'string', default: '1500,65520' },
    peers: { type: 'string' },
    tests: { type: 'string' },
    json: { type: 'string' },
  },
});

const missing = missingForLinuxGuest(['ip', 'setpriv', 'gcc', 'iperf3']);
if (missing.length > 0) throw new Error(`bench:net needs ${missing.join(', ')}`);
const wanted = options.peers?.split(',');
const peers = allPeers().filter((peer) => wanted?.includes(peer.name) ?? true);
for (const { name } of peers.filter((peer) => peer.command === null)) console.error(`${name} is not installed`);
const present = peers.filter((peer) => peer.command !== null);
const mtus = options.mtu.split(',').map(Number);
const tests = options.tests?.split(',');

const samples: Sample[] = [];
for (let run = 0; run < Number(options.runs); run++) {
  for (const mtu of mtus) {
    // In turn, and every other run the other way round: whatever drifts meets all alike.
    for (const peer of run % 2 === 0 ? present : present.toReversed()) await measureAll(peer, mtu, run);
  }
}
if (options.json !== undefined) writeFileSync(options.json, JSON.stringify({ machine: machineLine(), samples }, null, 1));
console.log(machineLine());
for (const mtu of mtus) console.log(`\nMTU ${mtu}, medians of ${options.runs}\n${report(mtu)}`);
for (const { peer, mtu, measurement, error } of samples.filter((sample) => sample.figures === null)) console.log(`! ${peer}, MTU ${mtu}, ${measurement}: ${error}`);

function isWanted(measurement: Measurement, mtu: number): boolean {
  if (tests !== undefined) return tests.includes(measurement.name);
  return mtu < LARGE_MTU || measurement.atLargeMtu === true;
}

/** One peer, all measurements; after a failure, and before those that want to be alone, with everything started anew. */
async function measureAll(peer: Peer, mtu: number, run: number): Promise<void> {
  let session: Session | null = null;
  const end = async (): Promise<void> => {
    await session?.close();
    session = null;
  };
  for (const measurement of MEASUREMENTS.filter((candidate) => isWanted(candidate, mtu))) {
    const sample: Sample = { run, peer: peer.name, mtu, measurement: measurement.name, figures: null };
    samples.push(sample);
    try {
      if (measurement.isAlone === true) await end();
      session ??= await Session.start(peer, mtu);
      sample.figures = await measurement.run(session);
    } catch (error) {
      sample.error = error instanceof Error ? error.message : String(error);
    }
    if (sample.figures === null || measurement.isAlone === true) await end();
    console.error(`run ${run + 1}, ${peer.name}, MTU ${mtu}, ${measurement.name}: ${summary(sample)}`);
  }
  await end();
}

function summary({ figures, error }: Sample): string {
  if (figures === null) return `failed: ${error}`;
  return Object.entries(figures).map(([name, value]) => `${name} ${Number(value.toFixed(2))}`).join(', ');
}

function medianOf(peer: string, mtu: number, row: Row): number | null {
  const values = samples.filter((sample) => sample.peer === peer && sample.mtu === mtu && sample.measurement === row.measurement && sample.figures !== null);
  return values.length === 0 ? null : median(values.map((sample) => sample.figures![row.figure]));
}

function report(mtu: number): string {
  const names = present.map((peer) => peer.name);
  const rows = ROWS.filter((row) => names.some((name) => medianOf(name, mtu, row) !== null)).map((row) => {
    const ours = medianOf('portside', mtu, row);
    const theirs = medianOf(REFERENCE, mtu, row);
    const target = mtu >= LARGE_MTU && row.largeMtuTarget !== undefined ? row.largeMtuTarget : row.target;
    const ratio = ours === null || theirs === null || theirs === 0 ? '' : (ours / theirs).toFixed(2);
    return [row.label, ...names.map((name) => medianOf(name, mtu, row)?.toFixed(row.digits) ?? '-'), ratio, ...verdict(target, ours, theirs)];
  });
  return table([['', ...names, `ours/${REFERENCE}`, 'target', ''], ...rows]);
}

function verdict(target: Target, ours: number | null, theirs: number | null): [target: string, isMet: string] {
  if (target === null) return ['', ''];
  const met = (isMet: boolean | null): string => (isMet === null ? '' : isMet ? 'met' : 'missed');
  if (target === 'no more') return ['no more', met(ours === null || theirs === null ? null : ours <= theirs)];
  if ('below' in target) return [`< ${target.below}`, met(ours === null ? null : ours < target.below)];
  return [`>= ${target.ratioAtLeast}`, met(ours === null || theirs === null ? null : ours / theirs >= target.ratioAtLeast)];
}
