/* What an image may ask that no compiler makes: the imports called as such, over a memory of ours. Arguments at random are tools/fuzz/wasi-target.ts's. */
import { wasi } from '@bjorn3/browser_wasi_shim';
import { afterEach, expect, test, vi } from 'vitest';
import { makeContainerMemory } from '../memory/container-memory.ts';
import { WasiHost } from './imports.ts';
import { MemoryShare } from './memory-share.ts';

type Calls = Record<string, (...args: unknown[]) => number>;
const DIRECTORY = 3;
const SHARE = 4;

/** Does `script` where the image's program would run. */
function asImage(pages: number, script: (calls: Calls, view: DataView) => void): MemoryShare {
  const memory = new WebAssembly.Memory({ initial: pages });
  const share = new MemoryShare(1 << 20);
  const host = new WasiHost({
    memory: makeContainerMemory(false), args: [], env: [], net: false, foreign: false,
    directories: new Map([['/portside', new Map([['disk', { bytes: 3, readAt: () => true }]])]]), shares: [{ name: '/s', share, readOnly: false }],
  });
  const end = host.run({ exports: { memory, _start: () => { script(host.imports as Calls, new DataView(memory.buffer)); } } });
  expect(end).toEqual({ kind: 'exit', code: 0 });
  return share;
}

afterEach(() => { vi.restoreAllMocks(); });

test('a path is measured before it is copied, whoever is asked', () => {
  const decoded = vi.spyOn(TextDecoder.prototype, 'decode');
  asImage(1024, (calls) => {
    const len = 60 << 20;
    for (const fd of [DIRECTORY, SHARE]) {
      const results = [
        calls['path_open'](fd, 0, 0, len, 0, 0n, 0n, 0, 0), calls['path_filestat_get'](fd, 0, 0, len, 0), calls['path_filestat_set_times'](fd, 0, 0, len, 0n, 0n, 0), calls['path_create_directory'](fd, 0, len),
        calls['path_remove_directory'](fd, 0, len), calls['path_unlink_file'](fd, 0, len), calls['path_readlink'](fd, 0, len, 0, 0, 0), calls['path_rename'](fd, 0, len, fd, 0, 1),
        calls['path_link'](fd, 0, 0, len, fd, 0, 1), calls['path_symlink'](0, len, fd, 0, len),
      ];
      expect(results).toEqual(results.map(() => wasi.ERRNO_NAMETOOLONG));
      expect(calls['path_open'](fd, 0, 0x7fff_ffff, len, 0, 0n, 0n, 0, 0)).toBe(wasi.ERRNO_FAULT);
    }
  });
  expect(decoded).not.toHaveBeenCalled();
});

test('buffers without end are judged where nothing can be read or written, too', () => {
  asImage(1024, (calls) => {
    for (const name of ['fd_read', 'fd_write']) expect(calls[name](DIRECTORY, 0, 8 << 20, 0)).toBe(wasi.ERRNO_ISDIR);
    for (const name of ['fd_pread', 'fd_pwrite']) expect([calls[name](DIRECTORY, 0, 8 << 20, 0n, 0), calls[name](99, 0, 8 << 20, 0n, 0)]).toEqual([wasi.ERRNO_ISDIR, wasi.ERRNO_BADF]);
    expect(calls['fd_pwrite'](0, 0, 8 << 20, 0n, 0)).toBe(wasi.ERRNO_SPIPE);
  });
});

test('a descriptor that gets another number is closed once, and counted once', () => {
  const share = asImage(1, (calls, view) => {
    new Uint8Array(view.buffer).set([0x66], 100);
    const open = (): number => {
      expect(calls['path_open'](SHARE, 0, 100, 1, wasi.OFLAGS_CREAT, BigInt(wasi.RIGHTS_FD_WRITE), 0n, 0, 8)).toBe(0);
      return view.getUint32(8, true);
    };
    // More often than so many may be open at a time.
    for (let i = 0; i < 3000; i++) {
      const [first, second] = [open(), open()];
      expect([calls['fd_renumber'](first, second), calls['fd_renumber'](second, second), calls['fd_renumber'](first, second), calls['fd_renumber'](second, 99)]).toEqual([0, 0, wasi.ERRNO_BADF, wasi.ERRNO_BADF]);
      expect([calls['fd_filestat_set_size'](second, 5n), calls['fd_close'](second), calls['fd_close'](second)]).toEqual([0, 0, wasi.ERRNO_BADF]);
    }
    expect(calls['path_unlink_file'](SHARE, 100, 1)).toBe(0);
  });
  expect(share.used).toBe(0);
});

test('a wait for the wall clock outlasts one that is set back', () => {
  asImage(1, (calls, view) => {
    // A clock, absolute, 20 ms from now, and one that is relative, 10 s.
    for (const at of [0, 48]) view.setUint8(at + 8, wasi.EVENTTYPE_CLOCK);
    view.setBigUint64(24, BigInt(Date.now() + 20) * 1_000_000n, true);
    view.setUint16(40, 1, true);
    view.setUint32(64, wasi.CLOCKID_MONOTONIC, true);
    view.setBigUint64(72, 10_000_000_000n, true);
    // It is set back a little whenever somebody looks, for a while: deeper than any stack.
    const now = Date.now();
    let looks = 0;
    vi.spyOn(Date, 'now').mockImplementation(() => (++looks < 20_000 ? now + 19.999 : now + 21));
    expect([calls['poll_oneoff'](0, 200, 2, 300), view.getUint32(300, true)]).toEqual([0, 1]);
    expect(looks).toBeGreaterThan(20_000);
  });
});
