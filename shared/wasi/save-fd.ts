/*
 * WASI family: the device `/portside/save`. It is readable when somebody wants to save the container; a machine that can be saved polls it,
 * and reads from it between two slices, when all that it is lies in its memory. The memory is sent within that read.
 */
import { wasi } from '@bjorn3/browser_wasi_shim';
import type { ContainerMemory } from '../memory/container-memory.ts';
import { Wake } from '../memory/wake.ts';
import { SAVE_WANTED, sendMemory } from '../saved/save-ring.ts';
import type { Device } from './files.ts';
import type { GuestMemory } from './guest-memory.ts';
import { HostFd } from './host-fd.ts';

/** The device of a container that runs `module`. */
export function saveDevice(memory: ContainerMemory, module: WebAssembly.Module): Device {
  return { open: () => new SaveFd(memory, module) };
}

class SaveFd extends HostFd {
  readonly filetype = wasi.FILETYPE_CHARACTER_DEVICE;
  readonly #memory: ContainerMemory;
  readonly #module: WebAssembly.Module;
  readonly #wake: Wake;

  constructor(memory: ContainerMemory, module: WebAssembly.Module) {
    super();
    this.#memory = memory;
    this.#module = module;
    this.#wake = new Wake(memory.control);
  }

  override readReady(): number {
    return this.#wake.save === SAVE_WANTED ? 1 : -1;
  }

  override writeReady(): number {
    return -1;
  }

  /** fd_read: sends the memory, and reads one byte. Result: SUCCESS · AGAIN: no save is wanted. */
  override readv(memory: GuestMemory, _iovs: number, _count: number, nread: number): number {
    if (this.#wake.save !== SAVE_WANTED) return wasi.ERRNO_AGAIN;
    sendMemory(this.#memory, memory.bytes.buffer, () => initialMemory(this.#module));
    memory.setU32(nread, 1);
    return wasi.ERRNO_SUCCESS;
  }

  override writev(): number {
    return wasi.ERRNO_BADF;
  }
}

/** Of an instance that is never started. Throws when there is no room for it. */
function initialMemory(module: WebAssembly.Module): ArrayBuffer {
  const imports: Record<string, Record<string, () => number>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) (imports[from] ??= {})[name] = () => 0;
  const { memory } = new WebAssembly.Instance(module, imports).exports as unknown as { memory: WebAssembly.Memory };
  return memory.buffer;
}
