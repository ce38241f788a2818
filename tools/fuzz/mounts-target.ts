/*
 * Folders that a user has connected in the page: a script of calls on one of them, and on a folder in memory, which must come to the same where the
 * browser's API can do it at all; then all of them again at once, as page and container ask. Nothing is thrown but FileErrors, nothing is written beside the
 * folder or below its place in memory, no file stays half written.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import { MemoryShare } from '../../shared/wasi/memory-share.ts';
import type { ServedFile, ServedShare } from '../../shared/wasi/share-channel.ts';
import { FileError, type OpenHow } from '../../shared/wasi/share.ts';
import { FakeFolder } from '../../web/files/fake-handles.ts';
import { Mounts } from '../../web/files/mounts.ts';
import { Choices } from './choices.ts';
import { check, type FuzzTarget } from './target.ts';

const CAPACITY = 1 << 20;
const STEPS_MAX = 150;
const PLACE = 'project';
/** what may be named in the folder, and what leads out of it */
const NAMES = ['a', 'b', 'd', 'd/a', 'd/e', 'd/e/f', './a', 'd//a', 'a/b', 'n'.repeat(256)];
const HOSTILE = ['..', '../secret', 'd/../../secret', '/a', 'a\0', 'd/..', '', '.', 'd\\a', `../${PLACE}/x`, `d/../../${PLACE}`];
const OFFSETS = [0, 1, 5, 4000, 70_000];

type Step = (share: ServedShare, prefix: string) => Promise<string>;

/** Steps out of an input; each knows the files that steps before it have opened, by share. */
function stepsOf(choices: Choices): Step[] {
  const opened = new Map<ServedShare, (ServedFile | null)[]>();
  const filesOf = (share: ServedShare): (ServedFile | null)[] => {
    if (!opened.has(share)) opened.set(share, []);
    return opened.get(share)!;
  };
  const steps: Step[] = [];
  const path = (): string => (choices.byte() < 235 ? choices.pick(NAMES) : choices.pick(HOSTILE));
  const onFile = (action: (file: ServedFile) => Promise<string>): Step => {
    const which = choices.byte();
    return async (share) => {
      const files = filesOf(share);
      const file = files[which % Math.max(files.length, 1)] ?? null;
      return file === null ? 'no file' : action(file);
    };
  };
  let count = 0;
  while (!choices.isOver && steps.length < STEPS_MAX) {
    switch (choices.below(14)) {
      case 0: case 1: case 2: {
        const [name, flags] = [path(), choices.byte()];
        const writes = (flags & 1) !== 0;
        const how: OpenHow = { reads: !writes || (flags & 2) !== 0, writes, creates: writes && (flags & 4) !== 0, exclusive: (flags & 24) === 24, truncates: writes && (flags & 32) !== 0, appends: writes && (flags & 64) !== 0, directory: false };
        const slot = count++;
        steps.push(async (share, prefix) => {
          filesOf(share)[slot] = null;
          const file = await share.open(prefix + name, false, how);
          filesOf(share)[slot] = file;
          return file.isDirectory ? 'a directory' : 'a file';
        });
        break;
      }
      case 3: case 4: case 5: {
        const [offset, len] = [choices.pick(OFFSETS), choices.byte()];
        const data = new Uint8Array(len).fill(97 + (steps.length % 26));
        steps.push(onFile(async (file) => `wrote ${await file.write(offset, [data.slice(0, len >> 1), data.slice(len >> 1)])}`));
        break;
      }
      case 6: {
        const offset = choices.pick(OFFSETS);
        steps.push(onFile(async (file) => {
          const into = [new Uint8Array(100), new Uint8Array(5000)];
          const len = await file.read(offset, into);
          return `read ${Buffer.concat(into).subarray(0, len).toString('latin1')}`;
        }));
        break;
      }
      case 7: {
        const size = choices.pick(OFFSETS);
        steps.push(onFile(async (file) => {
          await file.setSize(size);
          return 'cut';
        }));
        break;
      }
      case 8: {
        const which = choices.byte();
        steps.push(async (share) => {
          const files = filesOf(share);
          const at = which % Math.max(files.length, 1);
          const file = files[at] ?? null;
          files[at] = null;
          await file?.close();
          return 'closed';
        });
        break;
      }
      case 9: {
        const mode = 0o600 | choices.byte();
        steps.push(onFile(async (file) => {
          await file.setMode(mode);
          const stat = await file.stat();
          return `mode ${stat.mode.toString(8)} links ${stat.type === wasi.FILETYPE_DIRECTORY ? '-' : stat.links} size ${stat.type === wasi.FILETYPE_DIRECTORY ? '-' : stat.size}`;
        }));
        break;
      }
      case 10: {
        const [from, to] = [path(), path()];
        steps.push(async (share, prefix) => {
          // What the API can't.
          if ((await share.stat(prefix + from, false)).type === wasi.FILETYPE_DIRECTORY) return 'a folder stays';
          await share.rename(prefix + from, prefix + to);
          return 'renamed';
        });
        break;
      }
      case 11: {
        const [name, directory] = [path(), choices.below(2) === 0];
        steps.push(async (share, prefix) => {
          await (directory ? share.removeDirectory(prefix + name) : share.unlink(prefix + name));
          return 'removed';
        });
        break;
      }
      case 12: {
        const name = path();
        steps.push(async (share, prefix) => {
          await share.makeDirectory(prefix + name);
          return 'made';
        });
        break;
      }
      default: {
        const name = path();
        steps.push(async (share, prefix) => {
          const stat = await share.stat(prefix + name, false);
          if (stat.type !== wasi.FILETYPE_DIRECTORY) return `file of ${stat.size}, ${stat.mode.toString(8)}`;
          const directory = await share.open(prefix + name, false, { reads: true, writes: false, creates: false, exclusive: false, truncates: false, appends: false, directory: true });
          const names = (await directory.list()).map((entry) => `${entry.name}/${entry.type}`).toSorted();
          await directory.close();
          return `folder of ${names.join(' ')}`;
        });
      }
    }
  }
  // At last all are closed.
  steps.push(async (share) => {
    for (const file of filesOf(share)) await file?.close();
    filesOf(share).length = 0;
    return 'all closed';
  });
  return steps;
}

