/*
 * `npm run bench:page`: what a visitor feels, in Chromium. Medians of RUNS runs; the runs of the different questions are
 * interleaved. Prints URL to prompt (cold and warm cache, resumed), what a save takes, key press to echo, and MB/s inside the container.
 */
import { chromium, type Browser, type BrowserContext } from '@playwright/test';
import { CHROMIUM_LAUNCH } from '../e2e/chromium.ts';
import { Guest, noise, Server, sha256, startHostHttp } from '../e2e/guest.ts';
import { machineLine, median, quantile, table } from './report.ts';

const RUNS = 5;
const KEYS = 100;
const FILE_BYTES = 20 * 1024 * 1024;
const PROMPT = /[#$] ?$/m;
const IMAGES = ['busybox', 'debian'];

async function toPrompt(context: BrowserContext, url: string): Promise<{ ms: number; guest: Guest }> {
  const page = await context.newPage();
  const guest = new Guest(page);
  await page.goto('about:blank');
  const started = performance.now();
  await page.goto(url, { waitUntil: 'commit' });
  await page.waitForFunction(() => {
    const { portside } = globalThis as unknown as { portside?: { screen(): string } };
    return portside !== undefined && /[#$] ?$/m.test(portside.screen());
  }, undefined, { polling: 5, timeout: 60_000 });
  return { ms: performance.now() - started, guest };
}

/** Milliseconds from a key press to the frame in which the terminal's buffer holds its echo, `KEYS` of them. */
async function keyToEcho(guest: Guest): Promise<number[]> {
  await guest.run('cd /tmp');
  await guest.page.locator('.xterm-helper-textarea').focus();
  const times: number[] = [];
  for (let i = 0; i < KEYS; i++) {
    const before = await guest.page.evaluate(() => {
      const bench = globalThis as unknown as { portside: { screen(): string }; echoMs: Promise<number> };
      const length = bench.portside.screen().length;
      bench.echoMs = new Promise((resolve) => {
        // No named function in here: tsx would wrap it in a helper that the page lacks.
        addEventListener('keydown', async () => {
          const pressed = performance.now();
          while (bench.portside.screen().length <= length) await new Promise(requestAnimationFrame);
          resolve(performance.now() - pressed);
        }, { once: true, capture: true });
      });
      return length;
    });
    if (before < 0) throw new Error('no screen');
    await guest.page.keyboard.press('x');
    times.push(await guest.page.evaluate(() => (globalThis as unknown as { echoMs: Promise<number> }).echoMs));
  }
  await guest.write('\x15');
  return times;
}

/** MB/s as the container sees it: curl's (or wget's) own time for a 20 MB body. */
async function transfer(guest: Guest, port: number, digest: string): Promise<{ down: number; up: number }> {
  const url = `http://192.168.127.254:${port}`;
  const down = await guest.run(`curl -s -o /tmp/f -w '%{speed_download}' ${url}/file`, 300_000);
  const check = await guest.run('sha256sum < /tmp/f', 120_000);
  if (!check.output.startsWith(digest)) throw new Error(`the download is damaged: ${check.output}`);
  const up = await guest.run(`curl -s -o /tmp/answer -w '%{speed_upload}' -T /tmp/f ${url}/up; grep -q ${digest} /tmp/answer || echo damaged`, 300_000);
  if (up.output.includes('damaged')) throw new Error('the upload is damaged');
  return { down: Number(down.output) / 1e6, up: Number(up.output) / 1e6 };
}

async function main(): Promise<void> {
  const server = new Server();
  await server.start();
  const file = noise(FILE_BYTES);
  const digest = sha256(file);
  const host = await startHostHttp(file);
  const browser: Browser = await chromium.launch(CHROMIUM_LAUNCH);
  const times: Record<string, number[]> = {};
  const note = (name: string, value: number): void => { (times[name] ??= []).push(value); };
  const keys: number[] = [];
  try {
    for (let run = 0; run < RUNS; run++) {
      for (const image of IMAGES) {
        const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
        const url = `${server.url}?image=${image}`;
        const cold = await toPrompt(context, url);
        note(`${image}: URL to prompt, cold cache, ms`, cold.ms);
        await cold.guest.page.close();
        const warm = await toPrompt(context, url);
        note(`${image}: URL to prompt, warm cache, ms`, warm.ms);
        if (image === 'debian') {
          await warm.guest.waitFor(PROMPT);
          keys.push(...await keyToEcho(warm.guest));
          const speed = await transfer(warm.guest, host.port, digest);
          note('debian: download in the container, MB/s', speed.down);
          note('debian: upload from the container, MB/s', speed.up);
        }
        const kept = await context.newPage().then(async (page) => {
          await page.goto(url);
          const guest = new Guest(page);
          await guest.ready();
          await guest.waitFor(PROMPT);
          const summary = await page.evaluate(() => (globalThis as unknown as { portside: { save(): Promise<{ bytes: number; changedBytes: number; pausedMs: number }> } }).portside.save());
          await page.close();
          return summary;
        });
        note(`${image}: saved, MiB`, kept.bytes / 2 ** 20);
        note(`${image}: memory that differs from the image's, MiB`, kept.changedBytes / 2 ** 20);
        note(`${image}: stood still for a save, ms`, kept.pausedMs);
        const resumed = await toPrompt(context, `${url}&resume=${image}`);
        note(`${image}: URL to prompt, resumed, ms`, resumed.ms);
        await context.close();
      }
    }
  } finally {
    await browser.close();
    await host.close();
    await server.stop();
  }
  console.log(machineLine());
  const rows = Object.entries(times).map(([name, values]) => [name, median(values).toFixed(1), Math.min(...values).toFixed(1), Math.max(...values).toFixed(1)]);
  rows.push(['key press to echo, ms: p50', quantile(keys, 0.5).toFixed(1), '', ''], ['key press to echo, ms: p95', quantile(keys, 0.95).toFixed(1), '', '']);
  console.log(table([['', 'median', 'least', 'most'], ...rows]));
}

await main();
