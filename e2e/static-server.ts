/* The plainest web server there is: files below a path, no COOP, no COEP, no ranges, no compression. GitHub Pages is no better. */
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const DIST = fileURLToPath(new URL('../dist', import.meta.url));
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json', '.wasm': 'application/wasm' };

export class StaticServer {
  /** paths that were asked for, in order */
  readonly requests: string[] = [];
  /** sent with every answer */
  headers: Record<string, string> = {};
  /** put into index.html, as docs/hosting.md says */
  meta = '';
  readonly #server: HttpServer;
  readonly #prefix: string;

  private constructor(prefix: string) {
    this.#prefix = prefix;
    this.#server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://x');
      this.requests.push(pathname);
      const name = normalize(pathname.startsWith(prefix) ? pathname.slice(prefix.length) || 'index.html' : 'none');
      const file = name.startsWith('images/') ? join(DIST, name) : join(DIST, 'web', name);
      const size = name.startsWith('..') ? undefined : statSync(file, { throwIfNoEntry: false })?.size;
      if (name === 'index.html' && this.meta !== '') return void response.writeHead(200, { ...this.headers, 'content-type': 'text/html' }).end(readFileSync(file, 'utf8').replace('<head>', `<head>${this.meta}`));
      response.writeHead(size === undefined ? 404 : 200, { ...this.headers, 'content-type': TYPES[extname(file)] ?? 'application/octet-stream', ...(size === undefined ? {} : { 'content-length': size }) });
      if (size === undefined || request.method === 'HEAD') response.end();
      else createReadStream(file).pipe(response);
    });
  }

  /** `prefix` is the path that it serves, with a slash at both ends. */
  static async start(prefix: string): Promise<StaticServer> {
    const server = new StaticServer(prefix);
    await new Promise<void>((resolve) => server.#server.listen(0, 'localhost', resolve));
    return server;
  }

  get origin(): string { return `http://localhost:${(this.#server.address() as AddressInfo).port}`; }
  get url(): string { return `${this.origin}${this.#prefix}`; }

  stop(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => { this.#server.close(() => resolve()); });
  }
}
