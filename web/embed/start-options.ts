/*
 * What a container is started with, and the way from there to what a runner takes.
 *
 * The words of the options are those of the page's address (page/address.ts), so that both are checked by the same code. Who has looked
 * already gives what was found in place of the word: an entry of `listImages`, a NetMode, a saved container.
 */
import type { Progress, ImageFiles, NetMode, NetStatus } from '../protocol.ts';
import type { CompilerSettings } from '../../shared/wasi/compiler-fd.ts';
import type { ListeningPort } from '../../shared/wasi/ports-report.ts';
import { imageOfSave, parseAddress, type Address, type NetChoice } from '../page/address.ts';
import { chooseImage, type ChosenImage } from '../page/choose-image.ts';
import { foreignSaveFailure, imageFailure, noSaveFailure, type ContainerError, type Failure } from '../page/failures.ts';
import { fetchImages, type ListedImage } from '../page/images.ts';
import { settleNet } from '../page/relay-probe.ts';
import { findSave, type SavedContainer } from '../page/saves.ts';
import type { PageState } from '../page/status-words.ts';
import type { TerminalScreen } from './terminal-line.ts';

export type ContainerState = PageState;

export interface StartOptions {
  /** a name of `images/manifest.json`, a URL, an entry of `listImages`, or files of this computer; the manifest's default when absent */
  image?: string | Pick<ListedImage, 'name' | 'title' | 'url' | 'bytes' | 'sha256'> | ChosenImage | ImageFiles | undefined;
  /** the command, as words or as a shell would split it; the image's own when absent */
  cmd?: string | string[] | undefined;
  /** `relay` (of the server that `base` is on), `relay=https://HOST`, `browser`, `browser=NAME`, `none`, `delegate=ws://HOST`, or the same as an object; default: `relay` where one answers, else `browser` */
  net?: string | NetMode | NetChoice | undefined;
  /** of a relay's network, a wish, in `bytes`: 576 to 65520 */
  mtu?: number | undefined;
  /** of the container: 512 (MiB), `1G`; the image's own when absent */
  memory?: string | number | undefined;
  /** likewise where `memory` is absent, in `MiB`; ignored by images that can't have so much, and with `resume` */
  wishedMemoryMiB?: number | null | undefined;
  /** `off`: the machine interprets all of the container's code; an object: how it translates, for tests */
  translate?: 'on' | 'off' | CompilerSettings | undefined;
  /** a saved container to go on with, by its name or as `listSaves` gives it. It says itself which image it needs, if that is of this server */
  resume?: string | SavedContainer | undefined;
  /** Has the folder of `sharedFolder` at /mnt/share: images of `portside convert` and ours, isolated pages, one container at a time. */
  share?: boolean | undefined;
  /** folder of the built page, where images/ is; the folder of this module when absent */
  base?: string | URL | undefined;
  /** shows the first terminal, from the beginning */
  terminal?: TerminalScreen | undefined;
  /** of a terminal that nobody shows, in characters; default 80 by 24 */
  size?: { cols: number; rows: number } | undefined;
  /** `exitCode` with `exited`; `error` with `failed`, and with `stopped` when there was no output yet */
  onState?(state: ContainerState, detail: { exitCode?: number; error?: ContainerError }): void;
  /** Which image it is, before it is loaded. */
  onImage?(image: ChosenImage): void;
  /** How far loading is. */
  onProgress?(progress: Progress): void;
  onNet?(status: NetStatus): void;
  /** What listens in the container, at each change; an image that does not tell is silent. Without this nobody asks. */
  onPorts?(ports: ListeningPort[]): void;
  /** A saved container goes on, and has shells on these further terminals: open those that are to be seen. */
  onTerminals?(numbers: number[]): void;
  /** Output of the first terminal where no `terminal` shows it, a copy that may be kept. The next comes after `done`: without it the container waits. */
  onOutput?(bytes: Uint8Array, done: () => void): void;
}

export interface StartPlan {
  image: ChosenImage;
  argv: string[];
  net: NetMode;
  memoryMiB: number | undefined;
  compiler: CompilerSettings | null;
  resume: SavedContainer | null;
}

/** Finds image, network and saved container. Never rejects. */
export async function planStart(options: StartOptions): Promise<StartPlan | { failure: Failure }> {
  const base = baseUrl(options.base);
  const address = parseAddress(asAddress(options, base));
  if ('parameter' in address) {
    return { failure: imageFailure({ code: 'arguments', message: `${address.parameter}: ${address.problem}. ${address.advice}` }, '') };
  }
  // Asked while the image is looked for.
  const net = settleNet(typeof options.net === 'object' ? options.net : address.net, base.origin);
  const resume = typeof options.resume === 'object' ? options.resume : address.resume === undefined ? null : await findSave(address.resume);
  if (resume === null && address.resume !== undefined) return { failure: noSaveFailure(address.resume) };
  const image = await findImage(options.image, address.image, resume, base.href);
  if ('failure' in image) return image;
  const mode = await net;
  return {
    image,
    argv: Array.isArray(options.cmd) ? options.cmd : address.argv,
    net: mode.kind === 'relay' ? { ...mode, origin: mode.origin ?? base.origin } : mode,
    memoryMiB: address.memoryMiB,
    compiler: typeof options.translate === 'object' ? options.translate : address.translate === 'off' ? null : {},
    resume,
  };
}

async function findImage(image: StartOptions['image'], named: Address['image'], resume: SavedContainer | null, base: string): Promise<ChosenImage | { failure: Failure }> {
  if (typeof image === 'object') {
    if ('wasm' in image) return { url: `file:///${encodeURIComponent(image.wasm.name)}`, bytes: image.wasm.size, sha256: null, title: image.wasm.name, source: '', files: image };
    return 'source' in image ? image : { ...image, source: image.name };
  }
  const wanted = named ?? (resume === null ? null : imageOfSave(resume.header.source, base));
  if (resume !== null && wanted === null) return { failure: foreignSaveFailure(resume.name, resume.header.source) };
  return chooseImage(wanted, () => fetchImages(base));
}

/** The options that are words, as the page's address has them. */
function asAddress({ image, cmd, net, mtu, memory, translate, resume }: StartOptions, base: URL): string {
  const address = new URL(base);
  address.search = '';
  for (const [name, value] of Object.entries({ image, cmd, net, mtu, memory, translate, resume })) {
    if (typeof value === 'string' || typeof value === 'number') address.searchParams.set(name, String(value));
  }
  return address.href;
}

/** Where the build lies that this module is part of, unless another folder is named: vite puts what is shared below assets/. */
export function baseUrl(base: string | URL = import.meta.env.DEV ? '/' : import.meta.url.replace(/(assets\/)?[^/]*$/, '')): URL {
  return new URL(base, document.baseURI);
}
