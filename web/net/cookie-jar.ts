/*
 * Cookies of one container's servers (RFC 6265, as far as a login needs it): a service worker can hand none to the browser, so they are
 * kept here, as long as the container runs. Domain and expiry dates do not matter, Path and a Max-Age of 0 do.
 */

const COOKIES_MAX = 100;
const COOKIE_MAX = 4096;

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

export class CookieJar {
  /** by name and path */
  readonly #cookies = new Map<string, Cookie>();

  /** `field` is the value of one Set-Cookie, that came with an answer for `path`. */
  set(field: string, path: string): void {
    if (field.length > COOKIE_MAX) return;
    const [pair, ...attributes] = field.split(';');
    const equals = pair.indexOf('=');
    const name = pair.slice(0, equals).trim();
    if (equals < 1 || name === '') return;
    let folder = path.split('?', 1)[0].replace(/\/[^/]*$/, '') || '/';
    let isGone = false;
    for (const attribute of attributes) {
      const [key, value = ''] = attribute.split('=', 2).map((word) => word.trim());
      if (/^path$/i.test(key) && value.startsWith('/')) folder = value;
      if (/^max-age$/i.test(key) && /^(0|-\d+)$/.test(value)) isGone = true;
      if (/^expires$/i.test(key) && Date.parse(value) < 1e12) isGone = true;
    }
    const key = `${name} ${folder}`;
    this.#cookies.delete(key);
    if (isGone) return;
    if (this.#cookies.size >= COOKIES_MAX) this.#cookies.delete(this.#cookies.keys().next().value!);
    this.#cookies.set(key, { name, value: pair.slice(equals + 1).trim(), path: folder });
  }

  /** The value of Cookie for a request, or null. */
  get(path: string): string | null {
    const bare = path.split('?', 1)[0];
    const fitting = [...this.#cookies.values()].filter(({ path: folder }) => bare === folder || bare.startsWith(folder.endsWith('/') ? folder : `${folder}/`));
    return fitting.length === 0 ? null : fitting.map(({ name, value }) => `${name}=${value}`).join('; ');
  }
}
