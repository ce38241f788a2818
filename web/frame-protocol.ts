/*
 * What passes between our page and a frame origin: an origin that shows one port of one container, with its scripts.
 *
 *   page ◀─ FrameHello ─ bootstrap;   page ─ FrameStart, with a MessagePort ─▶ bootstrap;   then FromFrame and ToFrame over that port
 *
 * The container's scripts are of the bootstrap's origin and can say all that it can: the page believes none of it, and what it serves over
 * the port is the one port of the container that the frame was made for.
 */

export const FRAME_FILE = 'portside-frame.html';

/** To the page around the bootstrap: once when it has loaded, and once when it is ready or has failed. */
export interface FrameHello {
  readonly type: 'portside-frame';
  readonly isReady: boolean;
  /** why it cannot show anything, a sentence */
  readonly problem: string | null;
}

/** From the page, once, with a MessagePort. */
export interface FrameStart {
  readonly type: 'portside-frame';
  readonly path: string;
}

export type FromFrame =
  /** with a MessagePort, whose other end speaks port-protocol.ts */
  | { readonly type: 'call' }
  /** where links have led */
  | { readonly type: 'at'; readonly path: string };

export interface ToFrame {
  readonly type: 'show';
  readonly path: string;
}
