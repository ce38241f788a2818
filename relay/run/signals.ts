/*
 * Signals that this process gets, on their way to the command in the container.
 *
 * SIGHUP, SIGINT and SIGTERM mean an end: the command gets them first, and what is still there after the grace time is killed, as is one
 * that is told so a third time. Others are the command's own affair. Where the command can't be reached (another's
 * image), and in a container that is to be saved or was, those three end it all at once, as they would end a program.
 */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import { Wake } from '../../shared/memory/wake.ts';

/** exit status of a program that a signal ended, less the signal's number */
export const SIGNAL_STATUS = 128;
const SIGKILL = 9;
/** Linux's numbers on riscv64, which has those of x86 */
const ENDING = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
const OTHERS = { SIGQUIT: 3, SIGUSR1: 10, SIGUSR2: 12 } as const;
/** the last of so many that mean an end is not passed on */
const PATIENCE = 3;

export interface SignalOptions {
  memory: ContainerMemory;
  /** the command can be reached */
  reaches: boolean;
  /** between the first signal that means an end, and the end, in `ms`; Infinity: never */
  graceMs: number;
  /** the container is to end with this status */
  onKill(status: number): void;
}

/** Returns what takes the listeners away. */
export function passSignalsOn({ memory, reaches, graceMs, onKill }: SignalOptions): () => void {
  const wake = new Wake(memory.control);
  const listeners = new Map<NodeJS.Signals, () => void>();
  let timer: NodeJS.Timeout | null = null;
  let told = 0;
  const end = (number: number): void => {
    if (!reaches) {
      onKill(SIGNAL_STATUS + number);
      return;
    }
    wake.sendSignal(number);
    told++;
    if (told === PATIENCE || graceMs === 0) onKill(SIGNAL_STATUS + SIGKILL);
    else if (graceMs !== Infinity) timer ??= setTimeout(onKill, graceMs, SIGNAL_STATUS + SIGKILL);
  };
  for (const [name, number] of Object.entries(ENDING)) listeners.set(name as NodeJS.Signals, () => end(number));
  if (reaches) for (const [name, number] of Object.entries(OTHERS)) listeners.set(name as NodeJS.Signals, () => wake.sendSignal(number));
  for (const [name, listener] of listeners) process.on(name, listener);
  return () => {
    if (timer !== null) clearTimeout(timer);
    for (const [name, listener] of listeners) process.off(name, listener);
  };
}
