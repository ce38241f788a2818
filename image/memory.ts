/*
 * How much memory a container can be given (machine/board/main.c, "The container's memory"). An image boots with all of it; what lies beyond
 * the least is taken from the guest before the snapshot, and as much as a start asks for is given back.
 */
import { ImageBuildError } from './image-error.ts';

export const MEMORY_MIN_MIB = 128;
export const MEMORY_MAX_MIB = 2048;
/** Linux takes and gives back so much at a time on RV64 */
export const MEMORY_STEP_MIB = 128;
/** what the first bank has on top, for the kernel itself, its map of the memory, and 32 MiB of section table that it never reads */
const RESERVE_MIB = 100;
const WASM_PAGE = 65536;

/** Second bank and the page behind it, in `bytes`: they end a snapshot's memory and are no part of the image. */
export const SPARE_BYTES = (MEMORY_MAX_MIB - MEMORY_MIN_MIB) * 2 ** 20 + WASM_PAGE;

/** Lines of the machine's configuration. What is between two steps is rounded up. */
export function memoryLines(memoryMiB: number): string[] {
  if (memoryMiB < MEMORY_MIN_MIB || memoryMiB > MEMORY_MAX_MIB) throw new ImageBuildError(`an image's memory is ${MEMORY_MIN_MIB} to ${MEMORY_MAX_MIB} MiB, not ${memoryMiB}`);
  return [`memory=${Math.ceil(memoryMiB / MEMORY_STEP_MIB) * MEMORY_STEP_MIB}`, `memory-min=${MEMORY_MIN_MIB}`, `memory-max=${MEMORY_MAX_MIB}`, `reserve=${RESERVE_MIB}`];
}
