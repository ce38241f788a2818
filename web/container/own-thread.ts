/*
 * All of a container in its worker's own thread: for pages without SharedArrayBuffer. See shared/wasi/suspending.ts.
 *
 *   page ─ port ─▶ stdin ring ─▶ guest ─▶ stdout ring ─ port ─▶ page
 *                  fromGuest ring ◀─ guest ◀─ toGuest ring
 *                        └──────▶ Link ─────────┘        (LinkApi by a port)
 */
import { expose } from 'comlink';
import { makeContainerMemory, type ContainerMemory } from '../../shared/memory/container-memory.ts';
import { receiveRing, sendRing } from '../../shared/memory/ring-bridge.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { Link } from '../link/link.ts';
import type { ContainerPorts } from '../protocol.ts';

/** What the WASI host needs of it. */
export interface OwnThread {
  memory: ContainerMemory;
  stdoutBell: () => void;
  fromGuestBell: () => void;
}

export function joinInOwnThread(ports: ContainerPorts): OwnThread {
  const memory = makeContainerMemory(ports.link !== null, false);
  const wake = new Wake(memory.control);
  const stdoutBell = sendRing(memory.stdout, ports.stdout);
  receiveRing(memory.stdin, ports.stdin, () => { wake.bump(); });
  const frames = new MessageChannel();
  if (ports.link !== null) expose(new Link({ memory, bell: frames.port2 }), ports.link);
  return { memory, stdoutBell, fromGuestBell: () => { frames.port1.postMessage(0); } };
}
