/*
 * The configuration of a container image (OCI image-spec, "Image Configuration"; Docker's is the same), and users in its root.
 * All of it is from outside: each field is checked for its type and for what a shell or a file system could not hold.
 */
import { quotedName } from '../file-name.ts';
import { ImageBuildError } from '../image-error.ts';
import type { Identity } from '../enter.ts';
import type { Tree } from '../tree.ts';

export interface ImageConfig {
  os: string;
  architecture: string;
  entrypoint: string[];
  cmd: string[];
  env: Array<[name: string, value: string]>;
  user: string;
  workdir: string;
  /** as in the configuration: `80/tcp` */
  ports: string[];
  volumes: string[];
  labels: Record<string, string>;
  /** digests of the uncompressed layers; null where there are none to compare with */
  diffIds: string[] | null;
}

/** What a root without a configuration gets. */
export const PLAIN_CONFIG: ImageConfig = {
  os: 'linux', architecture: 'riscv64', entrypoint: [], cmd: ['/bin/sh'], env: [], user: '', workdir: '/', ports: [], volumes: [], labels: {}, diffIds: null,
};

/** Limits on lists and texts of a configuration */
const MAX_ITEMS = 4096;
const MAX_TEXT = 128 * 1024;
/** Linux takes 65536; nobody is in more groups than this */
const MAX_GROUPS = 1024;
const MAX_ID = 0xfffffffe;

/** The agent's own variables, and those that change what its shell does. */
const AGENTS_OWN = /^(ps_.*|PS_.*|image_.*|IFS|OPTIND|LINENO|PPID)$/;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export type JsonObject = Record<string, unknown>;

/** `bytes` as a JSON object; `what` names it in the error. */
export function parseObject(bytes: Uint8Array, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new ImageBuildError(`${what} is not JSON`);
  }
  return asObject(value, what);
}

export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ImageBuildError(`${what} is not an object`);
  return value as JsonObject;
}

export function asArray(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value) || value.length > MAX_ITEMS) throw new ImageBuildError(`${what} is not a list of at most ${MAX_ITEMS}`);
  return value;
}

export function asText(value: unknown, what: string): string {
  if (typeof value !== 'string' || value.length > MAX_TEXT || value.includes('\0')) throw new ImageBuildError(`${what} is not a text`);
  return value;
}

export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const root = parseObject(bytes, 'the image\'s configuration');
  const inner = root.config === undefined || root.config === null ? {} : asObject(root.config, 'config');
  const texts = (value: unknown, what: string): string[] => (value === undefined || value === null ? [] : asArray(value, what).map((item) => asText(item, what)));
  const text = (value: unknown, what: string): string => (value === undefined || value === null ? '' : asText(value, what));
  const keys = (value: unknown, what: string): string[] => (value === undefined || value === null ? [] : texts(Object.keys(asObject(value, what)), what));
  const labels = inner.Labels === undefined || inner.Labels === null ? {} : asObject(inner.Labels, 'Labels');
  const workdir = text(inner.WorkingDir, 'WorkingDir');
  const rootfs = root.rootfs === undefined || root.rootfs === null ? null : asObject(root.rootfs, 'rootfs');
  return {
    os: text(root.os, 'os'),
    architecture: text(root.architecture, 'architecture'),
    entrypoint: texts(inner.Entrypoint, 'Entrypoint'),
    cmd: texts(inner.Cmd, 'Cmd'),
    env: texts(inner.Env, 'Env').map((line) => {
      const equals = line.indexOf('=');
      return equals < 0 ? [line, ''] : [line.slice(0, equals), line.slice(equals + 1)];
    }),
    user: text(inner.User, 'User'),
    workdir: workdir.startsWith('/') ? workdir : `/${workdir}`,
    ports: keys(inner.ExposedPorts, 'ExposedPorts'),
    volumes: keys(inner.Volumes, 'Volumes'),
    labels: Object.fromEntries(Object.entries(labels).slice(0, MAX_ITEMS).map(([name, value]) => [name, asText(value, 'a label')])),
    diffIds: rootfs === null || rootfs.diff_ids === undefined ? null : texts(rootfs.diff_ids, 'diff_ids'),
  };
}

/** The variables that a shell can hand on, later ones first come; those that it can't are named in `left`. */
export function usableEnv(env: ImageConfig['env']): { env: Record<string, string>; left: string[] } {
  const usable = new Map<string, string>();
  const left: string[] = [];
  for (const [name, value] of env) {
    if (NAME.test(name) && !AGENTS_OWN.test(name)) usable.set(name, value);
    else left.push(name);
  }
  return { env: Object.fromEntries(usable), left };
}

/** USER[:GROUP], names or numbers, against the root's own /etc/passwd and /etc/group. `home` is null for a number without an entry. */
export function findIdentity(tree: Tree, spec: string): Identity & { home: string | null } {
  const users = table(tree, 'etc/passwd');
  const groups = table(tree, 'etc/group');
  const colon = spec.indexOf(':');
  const userPart = (colon < 0 ? spec : spec.slice(0, colon)) || '0';
  const groupPart = colon < 0 ? '' : spec.slice(colon + 1);
  const entry = users.find(([name]) => name === userPart) ?? users.find((fields) => fields[2] === userPart);
  const uid = id(entry === undefined ? userPart : entry[2]);
  if (uid === null) throw new ImageBuildError(`the image runs as user ${quotedName(userPart)}, which its /etc/passwd does not have`);
  const primary = (entry === undefined ? null : id(entry[3])) ?? 0;
  const home = entry?.[5] || null;
  if (groupPart !== '') {
    const gid = id(groups.find(([name]) => name === groupPart)?.[2] ?? groupPart);
    if (gid === null) throw new ImageBuildError(`the image runs as group ${quotedName(groupPart)}, which its /etc/group does not have`);
    return { uid, gid, groups: [], home };
  }
  const member = entry === undefined ? [] : groups.filter((fields) => (fields[3] ?? '').split(',').includes(entry[0])).map((fields) => id(fields[2]));
  return { uid, gid: primary, groups: [...new Set(member.filter((gid) => gid !== null))].slice(0, MAX_GROUPS), home };
}

/** The number of a user or group in the root's own tables, null where it is not there. */
export function idIn(tree: Tree, kind: 'user' | 'group', name: string): number | null {
  return id(table(tree, kind === 'user' ? 'etc/passwd' : 'etc/group').find(([known]) => known === name)?.[2]);
}

function table(tree: Tree, path: string): string[][] {
  return (tree.readText(path) ?? '').split('\n').map((line) => line.split(':')).filter((fields) => fields.length >= 3);
}

function id(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,10}$/.test(text) && Number(text) <= MAX_ID ? Number(text) : null;
}
