/*
 * The worker of page.html: what an image needs of WASI, with nothing of ours in it. Every socket call is a message to the page and a
 * wait for its answer, and every poll of the socket another one.
 */
const BADF = 8;
const AGAIN = 6;
const LISTENER = 3;
const CONNECTION = 205;

class Exit extends Error {}

onmessage = async ({ data: { shared, args } }) => {
  const words = new Int32Array(shared, 0, 3);
  const answer = new Uint8Array(shared, 12);
  const idle = new Int32Array(new SharedArrayBuffer(4));
  const encoder = new TextEncoder();
  const strings = ['image', ...args].map((arg) => encoder.encode(`${arg}\0`));
  const decoder = new TextDecoder();
  let memory = null;
  let accepted = false;

  const view = () => new DataView(memory.buffer);
  const set32 = (at, value) => {
    view().setUint32(at, value, true);
    return 0;
  };

  function ask(what, more = {}) {
    words[0] = 0;
    postMessage({ ask: what, ...more });
    Atomics.wait(words, 0, 0);
    return words[1];
  }

  function* buffers(iovs, count) {
    for (let i = 0; i < count; i++) yield new Uint8Array(memory.buffer, view().getUint32(iovs + 8 * i, true), view().getUint32(iovs + 8 * i + 4, true));
  }

  function write(fd, iovs, count, done, take) {
    let total = 0;
    for (const buffer of buffers(iovs, count)) {
      if (buffer.length > 0) take(buffer.slice());
      total += buffer.length;
    }
    return set32(done, total);
  }

  function receive(iovs, count, done) {
    if (ask('readable') === 0) return AGAIN;
    let total = 0;
    for (const buffer of buffers(iovs, count)) {
      const length = ask('receive', { length: buffer.length });
      buffer.set(answer.subarray(0, length));
      total += length;
      if (length < buffer.length) break;
    }
    return set32(done, total);
  }

  /** One socket and one clock, as select(2) subscribes to them. */
  function poll(subs, events, count, nevents) {
    let reported = 0;
    let waitMs = 0;
    let clock = subs;
    const report = (at, tag) => {
      const out = events + 32 * reported++;
      new Uint8Array(memory.buffer, out, 32).fill(0);
      view().setBigUint64(out, view().getBigUint64(at, true), true);
      view().setUint8(out + 10, tag);
    };
    for (let i = 0, at = subs; i < count; i++, at += 48) {
      const tag = view().getUint8(at + 8);
      if (tag === 0) {
        clock = at;
        waitMs = Number(view().getBigUint64(at + 24, true)) / 1e6;
      } else if (view().getUint32(at + 16, true) === CONNECTION && ask('readable') === 1) {
        report(at, tag);
      }
    }
    if (reported === 0 && waitMs > 0) Atomics.wait(idle, 0, 0, waitMs);
    if (reported === 0) report(clock, 0);
    return set32(nevents, reported);
  }

  const imports = {
    args_sizes_get: (count, bytes) => set32(count, strings.length) || set32(bytes, strings.reduce((sum, { length }) => sum + length, 0)),
    args_get(pointers, at) {
      strings.forEach((string, i) => {
        set32(pointers + 4 * i, at);
        new Uint8Array(memory.buffer).set(string, at);
        at += string.length;
      });
      return 0;
    },
    environ_sizes_get: (count, bytes) => set32(count, 0) || set32(bytes, 0),
    environ_get: () => 0,
    clock_time_get(id, _precision, time) {
      view().setBigUint64(time, BigInt(Math.round((id === 0 ? Date.now() : performance.now()) * 1e6)), true);
      return 0;
    },
    fd_prestat_get(fd, prestat) {
      if (fd !== LISTENER) return BADF;
      view().setUint8(prestat, 1);
      return 0;
    },
    fd_fdstat_get(fd, stat) {
      new Uint8Array(memory.buffer, stat, 24).fill(0);
      view().setUint8(stat, fd < LISTENER ? 2 : 6);
      return 0;
    },
    fd_write: (fd, iovs, count, done) => write(fd, iovs, count, done, (bytes) => postMessage({ text: decoder.decode(bytes, { stream: true }) })),
    sock_accept(_fd, _flags, connection) {
      if (accepted || ask('accept') === 0) return AGAIN;
      accepted = true;
      return set32(connection, CONNECTION);
    },
    sock_send: (fd, iovs, count, _flags, done) => write(fd, iovs, count, done, (bytes) => ask('send', { bytes })),
    sock_recv: (_fd, iovs, count, _flags, done) => receive(iovs, count, done),
    poll_oneoff: poll,
    proc_exit() { throw new Exit(); },
  };

  const module = await WebAssembly.compileStreaming(fetch('image.wasm'));
  // What the image links and never calls here.
  for (const { name } of WebAssembly.Module.imports(module)) imports[name] ??= () => BADF;
  const instance = await WebAssembly.instantiate(module, { wasi_snapshot_preview1: imports });
  memory = instance.exports.memory;
  try {
    instance.exports._start();
  } catch (error) {
    postMessage({ text: error instanceof Exit ? 'exit\n' : `${error}\n` });
  }
};
