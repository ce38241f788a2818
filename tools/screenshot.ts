/* `npx tsx tools/screenshot.ts`: takes docs/page.png, README's picture, of the real page with a real container. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';
import { CHROMIUM_LAUNCH } from '../e2e/chromium.ts';
import { Guest, Server } from '../e2e/guest.ts';
import { aptSetupCommand, buildAptRepository } from '../image/apt-repo.ts';

const OUT = process.argv[2] ?? fileURLToPath(new URL('../docs/page.png', import.meta.url));
const [width, height] = (process.argv[3] ?? '1280x800').split('x').map(Number);

const folder = mkdtempSync(join(tmpdir(), 'portside-shot-'));
await buildAptRepository(folder);
const files = new Map(readdirSync(folder).map((name) => [`/${name}`, readFileSync(join(folder, name))]));
const repository = createServer((request, response) => {
  const body = files.get((request.url ?? '/').replace('/./', '/'));
  response.writeHead(body === undefined ? 404 : 200);
  response.end(body);
});
await new Promise<void>((resolve) => repository.listen(8000, '127.0.0.1', resolve));
const server = new Server(['-p', '8123:80']);
await server.start();
const browser = await chromium.launch(CHROMIUM_LAUNCH);
try {
  const guest = new Guest(await browser.newPage({ viewport: { width, height }, colorScheme: 'dark' }));
  await guest.open(server.url);
  await guest.waitFor(/[#$] ?$/m);
  await guest.run(aptSetupCommand(`http://192.168.127.254:${(repository.address() as AddressInfo).port}`));
  await guest.run('apt-get -qq update');
  await guest.write('clear\n');
  await guest.waitFor(/^[^\n]*# ?$/);
  for (const line of ['uname -srm', 'grep PRETTY /etc/os-release', 'apt-get install -y figlet', 'figlet Portside', 'ip -br -c addr']) {
    await guest.write(`${line}\n`);
    await guest.waitFor(new RegExp(`# ${line.replace(/[.]/g, '\\.')}\\n[^]*\\n[^\\n]*# ?$`));
  }
  await guest.page.screenshot({ path: OUT });
} finally {
  await browser.close();
  await server.stop();
  repository.closeAllConnections();
  repository.close();
  rmSync(folder, { recursive: true });
}
