import { MTU_MAX, MTU_MIN } from '../../shared/link/tunnel.ts';
import { MEMORY_ADVICE, parseMemory } from '../../shared/wasi/memory-size.ts';
import { isSaveName } from '../saved-container.ts';
import { splitWords } from './words.ts';

/**
 * What the page's own URL asks for.
 *
 *     ?image=NAME        an image of images/manifest.json; without it the manifest's default
 *     ?image=URL         a wasm image elsewhere: https://…, /path or ./path (anything with a slash); its server must allow it (CORS)
 *     ?cmd=LINE          CMD ARG… for the container, split as a shell would split it, with quotes: ?cmd=sh -c 'ls -l /'
 *     ?net=relay         the network of the relay that serves the page (the default where there is one)
 *     ?net=relay=https://HOST:PORT   the relay of another server; it must let this page in (--allow-origin)
 *     ?net=browser       the same network within this page, HTTP by fetch (the default where no relay answers)
 *     ?net=browser=NAME  the same, shared by all tabs of this origin that name it
 *     ?net=none          no network
 *     ?ports=80          shows port 80 of the container beside the terminal, with ?net=browser
 *     ?resume=NAME       the saved container NAME of this browser; without ?image= it says itself which image it needs
 *     ?net=delegate=ws://HOST:PORT   another relay that speaks plain QEMU framing: c2w-net, for instance
 *     ?mtu=BYTES         with net=relay: 576 to 65520; the relay may give less
 *     ?memory=SIZE       memory of the container: 1024, 1G
 *     ?translate=off     all of its code is interpreted
 *
 * Other parameters are nobody's business here and are left alone.
 */
export interface Address {
  /** what `?image=` says: a name of the manifest, an absolute URL, or null for the default */
  image: { name: string } | { url: string } | null;
  argv: string[];
  net: NetChoice;
  /** the port of the container that is shown when somebody listens there */
  port: number | null;
  /** name of the saved container to go on with; absent: none */
  resume?: string;
  /** absent: the image's own */
  memoryMiB?: number;
  /** whether the machine translates, if it can */
  translate: 'on' | 'off';
}

/** `orBrowser`: the address says nothing, and what the server of the page is decides */
export type NetChoice = { kind: 'relay'; origin?: string; orBrowser?: boolean; mtu?: number } | { kind: 'browser'; network?: string } | { kind: 'none' } | { kind: 'delegate'; url: string };

/** A parameter that can't be used, as words for the page. */
export interface AddressProblem {
  parameter: 'image' | 'cmd' | 'net' | 'mtu' | 'memory' | 'translate' | 'ports' | 'resume';
  value: string;
  /** what is wrong, a clause without a full stop */
  problem: string;
  /** what would be right */
  advice: string;
}

/** The longest command line that fits a c2w image beside its environment (1024 bytes for all of it). */
const CMD_BYTES_MAX = 900;

export function parseAddress(href: string): Address | AddressProblem {
  const page = new URL(href);
  const query = page.searchParams;
  const image = parseImage(query.get('image'), page);
  if (image !== null && 'parameter' in image) return image;
  const argv = parseCommand(query.get('cmd'));
  if (!Array.isArray(argv)) return argv;
  const net = parseNet(query.get('net'), page);
  if ('parameter' in net) return net;
  const port = parsePort(query.get('ports'));
  if (typeof port === 'object' && port !== null) return port;
  const mtu = parseMtu(query.get('mtu'), net);
  if (typeof mtu === 'object') return mtu;
  if (mtu > 0 && net.kind === 'relay') net.mtu = mtu;
  const memory = query.get('memory')?.trim() ?? '';
  const memoryMiB = memory === '' ? undefined : parseMemory(memory);
  if (memoryMiB === null) return { parameter: 'memory', value: memory, problem: 'a container can’t have so much', advice: `It is ${MEMORY_ADVICE}.` };
  const translate = query.get('translate') || 'on';
  if (translate !== 'on' && translate !== 'off') return { parameter: 'translate', value: translate, problem: 'it is on or off', advice: 'On is the default.' };
  const resume = query.get('resume') ?? '';
  if (resume !== '' && !isSaveName(resume)) return { parameter: 'resume', value: resume.slice(0, 60), problem: 'no saved container has such a name', advice: 'The panel of the container lists those that this browser keeps.' };
  return { image, argv, net, port, translate, ...(memoryMiB === undefined ? {} : { memoryMiB }), ...(resume === '' ? {} : { resume }) };
}

/** The page's URL that goes on with a saved container. */
export function withResume(href: string, name: string): string {
  const page = new URL(href);
  page.searchParams.set('resume', name);
  // It has the memory that it had.
  for (const unwanted of ['image', 'cmd', 'memory']) page.searchParams.delete(unwanted);
  return page.href;
}

/** Which image a saved container asks for by its `source`. Null when that is no image of this server, or nobody knows: a file must not lead elsewhere. */
export function imageOfSave(source: string, href: string): Address['image'] {
  const page = new URL(href);
  const image = parseImage(source, page);
  if (image === null || 'parameter' in image) return null;
  return 'url' in image && new URL(image.url).origin !== page.origin ? null : image;
}

