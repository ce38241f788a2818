/*
 * What listens in the guest, in-band: the host asks on stdin, `ESC _ portside;ports ESC \`, and somewhere in the output there comes
 * `ESC _ portside;ports=80,5432l ESC \`, an APC sequence that no terminal shows; `l` where only the guest itself reaches it. Only
 * for images whose section says `ports`.
 *
 * The report may be cut anywhere by the chunks of the output, and stand anywhere in it, in the middle of somebody else's escape sequence
 * too: it is taken out, and what is left is the output as it was. Any program of the guest can print one, so what it says is a
 * hint, capped and judged here.
 */

export const PORTS_QUESTION = '\x1b_portside;ports\x1b\\';

const ESC = 0x1b;
const PREFIX = Array.from('\x1b_portside;ports=', (c) => c.charCodeAt(0));
/** the longest list that the machine passes on */
const LIST_BYTES_MAX = 512;
const PORTS_MAX = 64;

export interface ListeningPort {
  port: number;
  /** it listens on loopback only: nobody outside the guest reaches it */
  local: boolean;
}

/** length of a report that may go on behind the end of what has come */
const UNFINISHED = -1;

export class PortsFilter {
  readonly #onPorts: (ports: ListeningPort[]) => void;
  /** the beginning of what may be a report */
  #held: Uint8Array = new Uint8Array(0);

  /** `onPorts` hears of the last report in each chunk. */
  constructor(onPorts: (ports: ListeningPort[]) => void) {
    this.#onPorts = onPorts;
  }

  /** The output without its reports: `chunk` itself where there is none. */
  push(chunk: Uint8Array): Uint8Array {
    if (this.#held.length === 0 && chunk.indexOf(ESC) < 0) return chunk;
    const bytes = this.#held.length === 0 ? chunk : joined(this.#held, chunk);
    this.#held = new Uint8Array(0);
    let report: Uint8Array | null = null;
    let kept = 0;
    let from = 0;
    let end = bytes.length;
    // Packed to the front as it goes; what was given stays as it was.
    let out: Uint8Array | null = null;
    const keep = (to: number): void => {
      out ??= new Uint8Array(bytes.length);
      out.set(bytes.subarray(from, to), kept);
      kept += to - from;
    };
    for (let at = bytes.indexOf(ESC); at >= 0;) {
      const len = reportLength(bytes, at);
      if (len === UNFINISHED) {
        this.#held = bytes.slice(at);
        end = at;
        break;
      }
      if (len > 0) {
        report = bytes.subarray(at + PREFIX.length, at + len - 2);
        keep(at);
        from = at + len;
      }
      at = bytes.indexOf(ESC, at + Math.max(len, 1));
    }
    if (report !== null) this.#onPorts(parsePorts(report));
    if (out === null) return end === bytes.length ? bytes : bytes.subarray(0, end);
    keep(end);
    return (out as Uint8Array).subarray(0, kept);
  }

  /** What was held back when the output has ended. */
  flush(): Uint8Array {
    const held = this.#held;
    this.#held = new Uint8Array(0);
    return held;
  }
}

/** 0: there is none at `at`. */
function reportLength(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < PREFIX.length; i++) {
    if (at + i === bytes.length) return UNFINISHED;
    if (bytes[at + i] !== PREFIX[i]) return 0;
  }
  for (let i = at + PREFIX.length; i - at - PREFIX.length <= LIST_BYTES_MAX; i++) {
    if (i === bytes.length) return UNFINISHED;
    if (bytes[i] === ESC) return i + 1 === bytes.length ? UNFINISHED : bytes[i + 1] === 0x5c ? i + 2 - at : 0;
    // Digits, the comma, the letter l.
    if (!(bytes[i] >= 0x30 && bytes[i] <= 0x39) && bytes[i] !== 0x2c && bytes[i] !== 0x6c) return 0;
  }
  return 0;
}

/** In order, each port once: one that is reachable is not only local. */
function parsePorts(list: Uint8Array): ListeningPort[] {
  const found = new Map<number, boolean>();
  for (const word of String.fromCharCode(...list).split(',')) {
    const match = /^(\d{1,5})(l?)$/.exec(word);
    const port = Number(match?.[1] ?? 0);
    if (match === null || port < 1 || port > 65_535) continue;
    if (found.size === PORTS_MAX && !found.has(port)) break;
    found.set(port, match[2] === 'l' && found.get(port) !== false);
  }
  return [...found].map(([port, local]) => ({ port, local })).sort((a, b) => a.port - b.port);
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
