/*
 * Absolute links and forms of a container's page, led back into its folder: where the page of ours is not at the root of its origin, what
 * leaves our folder by a navigation never comes to the service worker.
 *
 *   <a href="/x">  ─▶  <a href="/demo/portside-port/SESSION/80/x">
 *
 * Only the tags that navigate are touched, byte by byte as characters, so every encoding that contains ASCII survives. A tag that is cut
 * by the end of a chunk waits for its rest, TAG_MAX at most: what is longer passes as it is.
 */

const TAG_MAX = 16_384;
const TAGS = /<(?:a|area|form)\b[^>]*>/gi;
const TARGETS = /(\s(?:href|action)\s*=\s*["']?)\/(?!\/)/gi;

export class Rooted {
  readonly #folder: string;
  #rest = '';

  /** `folder` is the path that stands for the container's root, with a slash at both ends. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  push(text: string): string {
    const all = this.#rest + text;
    // A tag that has begun and not ended.
    const open = all.lastIndexOf('<');
    const end = open >= 0 && !all.includes('>', open) && all.length - open <= TAG_MAX ? open : all.length;
    this.#rest = all.slice(end);
    return all.slice(0, end).replaceAll(TAGS, (tag) => tag.replaceAll(TARGETS, (_match, before: string) => `${before}${this.#folder}`));
  }

  finish(): string {
    const rest = this.#rest;
    this.#rest = '';
    return rest;
  }
}

/** The same for a body. */
export function rootedStream(folder: string): TransformStream<Uint8Array, Uint8Array> {
  const rooted = new Rooted(folder);
  const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
  return new TransformStream({
    transform: (bytes, controller) => {
      let text = '';
      for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
      const out = rooted.push(text);
      if (out !== '') controller.enqueue(bytesOf(out));
    },
    flush: (controller) => {
      const out = rooted.finish();
      if (out !== '') controller.enqueue(bytesOf(out));
    },
  });
}
