import type { ImageErrorCode, ImageFailure } from '../protocol.ts';
import type { AddressProblem } from './address.ts';

/** What the page says when there is no container to show: what happened and what to do next, for each kind of failure. */
export interface Failure {
  code: FailureCode;
  title: string;
  /** what happened, full sentences */
  what: string;
  /** what to do next, full sentences */
  next: string;
  /** the machine's own words, a URL, a parameter; empty if there are none */
  detail: string;
  /** trying again may help */
  retry: boolean;
}

export type FailureCode =
  | ImageErrorCode
  /** a parameter of the page's URL can't be used */
  | 'address'
  /** the server has no image of that name */
  | 'unknown-image'
  /** the server's list of images can't be read */
  | 'no-list'
  /** the server has no image at all */
  | 'no-images'
  /** the browser has no WebAssembly, or a policy forbids it */
  | 'no-webassembly'
  /** there is no such saved container */
  | 'no-save'
  /** the user cancelled the start */
  | 'cancelled';

type Words = Pick<Failure, 'title' | 'what' | 'next' | 'retry'>;

const WORDS: Record<ImageErrorCode, Words> = {
  'not-found': {
    title: 'Image not found',
    what: 'The server has no file at this address (HTTP 404).',
    next: 'Check the address for a typing error, or choose another image.',
    retry: true,
  },
  'http': {
    title: 'The server refused the image',
    what: 'The server answered with an error instead of the image.',
    next: 'Try again in a moment. If it stays so, the server’s log says why.',
    retry: true,
  },
  'unreachable': {
    title: 'The image could not be reached',
    what: 'No connection to the server came about, or it does not allow other sites to read the image.',
    next: 'Check that the server is running and that you are online. For an image on another site, that site must send Access-Control-Allow-Origin.',
    retry: true,
  },
  'not-wasm': {
    title: 'Not a WebAssembly file',
    what: 'What the server sent is not WebAssembly; often it is a web page that says why.',
    next: 'Open the address in a tab of its own to see what it is. An image ends in .wasm and is made by “portside convert” or container2wasm.',
    retry: false,
  },
  'not-a-container': {
    title: 'Not a container image',
    what: 'This is WebAssembly, but not a container: it lacks what a WASI program with a machine inside has.',
    next: 'Use an image made by “portside convert” or by container2wasm’s c2w.',
    retry: false,
  },
  'cut-off': {
    title: 'The download was cut off',
    what: 'The connection ended before the whole image had arrived.',
    next: 'Try again. If it stops at the same place, the file on the server is incomplete.',
    retry: true,
  },
  'compile': {
    title: 'The image is incomplete or broken',
    what: 'It starts as WebAssembly should, but the browser cannot compile it: the file is incomplete or damaged, or it needs a newer browser.',
    next: 'Try again; if that does not help, update the browser or build the image anew.',
    retry: true,
  },
  'out-of-memory': {
    title: 'Not enough memory',
    what: 'The browser would not give this tab the memory that the container needs.',
    next: 'Close other tabs and try again, or choose a smaller image.',
    retry: true,
  },
  'trap': {
    title: 'The machine has crashed',
    what: 'The machine inside the image stopped in the middle of an instruction. That is a bug of the machine, or the image is damaged; what you typed is not to blame.',
    next: 'Start it again. If it happens again at the same place, please report it with the text above.',
    retry: true,
  },
  'arguments': {
    title: 'The command does not fit this image',
    what: 'The image cannot take this command line: it is too long, or asks for what there is not.',
    next: 'Change ?cmd= in the address; what is too long can be typed into the shell.',
    retry: false,
  },
  'memory': {
    title: 'This image’s memory is fixed',
    what: 'It was made by container2wasm, with the memory that it has.',
    next: 'Leave ?memory= out of the address.',
    retry: false,
  },
  'no-disk': {
    title: 'The image’s disk is missing',
    what: 'This image keeps its files on a disk, in a second file beside the .wasm.',
    next: 'Choose or drop both files together.',
    retry: false,
  },
  'not-isolated': {
    title: 'This page is not isolated',
    what: 'The browser lends SharedArrayBuffer only to pages that are served with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, from https:// or localhost. This one was not, and our service worker could not make up for it.',
    next: 'Open the page from “npm start” at http://localhost:8080/, or have the web server send these headers.',
    retry: false,
  },
  'other-image': {
    title: 'Saved with another version of the image',
    what: 'A saved container goes on in the very image that it was saved with. The one that is here now is another, so its memory would not fit.',
    next: 'Start a new container, or bring the image back that it was saved with. The saved container stays as it is.',
    retry: false,
  },
  'bad-save': {
    title: 'The saved container cannot be read',
    what: 'Its file is damaged or incomplete, or a later version of Portside wrote it.',
    next: 'Start a new container. If you have the file elsewhere, import it once more.',
    retry: false,
  },
  'internal': {
    title: 'Something went wrong inside Portside',
    what: 'This is a bug of ours.',
    next: 'Reload the page. If it happens again, please report it with the text above.',
    retry: true,
  },
};