async function outcomeOf(step: Step, share: ServedShare, prefix: string): Promise<string> {
  try {
    return await step(share, prefix);
  } catch (error) {
    check(error instanceof FileError && error.errno >= 0 && error.errno <= 76, () => `no FileError but ${error instanceof Error ? error.stack : String(error)}`);
    return 'refused';
  }
}

/** A user's folder with others beside it, of which one was connected. */
async function connected(): Promise<{ mounts: Mounts; memory: MemoryShare; outer: FakeFolder }> {
  const outer = new FakeFolder('home');
  const secret = await (await outer.handle.getFileHandle('secret', { create: true })).createWritable();
  await secret.write(Uint8Array.of(1, 2, 3));
  await secret.close();
  const memory = new MemoryShare(CAPACITY);
  const mounts = new Mounts(memory);
  check(mounts.connect(await outer.handle.getDirectoryHandle(PLACE, { create: true })) === PLACE, () => 'its name is another');
  return { mounts, memory, outer };
}

/** Nothing but the folder itself has changed, and nothing is half done. */
function judge({ mounts, memory, outer }: Awaited<ReturnType<typeof connected>>): void {
  const tree = outer.tree();
  check(Object.keys(tree).every((path) => path === 'secret' || path.startsWith(`${PLACE}/`)), () => `beside the folder there is ${Object.keys(tree).join(' ')}`);
  check([...tree['secret']].join() === '1,2,3', () => 'what lies beside the folder was written');
  check(outer.writers() === 0, () => `${outer.writers()} files are half written`);
  mounts.disconnect(PLACE);
  check(memory.used === 0, () => `${memory.used} bytes are below the folder's place`);
}

async function runMounts(input: Uint8Array): Promise<void> {
  const inFolder = await connected();
  const plain = new MemoryShare(CAPACITY);
  plain.makeDirectory(PLACE);
  const steps = stepsOf(new Choices(input));
  const before: string[] = [];
  for (const step of steps) {
    const [here, there] = [await outcomeOf(step, inFolder.mounts, `${PLACE}/`), await outcomeOf(step, plain, `${PLACE}/`)];
    // Ways that lead back are none to a connected folder.
    if (here === 'refused' && there !== 'refused') {
      await outcomeOf(steps.at(-1)!, inFolder.mounts, '');
      await outcomeOf(steps.at(-1)!, plain, '');
      check(hostile(input), () => `"${there}" in memory is refused in the folder\nbefore: ${before.slice(-8).join(' · ')}`);
      break;
    }
    check(here === there, () => `"${here}" in the folder, "${there}" in memory\nbefore: ${before.slice(-8).join(' · ')}`);
    before.push(here);
  }
  judge(inFolder);
  const atOnce = await connected();
  await Promise.all(stepsOf(new Choices(input)).slice(0, -1).map((step) => outcomeOf(step, atOnce.mounts, `${PLACE}/`)));
}

/** Whether a script may have used ways that lead back. */
function hostile(input: Uint8Array): boolean {
  return input.some((byte) => byte >= 235);
}

function seeds(): Record<string, Uint8Array> {
  const name = (text: string): number => NAMES.indexOf(text);
  const open = (text: string, flags: number): number[] => [0, 0, name(text), flags];
  const write = (file: number, offset: number, len: number): number[] => [3, OFFSETS.indexOf(offset), len, file];
  const read = (file: number): number[] => [6, 0, file];
  const script = (...steps: number[][]): Uint8Array => Uint8Array.from(steps.flat());
  return {
    'append': script(open('a', 1 | 2 | 4 | 64), open('a', 1 | 4 | 64), open('a', 1), write(0, 0, 9), write(1, 5, 7), write(2, 4000, 3), write(0, 1, 5), read(0), [8, 1], write(0, 0, 2), read(0), [13, 0, name('a')]),
    'nameless': script(open('a', 1 | 2 | 4), write(0, 0, 20), [11, 0, name('a'), 1], [9, 3, 0], read(0), write(0, 5, 9), [7, 1, 0], open('a', 1 | 2 | 4 | 24), write(1, 0, 3), read(0), read(1), [8, 0], read(1), [13, 0, name('.')]),
    'replaced': script(open('a', 1 | 2 | 4), open('b', 1 | 2 | 4), write(0, 0, 10), write(1, 0, 20), [10, 0, name('b'), 0, name('a')], write(0, 1, 3), write(1, 1, 4), read(0), read(1), [9, 5, 0], [9, 5, 1], [13, 0, name('a')], [10, 0, name('a'), 0, name('d/a')]),
    'folders': script([12, 0, name('d')], [12, 0, name('d/e')], open('d/e/f', 1 | 4), write(0, 0, 5), [11, 0, name('d'), 0], [13, 0, name('d')], [11, 0, name('d/e/f'), 1], [11, 0, name('d/e'), 0], [9, 1, 0], [13, 0, name('d')]),
    'ways-out': script(...HOSTILE.map((_, i) => [0, 240, i, 1 | 2 | 4]), ...HOSTILE.map((_, i) => [12, 240, i]), ...HOSTILE.map((_, i) => [11, 240, i, i])),
  };
}

export const MOUNTS_TARGET: FuzzTarget = { name: 'mounts', seeds, run: runMounts };
