/*
 * gvproxy behind a WebSocket: what c2w-net is, of the same network stack, for machines that have no c2w-net.
 *
 *   page ── ws, QEMU's frames ──▶ GvproxyBridge ── UNIX socket ──▶ gvproxy
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createWebSocketStream, WebSocketServer } from 'ws';

/** in $GVPROXY, in PATH, or in podman's folder */
export const GVPROXY = [process.env['GVPROXY'], spawnSync('which', ['gvproxy']).stdout?.toString().trim(), '/usr/libexec/podman/gvproxy', '/usr/lib/podman/gvproxy']
  .find((path) => path !== undefined && path !== '' && existsSync(path));

export class GvproxyBridge {
  readonly #dir = mkdtempSync(join(tmpdir(), 'portside-gvproxy-'));
  readonly #wss = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  #child: ChildProcess | null = null;

  static async start(): Promise<GvproxyBridge> {
    const bridge = new GvproxyBridge();
    const link = join(bridge.#dir, 'link');
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const sshPort = (probe.address() as AddressInfo).port;
    await new Promise((resolve) => probe.close(resolve));
    const child = spawn(GVPROXY!, ['-listen', `unix://${join(bridge.#dir, 'api')}`, '-listen-qemu', `unix://${link}`, '-ssh-port', String(sshPort)], { stdio: 'ignore' });
    bridge.#child = child;
    while (!existsSync(link)) {
      if (child.exitCode !== null) throw new Error(`gvproxy ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    bridge.#wss.on('connection', (ws) => {
      const page = createWebSocketStream(ws);
      const network = connect(link);
      page.pipe(network).pipe(page);
      for (const [side, other] of [[page, network], [network, page]]) side.on('error', () => other.destroy());
    });
    return bridge;
  }

  get url(): string { return `ws://127.0.0.1:${(this.#wss.address() as AddressInfo).port}`; }

  async stop(): Promise<void> {
    for (const ws of this.#wss.clients) ws.terminate();
    this.#wss.close();
    const child = this.#child;
    if (child !== null && child.exitCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
