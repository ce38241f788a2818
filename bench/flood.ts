/*
 * `npm run bench:flood`: a relay that may open few files, one guest that opens all it can for minutes, and another one that downloads at full rate.
 *
 *   npm run bench:flood -- [--minutes 10] [--files 1024]
 *
 * The first guest never rests: datagrams to new ports, connections that are held and hung up, questions for AAAA records. The second one's downloads, one
 * behind the other, are compared by digest. Every ten seconds a line; at the end what came, and whether relay and links were there all the time. Status 1 when
 * they were not, or a byte was wrong.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { FloodGuest, Source } from '../relay/fixture/flood.ts';
import { killLeftovers, Portside } from '../relay/fixture/portside-process.ts';
import { machineLine } from './report.ts';

const BODY_BYTES = 64 * 1024 * 1024;
const LINE_EVERY_MS = 10_000;
const MIB = 1024 * 1024;

const { values: options } = parseArgs({ options: { minutes: { type: 'string', default: '10' }, files: { type: 'string', default: '1024' } } });
const files = Number(options.files);
const endMs = performance.now() + Number(options.minutes) * 60_000;

const relay = new Portside(['serve', '--port', '0', '--allow-origin', '*'], { files });
const url = await relay.ready();
const [body, silent] = [new Source(BODY_BYTES), new Source(0)];
const [bodyPort, silentPort] = [await body.listen(), await silent.listen()];
const flooding = await FloodGuest.overWebSocket(url);
const downloading = await FloodGuest.overWebSocket(url);
await Promise.all([flooding.join(), downloading.join()]);

const totals = { bytes: 0, downloads: 0, datagrams: 0, connections: 0, refused: 0, answers: 0, filesMost: 0, rssMost: 0, slowestMs: 0 };
const faults: string[] = [];
const isOver = (): boolean => faults.length > 0 || performance.now() >= endMs;

async function flood(): Promise<void> {
  while (!isOver()) {
    await flooding.floodUdp(files);
    const { refused } = await flooding.floodTcp(silentPort, files);
    totals.datagrams += files;
    totals.connections += files;
    totals.refused += refused;
    await flooding.ask();
    totals.answers++;
    flooding.hangUp();
    if (flooding.isLinkGone) faults.push('the link of the flooding guest is gone');
  }
}

async function download(): Promise<void> {
  while (!isOver()) {
    const digest = await downloading.download(bodyPort, (bytes) => (totals.bytes += bytes)).catch((error: Error) => error.message);
    if (digest !== body.digest) faults.push(`a download: ${digest}`);
    else totals.downloads++;
  }
}

/** Whether the relay answers, and what it holds. */
async function look(): Promise<void> {
  let lastBytes = 0;
  for (let nextMs = performance.now() + LINE_EVERY_MS; !isOver(); nextMs += LINE_EVERY_MS) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, Math.min(nextMs, endMs) - performance.now())));
    const askedMs = performance.now();
    const health = await fetch(new URL('/api/health', url)).then((response) => response.status, (error: unknown) => String(error));
    const tookMs = performance.now() - askedMs;
    if (health !== 200 || relay.child.exitCode !== null || relay.child.signalCode !== null) faults.push(`the relay: ${health}, exit ${relay.child.exitCode ?? relay.child.signalCode}`);
    const { opened, rss } = held();
    totals.filesMost = Math.max(totals.filesMost, opened);
    totals.rssMost = Math.max(totals.rssMost, rss);
    totals.slowestMs = Math.max(totals.slowestMs, tookMs);
    const mibPerS = (totals.bytes - lastBytes) / MIB / (LINE_EVERY_MS / 1000);
    lastBytes = totals.bytes;
    console.log(`${mibPerS.toFixed(1)} MiB/s, ${opened} files of ${files}, ${(rss / MIB).toFixed(0)} MiB, ${totals.datagrams} datagrams, ${totals.connections} connections (${totals.refused} refused), ${totals.answers} answers, health in ${tookMs.toFixed(0)} ms`);
  }
}

function held(): { opened: number; rss: number } {
  try {
    const { pid } = relay.child;
    const rss = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
    return { opened: readdirSync(`/proc/${pid}/fd`).length, rss };
  } catch {
    return { opened: 0, rss: 0 };
  }
}

console.log(machineLine());
const loops = [flood(), download(), look()];
await Promise.race([Promise.all(loops), new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    if (faults.length === 0) return;
    clearInterval(timer);
    resolve();
  }, 500).unref();
})]);
console.log(JSON.stringify({ ...totals, minutes: Number(options.minutes), files, faults }, null, 1));
console.log(faults.length === 0 ? `alive after ${options.minutes} minutes; ${totals.downloads} downloads of ${BODY_BYTES / MIB} MiB, all right` : `NOT WELL: ${faults.join('; ')}`);
console.log(relay.stderr.trim());
for (const guest of [flooding, downloading]) guest.close();
for (const server of [body, silent]) server.close();
killLeftovers();
process.exit(faults.length === 0 ? 0 : 1);