/** `imageUrl` is shown where the address of the image is the point. */
export function imageFailure(failure: ImageFailure, imageUrl: string): Failure {
  const words = WORDS[failure.code] ?? WORDS.internal;
  const own = failure.message.trim();
  return { code: failure.code, ...words, detail: own === '' || own.includes(imageUrl) ? own || imageUrl : `${imageUrl}\n${own}` };
}

export function addressFailure(problem: AddressProblem): Failure {
  return {
    code: 'address',
    title: `?${problem.parameter}= can’t be used`,
    what: `The address of this page says ?${problem.parameter}=${problem.value}, but ${problem.problem}.`,
    next: problem.advice,
    detail: '',
    retry: false,
  };
}

export function unknownImageFailure(name: string, known: string[]): Failure {
  return {
    code: 'unknown-image',
    title: `There is no image “${name}”`,
    what: known.length === 0 ? 'This server has no images at all.' : `This server has ${known.slice(0, 12).join(', ')}${known.length > 12 ? ' and more' : ''}.`,
    next: 'Choose one of them, or give the URL of an image.',
    detail: '',
    retry: false,
  };
}

export function noListFailure(message: string): Failure {
  return {
    code: 'no-list',
    title: 'The list of images could not be read',
    what: message,
    next: 'Check that the Portside server is still running (“npm start”), then try again.',
    detail: '',
    retry: true,
  };
}

export function noImagesFailure(): Failure {
  return {
    code: 'no-images',
    title: 'There is no image yet',
    what: 'This server has no images, so there is no container to start.',
    next: 'Let “npm start” build them, or start it with --image FILE|URL; or give the URL of an image here.',
    detail: '',
    retry: true,
  };
}

export function noWebAssemblyFailure(): Failure {
  return {
    code: 'no-webassembly',
    title: 'This browser has no WebAssembly',
    what: 'The container runs as WebAssembly, and here it is missing or switched off (some hardened modes do that).',
    next: 'Use a current Chrome, Edge, Firefox or Safari, or allow WebAssembly for this site.',
    detail: '',
    retry: false,
  };
}

export function noSaveFailure(name: string): Failure {
  return {
    code: 'no-save',
    title: `There is no saved container “${name}”`,
    what: 'The address of this page asks for it, and this browser keeps none of that name.',
    next: 'Start a new container, or import the file of a saved one.',
    detail: '',
    retry: false,
  };
}

/** `source` is where its image was. */
export function foreignSaveFailure(name: string, source: string): Failure {
  return {
    code: 'no-save',
    title: `The image of “${name}” is elsewhere`,
    what: 'A saved container that came as a file may not say from which site an image is fetched.',
    next: 'If you trust that site, add ?image= with the address of the image to the address of this page.',
    detail: source,
    retry: false,
  };
}

export function cancelledFailure(): Failure {
  return { code: 'cancelled', title: 'Start cancelled', what: 'The image was not loaded to its end.', next: 'Start it again, or choose another image.', detail: '', retry: true };
}

/** Why there is no container: `failure` has it in parts, for a card; the message in one line. */
export class ContainerError extends Error {
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failureLine(failure));
    this.name = 'ContainerError';
    this.failure = failure;
  }

  get code(): FailureCode { return this.failure.code; }
}

/** One line for `portside.ready` and `portside.error`. */
export function failureLine(failure: Failure): string {
  return [`${failure.title}: ${failure.what}`, failure.detail.replaceAll('\n', ' '), failure.next].filter((part) => part !== '').join(' ');
}
