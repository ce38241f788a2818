/*
 * What an image says of itself: its custom section `portside`, JSON in UTF-8 (ARCHITECTURE.md, "An image").
 *
 * An image without the section is one of container2wasm's. A section that cannot be read is treated as absent: it came
 * with a file that anybody may have made.
 */

export const IMAGE_SECTION = 'portside';
/** longest section that is looked at, in bytes */
export const MAX_SECTION_BYTES = 64 << 10;

/** Takes `resize`, `ports`, `pipes` and `disk` only from a section of ours. */
export interface ImageInfo {
  /** made by Portside; else by container2wasm */
  ours: boolean;
  /** which snapshot this is, SHA-256 in hex; null: it cannot be saved */
  id: string | null;
  name: string;
  title: string;
  /** value of `--net=` that this image understands */
  net: 'qemu' | 'socket';
  /** takes window sizes in-band on stdin */
  resize: boolean;
  /** tells which ports it listens on, when asked in-band */
  ports: boolean;
  /** can do without a terminal (`--no-tty`), and takes signals for its command */
  pipes: boolean;
  /** how many terminals it has, the first included */
  terminals: number;
  memoryMiB: number | null;
  /** file beside the wasm that the host offers as `/portside/FILE` */
  disk: { file: string; bytes: number } | null;
}

/** What is assumed of an image that says nothing: c2w's present form. */
export const FOREIGN_IMAGE: ImageInfo = {
  ours: false, id: null, name: '', title: '', net: 'socket', resize: false, ports: false, pipes: false, terminals: 1, memoryMiB: null, disk: null,
};

/** The terminal of an image that does not take window sizes: it has this one, whatever it is shown in. */
export const FIXED_TERMINAL = { cols: 80, rows: 25 } as const;

/** a plain file name: no separator, no leading dot, so that it cannot leave the image's directory */
const FILE_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
/** a host has devices for no more */
const MAX_TERMINALS = 4;
const MAX_NAME_CHARS = 128;
const ID_PATTERN = /^[0-9a-f]{64}$/;

/** Reads the section's bytes; FOREIGN_IMAGE when they are not what the contract says. */
export function parseImageInfo(section: Uint8Array): ImageInfo {
  if (section.length > MAX_SECTION_BYTES) return FOREIGN_IMAGE;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(section));
  } catch {
    return FOREIGN_IMAGE;
  }
  if (typeof value !== 'object' || value === null) return FOREIGN_IMAGE;
  const { version, id, name, title, net, resize, ports, pipes, terminals, memoryMiB, disk } = value as Record<string, unknown>;
  if (version !== 1) return FOREIGN_IMAGE;
  return {
    ours: true,
    id: typeof id === 'string' && ID_PATTERN.test(id) ? id : null,
    name: text(name),
    title: text(title),
    net: net === 'socket' ? 'socket' : 'qemu',
    resize: resize === true,
    ports: ports === true,
    pipes: pipes === true,
    terminals: typeof terminals === 'number' && Number.isInteger(terminals) && terminals >= 1 ? Math.min(terminals, MAX_TERMINALS) : 1,
    memoryMiB: typeof memoryMiB === 'number' && memoryMiB > 0 ? memoryMiB : null,
    disk: parseDisk(disk),
  };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_NAME_CHARS) : '';
}

function parseDisk(value: unknown): ImageInfo['disk'] {
  if (typeof value !== 'object' || value === null) return null;
  const { file, bytes } = value as Record<string, unknown>;
  if (typeof file !== 'string' || !FILE_PATTERN.test(file)) return null;
  if (typeof bytes !== 'number' || !Number.isSafeInteger(bytes) || bytes < 0) return null;
  return { file, bytes };
}
