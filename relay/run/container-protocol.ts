/* What the main thread and the container's thread tell each other; everything else goes through the rings. */
import type { ContainerMemory } from '../../shared/memory/container-memory.ts';
import type { CompilerSettings } from '../../shared/wasi/compiler-fd.ts';
import type { ImageInfo } from '../../shared/wasi/image-info.ts';
import type { HostEnd } from '../../shared/wasi/imports.ts';

/** A directory of this computer for the container. */
export interface SharedDirectory {
  /** here, absolute */
  host: string;
  /** there, absolute */
  guest: string;
  readOnly: boolean;
}

/** workerData */
export interface ContainerData {
  /** path of the image */
  image: string;
}

/** The one message to the thread: it is blocked afterwards. */
export interface StartMessage {
  memory: ContainerMemory;
  args: string[];
  env: string[];
  net: boolean;
  directories: SharedDirectory[];
  /** path of a saved container to go on with */
  resume: string | null;
  /** the command has no terminal */
  pipes: boolean;
  /** of the machine's translator; null: it interprets */
  compiler: CompilerSettings | null;
}

export type ThreadMessage =
  | { type: 'loaded'; info: ImageInfo }
  /** the file cannot be read, or is no container */
  | { type: 'refused'; message: string }
  /** the saved container cannot be resumed */
  | { type: 'not-resumed'; message: string }
  /** the saved container is in memory; what its terminal showed */
  | { type: 'resumed'; screen: Uint8Array[] }
  /** a terminal beside the first was closed; its index in `memory.terminals` */
  | { type: 'terminal-closed'; index: number }
  | { type: 'ended'; end: HostEnd };
