/*
 * A TCP proxy in front of a Portside server, whose links can be cut as a bad network cuts them: both sockets are reset, without
 * a close frame, in the middle of whatever is under way.
 *
 *   page ── http, /link ──▶ CutProxy ──▶ portside serve
 *
 * Only connections that ask for /link are links; the page, its images and disks pass untouched. Cuts come at counts of bytes
 * and not at times, so that each run is cut at the same places.
 */
import { connect, createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';

export class CutProxy {
  /** links that were cut */
  cuts = 0;
  /** bytes that links have carried to the page, and from it */
  toPage = 0;
  fromPage = 0;

  readonly #server: NetServer;
  readonly #sockets = new Set<Socket>();
  readonly #links = new Set<Socket>();
  /** counts of `toPage` and `fromPage` at which links are cut, the next one first */
  #cutsToPage: number[] = [];
  #cutsFromPage: number[] = [];
  #refusing = false;

  private constructor(serverPort: number) {
    this.#server = createServer((page) => this.#onConnection(page, serverPort));
  }

  static async start(serverPort: number): Promise<CutProxy> {
    const proxy = new CutProxy(serverPort);
    await new Promise<void>((resolve) => proxy.#server.listen(0, 'localhost', resolve));
    return proxy;
  }

  get url(): string { return `http://localhost:${(this.#server.address() as AddressInfo).port}/`; }

  /** Cuts the links each time that so many more bytes, counted from now, have gone to the page, or come from it. */
  cutAfter(toPage: number[], fromPage: number[] = []): void {
    this.#cutsToPage = toPage.map((bytes) => this.toPage + bytes);
    this.#cutsFromPage = fromPage.map((bytes) => this.fromPage + bytes);
  }

  /** Cuts the links that there are. While `refuse`, new ones are cut as well, until `restore`. */
  cut(refuse = false): void {
    this.#refusing = refuse;
    for (const socket of this.#links) {
      this.cuts++;
      socket.resetAndDestroy();
    }
    this.#links.clear();
  }

  restore(): void {
    this.#refusing = false;
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => { this.#server.close(() => resolve()); });
  }

  #onConnection(page: Socket, serverPort: number): void {
    const relay = connect(serverPort, 'localhost');
    for (const [socket, other] of [[page, relay], [relay, page]]) {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.#links.delete(socket);
        other.resetAndDestroy();
      });
    }
    page.on('data', (bytes) => {
      if (!this.#links.has(page) && bytes.subarray(0, 10).toString('latin1') === 'GET /link ') {
        if (this.#refusing) return void page.resetAndDestroy();
        this.#links.add(page);
      }
      if (this.#links.has(page)) this.fromPage = this.#count(this.fromPage + bytes.length, this.#cutsFromPage);
      forward(bytes, page, relay);
    });
    relay.on('data', (bytes) => {
      if (this.#links.has(page)) this.toPage = this.#count(this.toPage + bytes.length, this.#cutsToPage);
      forward(bytes, relay, page);
    });
  }

  #count(bytes: number, cuts: number[]): number {
    if (cuts.length > 0 && bytes >= cuts[0]) {
      cuts.shift();
      this.cut();
    }
    return bytes;
  }
}

function forward(bytes: Buffer, from: Socket, to: Socket): void {
  if (to.destroyed || to.write(bytes)) return;
  from.pause();
  to.once('drain', () => from.resume());
}
