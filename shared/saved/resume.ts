/** From the file of a saved container back into the memory of a machine that is about to start. */
import type { ImageInfo } from '../wasi/image-info.ts';
import { PageLoader } from './pages.ts';
import { damaged, SaveError } from './save-error.ts';
import type { SaveHeader, SaveSource } from './save-file.ts';
import { KIND_MEMORY, KIND_SCREEN, SaveReader } from './save-file.ts';

/** bytes of a screen that are taken at most: a page keeps fewer */
const MAX_SCREEN_BYTES = 4 << 20;
const WASM_PAGE = 65_536;

/** Throws SaveError unless a container saved as `header` says goes on with this image. */
export function checkImage(header: SaveHeader, info: ImageInfo): void {
  if (header.image.id === info.id) return;
  const name = header.image.name;
  throw new SaveError('other-image', info.ours && info.name === name
    ? `This container was saved with another version of the image ${name}: its memory does not fit the one that is here now.`
    : `This container was saved with the image ${name}, and ${info.name === '' ? 'this one' : info.name} is another.`);
}

/** Puts a saved machine into `memory`, which is as the image left it. Throws SaveError. Returns what the terminal showed. */
export async function loadSave(source: SaveSource, info: ImageInfo, memory: WebAssembly.Memory): Promise<{ header: SaveHeader; screen: Uint8Array[] }> {
  const reader = await SaveReader.open(source);
  const { header } = reader;
  checkImage(header, info);
  const missing = header.memoryBytes - memory.buffer.byteLength;
  // A machine never gives memory back.
  if (missing < 0) throw damaged('its memory is smaller than the image\'s');
  try {
    if (missing > 0) memory.grow(missing / WASM_PAGE);
  } catch (error) {
    throw new SaveError('out-of-memory', `There is not enough memory for this container: it has ${Math.ceil(header.memoryBytes / (1 << 20))} MiB.`, error);
  }
  return { header, screen: await readAll(reader, new PageLoader(new Uint8Array(memory.buffer), header.memoryBytes)) };
}

/** Reads all of a file, so that what is kept of it is known to be whole. Throws SaveError. */
export async function checkSave(source: SaveSource): Promise<SaveHeader> {
  const reader = await SaveReader.open(source);
  await readAll(reader, new PageLoader(null, reader.header.memoryBytes));
  return reader.header;
}

async function readAll(reader: SaveReader, loader: PageLoader): Promise<Uint8Array[]> {
  const screen: Uint8Array[] = [];
  let screenBytes = 0;
  for (let chunk = await reader.next(); chunk !== null; chunk = await reader.next()) {
    if (chunk.kind === KIND_MEMORY) {
      loader.take(chunk.bytes);
    } else if (chunk.kind === KIND_SCREEN) {
      screenBytes += chunk.bytes.length;
      if (screenBytes > MAX_SCREEN_BYTES) throw damaged('its screen is too long');
      screen.push(chunk.bytes);
    } else {
      throw damaged('it has a part that nobody knows');
    }
  }
  loader.end();
  return screen;
}
