/*
 * A folder of this computer for tests, with what the File System Access API makes of one: a file is written in a copy that takes its place
 * when that is closed, a file that is being written cannot be removed, and what was read of it before is gone when it changes. Its bytes are in
 * memory.
 */

type FakeHandle = FakeFile | FakeDirectory;

class Contents {
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  lastModified = 1_700_000_000_000;
  /** copies that are being written */
  writers = 0;
  isThere = true;
}

class FakeFile {
  readonly kind = 'file';
  readonly name: string;
  readonly contents: Contents;

  constructor(name: string, contents: Contents) {
    this.name = name;
    this.contents = contents;
  }

  async getFile(): Promise<File> {
    if (!this.contents.isThere) throw new DOMException('gone', 'NotFoundError');
    return new File([this.contents.bytes], this.name, { lastModified: this.contents.lastModified });
  }

  async createWritable({ keepExistingData = false } = {}): Promise<FileSystemWritableFileStream> {
    const { contents } = this;
    if (!contents.isThere) throw new DOMException('gone', 'NotFoundError');
    let copy = keepExistingData ? contents.bytes.slice() : new Uint8Array(0);
    contents.writers++;
    const resize = (size: number): void => {
      const other = new Uint8Array(size);
      other.set(copy.subarray(0, size));
      copy = other;
    };
    let at = 0;
    const put = (bytes: Uint8Array): void => {
      if (at + bytes.length > copy.length) resize(at + bytes.length);
      copy.set(bytes, at);
      at += bytes.length;
    };
    const stream = new WritableStream<Uint8Array | { position: number; data: Uint8Array }>({
      write(part) {
        if (part instanceof Uint8Array) {
          put(part);
          return;
        }
        at = part.position;
        put(part.data);
      },
      close() {
        contents.writers--;
        if (!contents.isThere) throw new DOMException('gone', 'NotFoundError');
        contents.bytes = copy;
        contents.lastModified++;
      },
      abort() { contents.writers--; },
    });
    let writer: WritableStreamDefaultWriter<Uint8Array | { position: number; data: Uint8Array }> | null = null;
    const mine = (): NonNullable<typeof writer> => (writer ??= stream.getWriter());
    return Object.assign(stream, {
      write: (part: Uint8Array | { position: number; data: Uint8Array }) => mine().write(part),
      truncate: async (size: number) => { resize(size); },
      close: () => mine().close(),
      abort: (reason?: unknown) => (writer === null ? WritableStream.prototype.abort.call(stream, reason) : writer.abort(reason)),
    }) as unknown as FileSystemWritableFileStream;
  }
}

class FakeDirectory {
  readonly kind = 'directory';
  readonly name: string;
  readonly names = new Map<string, FakeHandle>();

  constructor(name: string) {
    this.name = name;
  }

  async getFileHandle(name: string, { create = false } = {}): Promise<FakeFile> {
    const found = this.#find(name);
    if (found instanceof FakeDirectory) throw new DOMException('a directory', 'TypeMismatchError');
    if (found === undefined && !create) throw new DOMException('nothing', 'NotFoundError');
    const file = found ?? new FakeFile(name, new Contents());
    this.names.set(name, file);
    // As the browser's: each handle is another object.
    return new FakeFile(name, file.contents);
  }

  async getDirectoryHandle(name: string, { create = false } = {}): Promise<FakeDirectory> {
    const found = this.#find(name);
    if (found instanceof FakeFile) throw new DOMException('a file', 'TypeMismatchError');
    if (found === undefined && !create) throw new DOMException('nothing', 'NotFoundError');
    const directory = found ?? new FakeDirectory(name);
    this.names.set(name, directory);
    return directory;
  }

  async removeEntry(name: string): Promise<void> {
    const found = this.#find(name);
    if (found === undefined) throw new DOMException('nothing', 'NotFoundError');
    if (found instanceof FakeDirectory && found.names.size > 0) throw new DOMException('full', 'InvalidModificationError');
    if (found instanceof FakeFile) {
      if (found.contents.writers > 0) throw new DOMException('it is written', 'NoModificationAllowedError');
      found.contents.isThere = false;
    }
    this.names.delete(name);
  }

  async* entries(): AsyncGenerator<[string, FakeHandle]> {
    yield* this.names;
  }

  #find(name: string): FakeHandle | undefined {
    if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) throw new TypeError('no name');
    return this.names.get(name);
  }
}

export class FakeFolder {
  readonly #root: FakeDirectory;

  constructor(name: string) {
    this.#root = new FakeDirectory(name);
  }

  get handle(): FileSystemDirectoryHandle {
    return this.#root as unknown as FileSystemDirectoryHandle;
  }

  /** Contents of its files by their paths, as another program would see them; directories end with a slash. */
  tree(): Record<string, Uint8Array> {
    const found: Record<string, Uint8Array> = {};
    const walk = (directory: FakeDirectory, prefix: string): void => {
      for (const [name, one] of directory.names) {
        if (one instanceof FakeFile) {
          found[prefix + name] = one.contents.bytes;
        } else {
          found[`${prefix}${name}/`] = new Uint8Array(0);
          walk(one, `${prefix}${name}/`);
        }
      }
    };
    walk(this.#root, '');
    return found;
  }

  /** How many copies are still being written. */
  writers(): number {
    let count = 0;
    const walk = (directory: FakeDirectory): void => {
      for (const one of directory.names.values()) {
        if (one instanceof FakeFile) count += one.contents.writers;
        else walk(one);
      }
    };
    walk(this.#root);
    return count;
  }
}
