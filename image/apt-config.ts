/*
 * Where packages come from: the mirrors that this machine is configured with (sources.list(5): one-line .list files and
 * deb822 .sources files) and its proxies. Portside names no mirror of its own.
 *
 * PORTSIDE_MIRROR=URL goes before everything that is configured: for machines without apt.
 */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseStanzas } from './control-file.ts';

export interface Mirror {
  /** base of `dists/` and `pool/`, ends with a slash */
  base: string;
  /** keyring that signs it, if the configuration names a file */
  keyring: string | null;
  /** security archives hold only what was fixed; they are asked last */
  security: boolean;
}

/** Debian's suites; what else is configured (other vendors' repositories) has none of our packages. */
const DEBIAN_SUITE = /^(sid|unstable|testing|stable|oldstable|oldoldstable|bullseye|bookworm|trixie|forky|duke)([-/].*)?$/;

export function configuredMirrors(etcApt = '/etc/apt', env: NodeJS.ProcessEnv = process.env): Mirror[] {
  const files = [join(etcApt, 'sources.list'), ...list(join(etcApt, 'sources.list.d')).sort().map((name) => join(etcApt, 'sources.list.d', name))];
  const mirrors = files.flatMap((file) => {
    const text = readIfThere(file);
    return file.endsWith('.sources') ? fromDeb822(text) : file.endsWith('.list') ? fromOneLine(text) : [];
  });
  const own = env.PORTSIDE_MIRROR ? [{ base: withSlash(env.PORTSIDE_MIRROR), keyring: null, security: false }] : [];
  const ordered = [...own, ...mirrors.filter(({ security }) => !security), ...mirrors.filter(({ security }) => security)];
  return ordered.filter((mirror, i) => ordered.findIndex(({ base }) => base === mirror.base) === i);
}

function fromDeb822(text: string): Mirror[] {
  return [...parseStanzas(text)].flatMap((stanza) => {
    if (!words(stanza.get('types')).includes('deb') || /^(no|false|0)$/i.test(stanza.get('enabled') ?? 'yes')) return [];
    const keyring = stanza.get('signed-by') ?? '';
    return mirrorsOf(words(stanza.get('uris')), words(stanza.get('suites')), keyring.startsWith('/') ? keyring : null);
  });
}

function fromOneLine(text: string): Mirror[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line);
    return match === null ? [] : mirrorsOf([match[2]], [match[3]], /signed-by=(\/\S+)/.exec(match[1] ?? '')?.[1] ?? null);
  });
}

function mirrorsOf(uris: string[], suites: string[], keyring: string | null): Mirror[] {
  if (!suites.some((suite) => DEBIAN_SUITE.test(suite))) return [];
  const security = suites.every((suite) => /[-/]security|\/updates$/.test(suite));
  return uris.filter((uri) => /^https?:\/\//.test(uri)).map((uri) => ({ base: withSlash(uri), keyring, security }));
}

/** The proxy for `url`: what the environment says, else what apt is configured with; null for none. */
export async function proxyFor(url: URL, env: NodeJS.ProcessEnv = process.env): Promise<URL | null> {
  const scheme = url.protocol.slice(0, -1);
  const exempt = (env.no_proxy ?? env.NO_PROXY ?? '').split(',').map((name) => name.trim().replace(/^\*?\./, '')).filter((name) => name !== '');
  if (exempt.some((name) => name === '*' || url.hostname === name || url.hostname.endsWith(`.${name}`))) return null;
  const named = env[`${scheme}_proxy`] ?? (scheme === 'https' ? env.HTTPS_PROXY : undefined) ?? (await aptProxy(scheme));
  if (!named || named === 'DIRECT') return null;
  return new URL(named.includes('://') ? named : `http://${named}`);
}

const aptProxies = new Map<string, Promise<string>>();

function aptProxy(scheme: string): Promise<string> {
  const known = aptProxies.get(scheme);
  if (known !== undefined) return known;
  const asked = promisify(execFile)('apt-config', ['shell', 'PROXY', `Acquire::${scheme}::Proxy`])
    .then(({ stdout }) => /^PROXY='([^']*)'/.exec(stdout)?.[1] ?? '', () => '');
  aptProxies.set(scheme, asked);
  return asked;
}

function words(value = ''): string[] {
  return value.split(/\s+/).filter((word) => word !== '');
}

function withSlash(uri: string): string {
  return uri.endsWith('/') ? uri : `${uri}/`;
}

function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
