/** What an image can say to its host: WASI calls, files, 9P, its terminal; and the files of images and saved containers. */
import { MOUNTS_TARGET } from './mounts-target.ts';
import { P9_TARGET } from './p9-target.ts';
import { SAVED_TARGETS } from './saved-targets.ts';
import { SHARE_TARGET } from './share-target.ts';
import type { FuzzTarget } from './target.ts';
import { TERMINAL_TARGET } from './terminal-target.ts';
import { WASI_TARGET } from './wasi-target.ts';

export const IO_TARGETS: readonly FuzzTarget[] = [WASI_TARGET, SHARE_TARGET, MOUNTS_TARGET, P9_TARGET, TERMINAL_TARGET, ...SAVED_TARGETS];
