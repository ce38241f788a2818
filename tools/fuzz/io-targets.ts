/** What an image can say to its host: WASI calls, files, 9P, its terminal; and the files of images and saved containers. */
import type { FuzzTarget } from './target.ts';
import { WASI_TARGET } from './wasi-target.ts';

export const IO_TARGETS: readonly FuzzTarget[] = [WASI_TARGET];
