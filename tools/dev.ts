/* `npm run dev`: vite's dev server in front, the relay behind it on a port of its own. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createServer } from 'vite';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DEFAULT_PORT = 8080;

/** Starts both and prints the URL. `--port N` (or PORT) is the page's, the relay takes the next one; all else goes to `portside serve`. */
export async function dev(args: string[]): Promise<void> {
  const { values, tokens } = parseArgs({ args, options: { port: { type: 'string' } }, strict: false, tokens: true });
  const port = Number(values.port ?? process.env['PORT'] ?? DEFAULT_PORT);
  if (!(Number.isInteger(port) && port > 0 && port < 65_535)) throw new Error(`--port ${String(values.port ?? process.env['PORT'])} is no port`);
  const ours = tokens.find((token) => token.kind === 'option' && token.name === 'port');
  const relayArgs = ours === undefined ? args : args.toSpliced(ours.index, ours.kind === 'option' && ours.inlineValue === false ? 2 : 1);
  const origin = `http://localhost:${port}`;
  const serveArgs = ['bin/portside.mjs', 'serve', '--port', String(port + 1), '--allow-origin', origin, ...relayArgs];
  const relay = spawn(process.execPath, serveArgs, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  process.env['PORTSIDE_RELAY'] = `http://localhost:${port + 1}`;
  const server = await createServer({ root: `${ROOT}/web`, configFile: `${ROOT}/vite.config.ts`, server: { port, strictPort: true } });
  await server.listen();
  console.log(`Portside (dev) is ready: ${origin}/`);
  const stop = (): void => {
    relay.kill('SIGTERM');
    void server.close().then(() => process.exit(0));
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  relay.once('exit', (code) => {
    console.error(`npm run dev: the relay ended with status ${code}`);
    stop();
  });
}
