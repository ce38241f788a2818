/* `npm run dev`: vite's dev server in front, the relay behind it on a port of its own. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const DEV_PORT = 8080;
const RELAY_PORT = 8081;

/** Starts both and prints the URL; `relayArgs` go to `portside serve`. Ends with the relay, and takes it along. */
export async function dev(relayArgs: string[]): Promise<void> {
  const origin = `http://localhost:${DEV_PORT}`;
  const args = ['bin/portside.mjs', 'serve', '--port', String(RELAY_PORT), '--allow-origin', origin, ...relayArgs];
  const relay = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  process.env['PORTSIDE_RELAY'] = `http://localhost:${RELAY_PORT}`;
  const server = await createServer({ root: `${ROOT}/web`, configFile: `${ROOT}/vite.config.ts`, server: { port: DEV_PORT, strictPort: true } });
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
