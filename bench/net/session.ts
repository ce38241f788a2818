/** One peer, running: namespaces of its own, the servers beside it, a Linux guest behind it. */
import { setTimeout as pause } from 'node:timers/promises';
import { join } from 'node:path';
import { ECHO_PORTS, IPERF_PORT, LOOPBACK, type IperfReport } from '../../relay/fixture/linux/lab.ts';
import { Namespaces, type Program, type Side } from '../../relay/fixture/linux/namespaces.ts';
import { nativeProgram } from '../../relay/fixture/linux/native.ts';
import { TapGuest } from '../../relay/fixture/linux/tap-guest.ts';
import { FORWARD_PORT, type Peer, type PeerPlace } from './peers.ts';
import { costOf, type Cost } from './processes.ts';

/** beyond what a test is asked to take, in `ms` */
const GRACE_MS = 15_000;
const BUSY = 'the server is busy';

export class Session {
  readonly peer: Peer;
  readonly mtu: number;
  readonly #namespaces = new Namespaces();
  #stack: Program | undefined;

  private constructor(peer: Peer, mtu: number) {
    this.peer = peer;
    this.mtu = mtu;
  }

  static async start(peer: Peer, mtu: number): Promise<Session> {
    const session = new Session(peer, mtu);
    try {
      await session.#start();
      return session;
    } catch (error) {
      const said = session.#stack?.stderr.slice(-300) ?? '';
      await session.close();
      throw new Error(`${peer.name} did not start: ${error instanceof Error ? error.message : String(error)} ${said}`, { cause: error });
    }
  }

  async #start(): Promise<void> {
    const { peer, mtu } = this;
    const namespaces = this.#namespaces;
    const place: PeerPlace = { socket: join(namespaces.dir, 'net.sock'), dir: namespaces.dir, mtu };
    const load = nativeProgram('net-load');
    await Promise.all([
      namespaces.start('host', ['iperf3', '-s', '-B', LOOPBACK, '-p', String(IPERF_PORT), '--forceflush']).said(/Server listening/),
      namespaces.start('guest', ['iperf3', '-s', '-p', String(IPERF_PORT), '--forceflush']).said(/Server listening/),
      namespaces.start('host', [load, 'echo', LOOPBACK, ECHO_PORTS]).said(/^ready$/m),
      namespaces.start('host', [load, 'names', LOOPBACK, '53']).said(/^ready$/m),
    ]);
    this.#stack = namespaces.start('host', peer.command!(place));
    await TapGuest.start(namespaces, { connect: `unix:${place.socket}`, mtu, offload: true, address: { cidr: `${peer.guestIp}/24`, gateway: peer.gateway } });
    await this.#connected();
    await peer.forward?.(place);
  }

  /** Until a first byte has made it to the host and back. */
  async #connected(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const { status, stderr } = await this.#namespaces.run('guest', [nativeProgram('net-load'), 'round-trips', this.peer.hostIp, '7001', '0.05'], { timeoutMs: GRACE_MS });
      if (status === 0) return;
      if (tries === 20 || this.#stack!.isOver) throw new Error(`no way through it: ${stderr}`);
      await pause(200);
    }
  }

  /** What the peer's processes spend while `work` runs. */
  cost<T>(work: () => Promise<T>): Promise<{ result: T; cost: Cost }> {
    return costOf(this.#stack!.pid, work);
  }

  /** A client of net-load in the guest. `seconds` bounds it. */
  async load(seconds: number, command: string, ...args: string[]): Promise<Record<string, number>> {
    const output = await this.#namespaces.output('guest', [nativeProgram('net-load'), command, ...args], { timeoutMs: seconds * 1000 + GRACE_MS });
    return JSON.parse(output) as Record<string, number>;
  }

  /** iperf3 in the guest, or on the host through the forwarded port. */
  async iperf(side: Side, seconds: number, ...args: string[]): Promise<IperfReport> {
    const target = side === 'guest' ? [this.peer.hostIp, String(IPERF_PORT)] : [LOOPBACK, String(FORWARD_PORT)];
    const command = ['iperf3', '-J', '-c', target[0], '-p', target[1], '-t', String(seconds), '--connect-timeout', '5000', ...args];
    for (let tries = 1; ; tries++) {
      const { stdout } = await this.#namespaces.run(side, command, { timeoutMs: seconds * 1000 + GRACE_MS });
      const report = JSON.parse(stdout) as IperfReport & { error?: string };
      if (report.error === undefined) return report;
      // It may still be ending the test before.
      if (tries === 5 || !report.error.includes(BUSY)) throw new Error(report.error);
      await pause(500);
    }
  }

  close(): Promise<void> {
    return this.#namespaces.close();
  }
}