/** The page's URL with another image; a command belongs to the image it was written for and goes. */
export function withImage(href: string, image: string): string {
  const page = new URL(href);
  page.searchParams.set('image', image);
  page.searchParams.delete('cmd');
  page.searchParams.delete('resume');
  // Slashes and colons need no escape in a query, and a person reads this.
  page.search = page.search.replaceAll('%2F', '/').replaceAll('%3A', ':');
  return page.href;
}

function parseImage(value: string | null, page: URL): Address['image'] | AddressProblem {
  const text = value?.trim() ?? '';
  if (text === '') return null;
  if (!text.includes('/')) return { name: text };
  const advice = 'Use the name of an image, such as ?image=debian, or the URL of a wasm file.';
  const url = parseUrl(text, page);
  if (url === null) return { parameter: 'image', value: text, problem: 'this is not a URL', advice };
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    return { parameter: 'image', value: text, problem: `an image can't be fetched from ${url.protocol}`, advice };
  }
  return { url: url.href };
}

function parseCommand(value: string | null): string[] | AddressProblem {
  const line = value ?? '';
  const advice = "Quote it as for a shell: ?cmd=sh -c 'ls -l /'";
  const words = splitWords(line);
  if ('problem' in words) return { parameter: 'cmd', value: line, problem: words.problem, advice };
  if (new TextEncoder().encode(line).length > CMD_BYTES_MAX) {
    return { parameter: 'cmd', value: `${line.slice(0, 60)}…`, problem: `it is longer than ${CMD_BYTES_MAX} bytes`, advice: 'Type it into the shell instead.' };
  }
  if (line.includes('\0')) return { parameter: 'cmd', value: line.replaceAll('\0', '␀'), problem: 'it contains a NUL character', advice };
  return words.argv;
}

function parseNet(value: string | null, page: URL): NetChoice | AddressProblem {
  const text = value?.trim() ?? '';
  if (text === '') return { kind: 'relay', orBrowser: true };
  if (text === 'relay') return { kind: 'relay' };
  if (text === 'browser') return { kind: 'browser' };
  if (text.startsWith('browser=')) return parseNetwork(text);
  if (text === 'none') return { kind: 'none' };
  const advice = 'The networks are relay, relay=https://HOST:PORT, browser, browser=NAME, none, and delegate=ws://HOST:PORT.';
  if (text.startsWith('relay=')) return parseRelay(text, page, advice);
  if (!text.startsWith('delegate=')) return { parameter: 'net', value: text, problem: 'there is no such network', advice };
  const target = text.slice('delegate='.length);
  const url = target === '' ? null : parseUrl(target, page);
  if (url === null || (url.protocol !== 'ws:' && url.protocol !== 'wss:')) {
    return { parameter: 'net', value: text, problem: 'a delegate needs a WebSocket address (ws:// or wss://)', advice };
  }
  // A WebSocket's URL must not have a fragment, and browsers refuse user info.
  if (url.hash !== '' || url.username !== '' || url.password !== '') {
    return { parameter: 'net', value: text, problem: 'a WebSocket address has no user name and no #fragment', advice };
  }
  if (page.protocol === 'https:' && url.protocol === 'ws:' && !isLoopback(url.hostname)) {
    return { parameter: 'net', value: text, problem: 'a page from https:// can only reach wss:// addresses', advice };
  }
  return { kind: 'delegate', url: url.href };
}

function parsePort(value: string | null): number | null | AddressProblem {
  const text = value?.trim() ?? '';
  if (text === '') return null;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : { parameter: 'ports', value: text, problem: 'this is no port', advice: 'Name one: ?ports=80' };
}

function parseNetwork(text: string): NetChoice | AddressProblem {
  const network = text.slice('browser='.length);
  if (/^[\w-]{1,32}$/.test(network)) return { kind: 'browser', network };
  return { parameter: 'net', value: text, problem: 'a shared network has a name of letters, digits, - and _', advice: 'For instance ?net=browser=lab, in each of the tabs.' };
}

/** 0: nothing is asked for. */
function parseMtu(value: string | null, net: NetChoice): number | AddressProblem {
  const text = value?.trim() ?? '';
  if (text === '') return 0;
  const advice = `It is a number of bytes from ${MTU_MIN} to ${MTU_MAX}, and belongs to ?net=relay.`;
  if (net.kind !== 'relay') return { parameter: 'mtu', value: text, problem: 'only a relay can be asked for it', advice };
  const mtu = /^\d{3,5}$/.test(text) ? Number(text) : 0;
  return mtu >= MTU_MIN && mtu <= MTU_MAX ? mtu : { parameter: 'mtu', value: text, problem: 'no network has such an MTU', advice };
}

function parseRelay(text: string, page: URL, advice: string): NetChoice | AddressProblem {
  const url = parseUrl(text.slice('relay='.length), page);
  const bare = url !== null && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (!bare || !/^relay=https?:\/\//i.test(text)) {
    return { parameter: 'net', value: text, problem: 'a relay needs the address of a server (https:// or http://), and nothing behind it', advice };
  }
  if (page.protocol === 'https:' && url.protocol === 'http:' && !isLoopback(url.hostname)) {
    return { parameter: 'net', value: text, problem: 'a page from https:// can only reach https:// addresses', advice };
  }
  return { kind: 'relay', origin: url.origin };
}

function parseUrl(text: string, base: URL): URL | null {
  try {
    return new URL(text, base);
  } catch {
    return null;
  }
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === '127.0.0.1' || hostname === '[::1]';
}
