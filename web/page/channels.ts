/*
 * What the page and a container speak through, in both ways to wait: made here, used alike by the runner.
 *
 *   block    one shared memory holds all rings; where Atomics.waitAsync is missing, bells ring by ports
 *   suspend  no memory is shared: the page has rings of its own for the terminal, ports carry what is in them (ring-bridge.ts), and the
 *            container's worker holds the link as well (container/own-thread.ts). There is one terminal, no save and no folder
 */
import { makeContainerMemory, type ContainerMemory } from '../../shared/memory/container-memory.ts';
import { wakeMode } from '../../shared/memory/drain.ts';
import { Ring } from '../../shared/memory/ring.ts';
import { receiveRing, sendRing } from '../../shared/memory/ring-bridge.ts';
import { Wake } from '../../shared/memory/wake.ts';
import { canSuspend } from '../../shared/wasi/suspending.ts';
import type { ContainerShare, ContainerStart } from '../protocol.ts';

/** `block`: its thread sleeps, over shared memory. `suspend`: by JSPI, without. */
export type WaitingMode = 'block' | 'suspend';

/** What this page can do; null when neither. */
export function waitingMode(): WaitingMode | null {
  if (typeof SharedArrayBuffer !== 'undefined' && crossOriginIsolated) return 'block';
  return canSuspend() ? 'suspend' : null;
}

export interface Channels {
  /** null: none is shared */
  memory: ContainerMemory | null;
  stdin: Ring;
  stdout: Ring;
  /** of whoever reads stdin */
  wake: Wake;
  /** rings when stdout has something; null: the ring tells itself */
  stdoutBell: { onRing(listener: () => void): void } | null;
  /** likewise for the link and frames of the guest */
  framesBell: MessagePort | null;
  /** for the container's worker, to whom `ports` are transferred with it */
  start: Pick<ContainerStart, 'memory' | 'stdoutBell' | 'fromGuestBell' | 'terminalClosed' | 'share'>;
  ports: MessagePort[];
}

export interface ChannelsWish {
  net: boolean;
  /** beside the first one */
  terminals: number;
  share: ContainerShare | null;
  /** the shell of `memory.terminals[index]` is gone */
  onTerminalClosed(index: number): void;
}

export function makeChannels(wish: ChannelsWish): Channels {
  return waitingMode() === 'suspend' ? bridgedChannels() : sharedChannels(wish);
}

function sharedChannels({ net, terminals, share, onTerminalClosed }: ChannelsWish): Channels {
  const memory = makeContainerMemory(net, terminals);
  const closed = new MessageChannel();
  closed.port2.onmessage = ({ data: index }: MessageEvent<number>) => onTerminalClosed(index);
  const bells = wakeMode() === 'message' ? { stdout: new MessageChannel(), frames: new MessageChannel() } : null;
  return {
    memory,
    stdin: new Ring(memory.stdin),
    stdout: new Ring(memory.stdout),
    wake: new Wake(memory.control),
    stdoutBell: bells === null ? null : { onRing: (listener) => { bells.stdout.port2.onmessage = listener; } },
    framesBell: bells?.frames.port2 ?? null,
    start: { memory, stdoutBell: bells?.stdout.port1 ?? null, fromGuestBell: bells?.frames.port1 ?? null, terminalClosed: closed.port1, share },
    ports: [closed.port1, ...bells === null ? [] : [bells.stdout.port1, bells.frames.port1], ...share === null ? [] : [share.bell]],
  };
}

function bridgedChannels(): Channels {
  const memory = makeContainerMemory(false, 1, false);
  const [toContainer, fromContainer, bell] = [new MessageChannel(), new MessageChannel(), new MessageChannel()];
  const stdin = new Ring(memory.stdin);
  stdin.bell = sendRing(memory.stdin, toContainer.port1);
  receiveRing(memory.stdout, fromContainer.port1, () => { bell.port1.postMessage(0); });
  const ports = { stdin: toContainer.port2, stdout: fromContainer.port2 };
  return {
    memory: null,
    stdin,
    stdout: new Ring(memory.stdout),
    wake: new Wake(memory.control),
    stdoutBell: { onRing: (listener) => { bell.port2.onmessage = listener; } },
    framesBell: null,
    start: { memory: ports, stdoutBell: null, fromGuestBell: null, terminalClosed: null, share: null },
    ports: [ports.stdin, ports.stdout],
  };
}
