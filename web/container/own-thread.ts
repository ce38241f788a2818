/*
 * All of a container in its worker's own thread: for pages without SharedArrayBuffer. See shared/wasi/suspending.ts.
 *
 *   page ─ port ─▶ stdin ring ─▶ guest ─▶ stdout ring ─ port ─▶ page
 *                  fromGuest ring ◀─ guest ◀─ toGuest ring
 *                        └──────▶ Link ─────────┘        (LinkApi by a port)
 */
import { expose } from 'comlink';
import { makeContainerMemory } from '../../shared/memory/container-memory.ts';
import { receiveRing, sendRing } from '../../shared/memory/ring-bridge.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { Link } from '../link/link.ts';
import type { ContainerPorts } from '../protocol.ts';

export class OwnThread {
  readonly memory = makeContainerMemory(true, 1, false);
  readonly #frames = new MessageChannel();
  #stdoutBell: () => void = () => {};

  /** Speaks LinkApi at `port` from now on. */
  offerLink(port: MessagePort): void {
    expose(new Link({ memory: this.memory, bell: this.#frames.port2 }), port);
  }

  join(ports: ContainerPorts): void {
    const wake = new Wake(this.memory.control);
    this.#stdoutBell = sendRing(this.memory.stdout, ports.stdout);
    receiveRing(this.memory.stdin, ports.stdin, () => { wake.bump(); });
  }

  readonly stdoutBell = (): void => { this.#stdoutBell(); };
  readonly fromGuestBell = (): void => { this.#frames.port1.postMessage(0); };
}
