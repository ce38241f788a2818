/*
 * What browsers, workers and Node 20 all have and the `es2023` library leaves out.
 *
 * shared/ is compiled without DOM and without Node types, so that it can use neither by accident. The few globals
 * below exist in every runtime that we serve; each declaration is a subset of the real one, so that code which passes
 * the real object type-checks in web/ and relay/ too. Add here what truly is common to all, and nothing else.
 */

/* oxlint-disable no-var */

interface TextEncoder {
  encode(input?: string): Uint8Array<ArrayBuffer>;
}
declare var TextEncoder: { new (): TextEncoder };

interface TextDecoder {
  decode(input?: ArrayBufferView | ArrayBuffer, options?: { stream?: boolean }): string;
}
declare var TextDecoder: { new (label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean }): TextDecoder };

interface Performance {
  now(): number;
}
declare var performance: Performance;

declare function setTimeout(callback: () => void, ms: number): number;
declare function clearTimeout(id: number | undefined): void;

interface MessagePort {
  onmessage: ((event: never) => unknown) | null;
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
}
declare var MessageChannel: { new (): { readonly port1: MessagePort; readonly port2: MessagePort } };

interface Crypto {
  getRandomValues<T extends ArrayBufferView | null>(array: T): T;
  readonly subtle: { digest(algorithm: 'SHA-256', data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> };
}
declare var crypto: Crypto;

declare function setTimeout(callback: () => void, ms: number): unknown;

/** A stream of bytes through zlib. */
interface ZlibStream {
  readonly readable: { getReader(): { read(): Promise<{ done: boolean; value?: Uint8Array<ArrayBuffer> }>; cancel(): Promise<void> } };
  readonly writable: { getWriter(): { write(bytes: Uint8Array<ArrayBuffer>): Promise<void>; close(): Promise<void> } };
}
declare var CompressionStream: { new (format: 'deflate-raw'): ZlibStream };
declare var DecompressionStream: { new (format: 'deflate-raw'): ZlibStream };

declare namespace WebAssembly {
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
  interface Module {
    readonly [Symbol.toStringTag]: string;
  }
  interface Instance {
    readonly exports: Record<string, unknown>;
  }
  interface Table {
    readonly length: number;
    grow(entries: number): number;
    set(index: number, value: unknown): void;
  }
  var Module: {
    new (bytes: Uint8Array): Module;
    imports(module: Module): { module: string; name: string }[];
    exports(module: Module): { kind: string; name: string }[];
  };
  var Instance: { new (module: Module, imports?: Record<string, Record<string, unknown>>): Instance };
}
