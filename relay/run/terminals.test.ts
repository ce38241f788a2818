/*
 * Several terminals: the busybox image in the runner's thread, whose rings this test holds as a page would. Needs dist/images.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, test } from 'vitest';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { TTY_ATTACHED, TTY_HUNG_UP } from '../../shared/wasi/tty.ts';
import { windowSize } from '../../shared/wasi/window-size.ts';
import type { ContainerData, StartMessage, ThreadMessage } from './container-protocol.ts';

const IMAGE = fileURLToPath(new URL('../../dist/images/busybox.wasm', import.meta.url));
const WAIT_MS = 60_000;
const threads: Worker[] = [];
afterEach(async () => { for (const thread of threads.splice(0)) await thread.terminate(); });

class Screen {
  text = '';
  readonly #input: Ring;
  readonly #output: Ring;
  readonly #wake: Wake;
  readonly #index: number;

  /** `index` as in the memory's terminals; the first terminal has -1 */
  constructor(input: ArrayBufferLike, output: ArrayBufferLike, wake: Wake, index: number) {
    this.#index = index;
    this.#input = new Ring(input);
    this.#output = new Ring(output);
    this.#wake = wake;
  }

  /** Opens it, or says that it has another size. */
  size(cols: number, rows: number): void {
    if (this.#index >= 0) this.#wake.setTerminal(this.#index, TTY_ATTACHED);
    this.type(windowSize(cols, rows));
  }

  type(text: string): void {
    const bytes = Buffer.from(text);
    expect(this.#input.write(bytes, 0, bytes.length)).toBe(bytes.length);
    this.#wake.bump();
  }

  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    const bytes = new Uint8Array(4096);
    for (const end = Date.now() + WAIT_MS; Date.now() < end; await new Promise((resolve) => { setTimeout(resolve, 5); })) {
      for (let len = this.#output.read(bytes, 0, bytes.length); len > 0; len = this.#output.read(bytes, 0, bytes.length)) this.text += Buffer.from(bytes.subarray(0, len)).toString().replaceAll('\r', '');
      const found = pattern.exec(this.text);
      if (found !== null) return found;
    }
    throw new Error(`no ${pattern} in ${this.text}`);
  }
}

async function start(): Promise<{ screens: Screen[]; wake: Wake; messages: ThreadMessage[]; heard(message: object): Promise<void> }> {
  const data: ContainerData = { image: IMAGE };
  const thread = new Worker(new URL('./container-thread.mjs', import.meta.url), { workerData: data });
  threads.push(thread);
  const messages: ThreadMessage[] = [];
  thread.on('message', (message: ThreadMessage) => { messages.push(message); });
  const heard = (message: object): Promise<void> => expect.poll(() => messages, { timeout: WAIT_MS }).toContainEqual(expect.objectContaining(message));
  await heard({ type: 'loaded' });
  const memory = makeContainerMemory(false, 4);
  const message: StartMessage = { memory, args: ['busybox'], env: ['TERM=vt100'], net: false, directories: [], resume: null, pipes: false, compiler: {} };
  thread.postMessage(message);
  const wake = new Wake(memory.control);
  return { messages, heard, wake, screens: [new Screen(memory.stdin, memory.stdout, wake, -1), ...memory.terminals.map(({ input, output }, index) => new Screen(input, output, wake, index))] };
}

describe.skipIf(!existsSync(IMAGE))('a container with several terminals', () => {
  test('a shell for each that is opened, in the same container, of its own size, with keys that interrupt', async () => {
    const { screens: [first, second, third] } = await start();
    await first.waitFor(/:~# /);
    second.size(101, 33);
    third.size(102, 34);
    await second.waitFor(/:~# /);
    await third.waitFor(/:~# /);
    second.type('tty; stty size; echo "$TERM" >/tmp/shared; sh -c "echo rea""dy; exec sleep 1000"\n');
    await second.waitFor(/\/dev\/hvc2\n33 101\nready\n/);
    second.type('\x03');
    second.type('echo status $?\n');
    await second.waitFor(/status 130/);
    third.type('stty size; cat /tmp/shared\n');
    await third.waitFor(/34 102\nvt100\n/);
    second.size(60, 20);
    second.type('stty size\n');
    await second.waitFor(/20 60\n/);
    first.type('echo first is he""re\n');
    await first.waitFor(/first is here/);
  }, 3 * WAIT_MS);

  test('a shell that exits closes its terminal; one that is hung up ends its shell; both can be opened again', async () => {
    const { screens: [first, second, third], wake, messages, heard } = await start();
    await first.waitFor(/:~# /);
    second.size(80, 25);
    await second.waitFor(/:~# /);
    second.type('exit\n');
    await heard({ type: 'terminal-closed', index: 0 });
    third.size(80, 25);
    await third.waitFor(/:~# /);
    third.type('cat </dev/zero >/dev/null\n');
    first.type('until ps | grep "[c]at$"; do sleep 0.1; done\n');
    await first.waitFor(/\d+ root +cat\n/);
    wake.setTerminal(1, TTY_HUNG_UP);
    await heard({ type: 'terminal-closed', index: 1 });
    first.type('while ps | grep "[c]at$"; do sleep 0.1; done; echo go""ne\n');
    await first.waitFor(/gone/);
    for (const [index, screen] of [second, third].entries()) {
      screen.text = '';
      screen.size(80, 25);
      await screen.waitFor(/:~# /);
      expect(messages.filter((message) => message.type === 'terminal-closed' && message.index === index)).toHaveLength(1);
    }
    // What a program writes where nobody is attached goes nowhere, and holds nobody up.
    first.type('head -c 1000000 /dev/zero >/dev/hvc4; echo writ""ten\n');
    await first.waitFor(/written/);
    first.type('exit 3\n');
    await heard({ type: 'ended', end: { kind: 'exit', code: 3 } });
  }, 3 * WAIT_MS);

  // docs/container.md, "further terminals" and "kill -9 -1".
  test('a terminal is in the namespaces of the container, whose processes can\'t end the agent', async () => {
    const { screens: [first, second, third], heard } = await start();
    await first.waitFor(/:~# /);
    first.type('sleep 1000 & kill -9 -1; httpd -p 8080; hostname renamed; rm /dev/hvc3; mkdir /m; mount -t tmpfs m /m; echo here >/m/f; echo rea""dy\n');
    await first.waitFor(/ready\n/);
    first.type('\x1b_portside;ports\x1b\\');
    await first.waitFor(/portside;ports=8080[^,l]/);
    second.size(80, 25);
    await second.waitFor(/:~# /);
    second.type('hostname; cat /m/f; grep -E "^(PPid|CapBnd)" /proc/self/status; ls -l /proc/self/ns | sed "s/.*->//" >/tmp/second; read -r stat </proc/$$/stat; set -- ${stat##*) }; echo $2 $(($$ == $4)) "$HOSTNAME"; cat /proc/self/cgroup; ls -C /proc/$$/fd; echo th""at\n');
    await second.waitFor(/renamed\nhere\nPPid:\t\d+\nCapBnd:\t000001ffffbcffff\n0 1 busybox\n0::\/\n0 +1( +10)? +2\nthat\n/);
    // Its node is gone, its line is not.
    third.size(80, 25);
    await third.waitFor(/:~# /);
    third.type('echo to it >&0; sleep 1000\n');
    await third.waitFor(/to it\n/);
    first.type('ls -l /proc/self/ns | sed "s/.*->//" | cmp - /tmp/second && echo sa""me; ps -o pid,ppid,args | grep -c " 0 .*[s]h -l"\n');
    await first.waitFor(/same\n3\n/);
    first.type('exit 3\n');
    await heard({ type: 'ended', end: { kind: 'exit', code: 3 } });
  }, 3 * WAIT_MS);
});
