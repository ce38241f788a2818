/*
 * Runs a kernel and an initramfs in qemu-system-riscv64 and plays the machine's side of the control channel: the oracle for
 * the guest agent, and a way to look at a guest without the machine.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { quote } from './initramfs.ts';

export interface QemuOptions {
  kernel: string;
  initrd: string;
  disk?: string;
  memoryMiB: number;
  cmdline: string;
  /** command and arguments; none for the image's own */
  argv?: string[];
  env?: Record<string, string>;
  entrypoint?: string;
  hostname?: string;
  stdin?: boolean;
  network?: boolean;
  /** QEMU's network backend with its arguments; default: `user`, QEMU's own */
  netdev?: string;
  mac?: string;
  timeoutMs?: number;
  /** what comes on the terminal, as it comes */
  onOutput?: (text: string) => void;
}

/** A guest in QEMU. `screen` grows; `exited` resolves with the command's status. */
export class QemuGuest {
  screen = '';
  /** when the handshake came, in `ms` after the start */
  readyMs = 0;
  readonly exited: Promise<number>;
  #terminal: Socket | null = null;
  #waiting: Array<() => void> = [];
  readonly #dir = mkdtempSync(join(tmpdir(), 'portside-qemu-'));
  readonly #servers: Server[] = [];
  #child: ChildProcess | null = null;

  constructor(options: QemuOptions) {
    const started = Date.now();
    this.exited = new Promise((resolve, reject) => {
      const terminal = this.#listen('terminal', (socket) => {
        this.#terminal = socket;
        socket.on('data', (chunk) => {
          this.screen += chunk.toString();
          options.onOutput?.(chunk.toString());
          for (const wake of this.#waiting.splice(0)) wake();
        });
      });
      let lines = '';
      const control = this.#listen('control', (socket) => socket.on('data', (chunk) => {
        lines += chunk.toString();
        for (let end = lines.indexOf('\n'); end >= 0; end = lines.indexOf('\n')) {
          const line = lines.slice(0, end).trim();
          lines = lines.slice(end + 1);
          if (line === 'ready') {
            this.readyMs = Date.now() - started;
            socket.write(configuration(options));
          }
          const status = /^exit (\d+)$/.exec(line)?.[1];
          // What the command printed last may still be under way on the other socket.
          if (status !== undefined) setTimeout(() => finish(() => resolve(Number(status))), 100);
        }
      }));
      const child = spawn('qemu-system-riscv64', [
        '-M', 'virt', '-m', `${options.memoryMiB}M`, '-nographic', '-serial', 'none', '-monitor', 'none', '-no-reboot', '-global', 'virtio-mmio.force-legacy=false',
        '-kernel', options.kernel, '-initrd', options.initrd, '-append', options.cmdline,
        ...(options.disk === undefined ? [] : ['-drive', `file=${options.disk},format=raw,if=none,id=disk,readonly=on`, '-device', 'virtio-blk-device,drive=disk']),
        ...(options.network === true ? ['-netdev', `${options.netdev ?? 'user'},id=net`, '-device', 'virtio-net-device,netdev=net'] : []),
        // One device with two ports: of two devices, whose probes race, either may become hvc0.
        '-chardev', `socket,id=terminal,path=${terminal}`, '-chardev', `socket,id=control,path=${control}`, '-device', 'virtio-serial-device,id=serial',
        '-device', 'virtconsole,chardev=terminal,bus=serial.0,nr=0', '-device', 'virtconsole,chardev=control,bus=serial.0,nr=1',
      ], { stdio: ['ignore', 'pipe', 'pipe'] });
      this.#child = child;
      let complaint = '';
      child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
      child.stdout.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
      const timer = setTimeout(() => finish(() => reject(new Error(`no end within ${options.timeoutMs ?? 60_000} ms; on screen:\n${this.screen}\n${complaint}`))), options.timeoutMs ?? 60_000);
      let finished = false;
      const finish = (settle: () => void): void => {
        if (finished) return;
        finished = true;
        clearTimeout(timer);
        child.kill('SIGKILL');
        for (const server of this.#servers) server.close();
        rmSync(this.#dir, { recursive: true, force: true });
        settle();
      };
      child.on('exit', (code) => finish(() => reject(new Error(`qemu ended with status ${code}: ${complaint}\n${this.screen}`))));
      child.on('error', (error) => finish(() => reject(error)));
    });
  }

  /** of QEMU itself */
  get pid(): number | undefined { return this.#child?.pid; }

  type(text: string): void {
    this.#terminal?.write(text);
  }

  /** Ends the machine without the guest's knowing; `exited` rejects. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  /** Waits until the screen matches. Rejects with the guest. */
  async waitFor(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.screen)) await Promise.race([new Promise<void>((resolve) => this.#waiting.push(resolve)), this.exited.then((code) => { throw new Error(`ended with ${code}: ${this.screen}`); })]);
  }

  #listen(name: string, onSocket: (socket: Socket) => void): string {
    const path = join(this.#dir, name);
    this.#servers.push(createServer((socket) => {
      socket.on('error', () => undefined);
      onSocket(socket);
    }).listen(path));
    return path;
  }
}

/** The lines that the machine sends after the handshake. */
function configuration(options: QemuOptions): string {
  return [
    `PS_EPOCH=${(Date.now() / 1000).toFixed(9)}`, `PS_MAC=${quote(options.network === true ? (options.mac ?? '02:00:00:00:00:01') : '')}`, `PS_NET=${options.network === true ? 1 : 0}`,
    `PS_HOSTNAME=${quote(options.hostname ?? '')}`, `PS_STDIN=${options.stdin === false ? 0 : 1}`,
    `PS_ENTRYPOINT=${quote(options.entrypoint ?? '')}`, `PS_HAS_ENTRYPOINT=${options.entrypoint === undefined ? 0 : 1}`,
    ...Object.entries(options.env ?? {}).map(([name, value]) => `export ${name}=${quote(value)}`),
    `set -- ${(options.argv ?? []).map(quote).join(' ')}`, 'start', '',
  ].join('\n');
}
