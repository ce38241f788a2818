/*
 * `portside convert` in a process of its own: it unpacks archives of strangers, in large pieces and without a pause, and the relay's
 * networks are not to notice. Its progress and its error are its lines on stderr. It leads a process group, because wizer, its child,
 * ends with it only if it has the time to see to that.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { RelayError } from '../shared/relay-error.ts';
import { printable } from './printable.ts';

const PORTSIDE = fileURLToPath(new URL('../bin/portside.mjs', import.meta.url));
/** in front of warnings, and of the error */
const SAID = 'portside convert: ';
/** A guest writes some of the lines */
const MAX_LINE_CHARS = 300;
const MAX_ERROR_CHARS = 4000;
const MIB = 1024 * 1024;

export interface ConversionOptions {
  /** of the image */
  name: string;
  maxUnpackedBytes: number;
  /** ends it at once */
  signal: AbortSignal;
  onStep(text: string): void;
}

/** Makes of `archive` an image in the folder `out`, with its manifest. Rejects with RELAY_CONVERT, or with the reason of `signal`. */
export async function convertArchive(archive: string, out: string, { name, maxUnpackedBytes, signal, onStep }: ConversionOptions): Promise<void> {
  signal.throwIfAborted();
  const args = [PORTSIDE, 'convert', '--name', name, '--max-size', String(Math.max(1, Math.floor(maxUnpackedBytes / MIB))), archive, `${out}/`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
  const kill = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // Windows has no groups, and what has ended needs no end.
      child.kill('SIGKILL');
    }
  };
  const ending = new Promise<string>((resolve, reject) => {
    child.once('error', (error) => reject(new RelayError('RELAY_CONVERT', `the converter does not start: ${error.message}`)));
    child.once('spawn', () => putLast(child.pid!));
    child.once('close', (code, by) => resolve(String(by ?? code)));
  });
  let said = '';
  let rest = '';
  // Where there was no descriptor for it, a child has no stderr either: its error follows.
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!.slice(0, MAX_ERROR_CHARS);
    for (const line of lines) {
      if (line.startsWith(SAID)) said = line.slice(SAID.length, MAX_ERROR_CHARS);
      else if (said !== '') said = `${said}\n${line}`.slice(0, MAX_ERROR_CHARS);
      else onStep(printable(line, MAX_LINE_CHARS, ''));
    }
  });
  signal.addEventListener('abort', kill, { once: true });
  try {
    const ended = await ending;
    signal.throwIfAborted();
    if (ended === '0') return;
    throw new RelayError('RELAY_CONVERT', said === '' ? `the converter ended with ${ended}: the image may be too large for this computer's memory` : said);
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** When processor or memory run short, it is the one that waits, or ends. */
function putLast(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
    if (process.platform === 'linux') writeFileSync(`/proc/${pid}/oom_score_adj`, '1000');
  } catch {
    // It has ended already.
  }
}
