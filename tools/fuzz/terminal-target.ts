/*
 * What a container prints: its reports of ports are taken out wherever they stand, all else is what it was, however the output is cut; a
 * saved container keeps the end of what was shown.
 */
import { ScreenTail } from '../../shared/saved/screen-tail.ts';
import { PortsFilter, type ListeningPort } from '../../shared/wasi/ports-report.ts';
import { Chance } from './chance.ts';
import { check, type FuzzTarget } from './target.ts';

// oxlint-disable-next-line no-control-regex
const REPORT = /\x1b_portside;ports=([0-9,l]{0,512})\x1b\\/g;
/** What a terminal answers, as xterm's documentation lists it: ScreenTail leaves these out. */
// oxlint-disable-next-line no-control-regex
const QUESTION = /\x1b\[[?>=]?[0-9;]*(?:\$p|c|n|q|t)|\x1b\][0-9;]*\?(?:\x07|\x1b\\)|\x1bP[+$]q[^\x1b]*\x1b\\/g;
/** what may be a report's beginning: all of one but its last byte */
const HELD_MAX = '\x1b_portside;ports='.length + 512 + 1;
/** so many cuts back the screen is asked for */
const MOMENTS = 12;

const latin = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** The ports of a list, by other means than the filter's. */
function portsOf(list: string): ListeningPort[] {
  const words = list.split(',').filter((word) => /^[0-9]{1,5}l?$/.test(word) && Number.parseInt(word, 10) >= 1 && Number.parseInt(word, 10) <= 65_535);
  const ports: ListeningPort[] = [];
  for (const word of words) {
    const port = Number.parseInt(word, 10);
    const known = ports.find((one) => one.port === port);
    if (known !== undefined) known.local &&= word.endsWith('l');
    else if (ports.length === 64) break;
    else ports.push({ port, local: word.endsWith('l') });
  }
  return ports.sort((a, b) => a.port - b.port);
}

async function runTerminal(input: Uint8Array): Promise<void> {
  const chance = new Chance(input[0] ?? 0);
  const output = input.subarray(1);
  const text = latin(output);
  const said = [...text.matchAll(REPORT)];
  const reports: ListeningPort[][] = [];
  const filter = new PortsFilter((ports) => { reports.push(ports); });
  const tail = new ScreenTail();
  let shown = '';
  let takenOut = 0;
  let passed = 0;
  const moments: { position: number; shown: string }[] = [];
  const pieces = chance.pick([[1], [2], [7], [1, 30, 3000], [60_000]]);
  for (let at = 0; at < output.length;) {
    // As the ring gives it: within a buffer that is used again.
    const len = Math.min(output.length - at, 1 + chance.below(chance.pick(pieces)));
    const chunk = new Uint8Array(len + 8).fill(0x1b).subarray(4, 4 + len);
    chunk.set(output.subarray(at, at + len));
    const before = chunk.slice();
    const part = filter.push(chunk);
    check(Buffer.compare(chunk, before) === 0, () => 'what was given is changed');
    shown += latin(part);
    tail.add(chunk, part);
    chunk.fill(0x1b);
    at += len;
    while (passed < said.length && said[passed].index + said[passed][0].length <= at) takenOut += said[passed++][0].length;
    check(at - shown.length - takenOut <= HELD_MAX, () => `${at - shown.length} bytes are held back`);
    moments.push({ position: at, shown });
    if (moments.length > MOMENTS) moments.shift();
  }
  for (const moment of moments) {
    const kept = latin(await tail.until(moment.position));
    check(kept === moment.shown.replaceAll(QUESTION, ''), () => `at ${moment.position} the screen has ${JSON.stringify(kept)}, not ${JSON.stringify(moment.shown)}`);
  }
  shown += latin(filter.flush());
  check(shown === text.replaceAll(REPORT, ''), () => `shown is ${JSON.stringify(shown)} of ${JSON.stringify(text)}`);
  const lists = said.map((match) => JSON.stringify(portsOf(match[1])));
  const heard = reports.map((ports) => JSON.stringify(ports));
  check(heard.at(-1) === lists.at(-1), () => `heard ${heard.at(-1)}, said ${lists.at(-1)}`);
  let next = 0;
  for (const list of lists) if (heard[next] === list) next++;
  check(next === heard.length, () => `heard ${heard.join(' ')}, said ${lists.join(' ')}`);
}

function seeds(): Record<string, Uint8Array> {
  const said = (seed: number, ...parts: string[]): Uint8Array => Uint8Array.from([seed, ...Buffer.from(parts.join(''), 'latin1')]);
  const report = (list: string): string => `\x1b_portside;ports=${list}\x1b\\`;
  return {
    'reports': said(1, 'a\r\n', report('80,443l'), 'b', report(''), report('1,2,3,80l,80')),
    'within-others': said(2, '\x1b[3', report('80'), '1mred\x1b[0m \x1b]0;ti', report('22l'), 'tle\x07 \x1bP+q', report('9'), '\x1b\\ \x1b_other;x\x1b\\'),
    'unended': said(3, 'x\x1b_portside;ports=80,', '443'.repeat(100), '\x1b', report('7'), '\x1b_portside;po'),
    'too-long': said(4, report('1,'.repeat(256)), report('1,'.repeat(257)), report(Array.from({ length: 100 }, (_, i) => i + 1).join(','))),
    'nearly': said(5, '\x1b_portside;ports=80\x07', '\x1b_portside;port=80\x1b\\', '\x1b_portside;ports\x1b\\', '\x1b_portside;ports=8 0\x1b\\', '\x1b\x1b_portside;ports=5\x1b\x1b\\', '\x9fportside;ports=80\x9c'),
    'questions': said(6, '\x1b[c\x1b[>0c\x1b[6n\x1b[?1$p\x1b]11;?\x07\x1b]4;1;?\x1b\\\x1b[14t', report('80'), '\x1bP$qm\x1b\\text\x1b[31m'),
    'joined-by-its-taking': said(7, '\x1b_portside;po', report('1'), 'rts=2\x1b\\', '\x1b_portside;ports=1', report('3'), '\x1b\\'),
  };
}

export const TERMINAL_TARGET: FuzzTarget = { name: 'terminal', seeds, run: runTerminal };
