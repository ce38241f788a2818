/** The images that the server offers, from `images/manifest.json`. What comes from there is checked, not trusted. */
export interface ListedImage {
  name: string;
  title: string;
  description: string;
  url: string;
  /** uncompressed size of the wasm, in `bytes` */
  bytes: number;
  /** of the wasm, in hex; null when the manifest does not say */
  sha256: string | null;
  /** size of the disk beside it, read as needed, in `bytes`; 0 without one */
  diskBytes: number;
  isDefault: boolean;
  /** the relay made it of an archive, and removes it under this id; null for others */
  converted: string | null;
}

/** A list longer than this is cut: the chooser is a menu. */
const IMAGES_MAX = 200;

/** Null when `manifest` is not a manifest of version 1; entries without the fields that we need are left out. */
export function parseManifest(manifest: unknown, manifestUrl: string): ListedImage[] | null {
  if (!isRecord(manifest) || manifest.version !== 1 || !Array.isArray(manifest.images)) return null;
  const images: ListedImage[] = [];
  for (const entry of manifest.images.slice(0, IMAGES_MAX) as unknown[]) {
    if (!isRecord(entry) || typeof entry.name !== 'string' || entry.name === '' || typeof entry.file !== 'string') continue;
    const url = imageUrl(entry.file, manifestUrl);
    if (url === null) continue;
    images.push({
      name: entry.name,
      title: typeof entry.title === 'string' && entry.title !== '' ? entry.title : entry.name,
      description: typeof entry.description === 'string' ? entry.description : '',
      url,
      bytes: byteCount(entry.bytes),
      sha256: typeof entry.sha256 === 'string' && /^[0-9a-f]{64}$/.test(entry.sha256) ? entry.sha256 : null,
      diskBytes: isRecord(entry.disk) ? byteCount(entry.disk.bytes) : 0,
      isDefault: entry.default === true,
      converted: typeof entry.converted === 'string' && /^[0-9a-f]{32}$/.test(entry.converted) ? entry.converted : null,
    });
  }
  return images;
}

/** The one marked so, else the first. */
export function defaultImage(images: ListedImage[]): ListedImage | undefined {
  return images.find((image) => image.isDefault) ?? images[0];
}

/** The list in images/ below `base`; rejects with a sentence for the page. */
export async function fetchImages(base = document.baseURI): Promise<ListedImage[]> {
  const url = new URL('images/manifest.json', base).href;
  let response: Response;
  try {
    response = await fetch(url, { cache: 'no-cache' });
  } catch {
    throw new Error(`The server ${new URL(url).host} does not answer.`);
  }
  // A server that was started without any image has no list, and says so by 404.
  if (response.status === 404) return [];
  if (!response.ok) throw new Error(`${url} answered with HTTP ${response.status}.`);
  const images = parseManifest(await response.json().catch(() => null), url);
  if (images === null) throw new Error(`${url} is not a list of images that this page understands.`);
  return images;
}

function imageUrl(file: string, manifestUrl: string): string | null {
  try {
    const url = new URL(file, manifestUrl);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}

function byteCount(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
