/*
 * `npm run bench:page`: what a visitor feels, in Chromium. Medians of RUNS runs; the runs of the different questions are
 * interleaved. Prints URL to prompt (cold and warm cache, resumed), what a save takes, key press to echo (written by xterm, and
 * painted), MB/s inside the container at two MTUs, the longest task of the page's thread while the guest prints PRINTED_BYTES, the tab's
 * memory before and after, and the page's weight.
 */
import { chromium, type Browser, type BrowserContext } from '@playwright/test';
import { CHROMIUM_LAUNCH } from '../e2e/chromium.ts';
import { Guest, noise, Server, sha256, startHostHttp } from '../e2e/guest.ts';
import { machineLine, median, quantile, table } from './report.ts';

const RUNS = Number(process.env['RUNS'] ?? 5);
const KEYS = 100;
const FILE_BYTES = Number(process.env['FILE_MB'] ?? 100) * 1e6;
const MTUS = [1500, 65520];
const PRINTED_BYTES = Number(process.env['PRINTED_MB'] ?? 50) * 1e6;
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

/**
 * Milliseconds from a key press (its event's time) until xterm has written the echo, and until the frame that paints it, KEYS of each.
 * xterm asks for that frame in the task in which it parsed, so the request is the moment: nothing polls, which would cost what is measured.
 */
async function keyToEcho(guest: Guest): Promise<{ written: number; painted: number }[]> {
  await guest.run('cd /tmp');
  await guest.page.locator('.xterm-helper-textarea').focus();
  await guest.page.evaluate(() => {
    const bench = globalThis as unknown as { portside: { screen(): string }; echo: Promise<{ written: number; painted: number }>; watchEcho(): void };
    const request = requestAnimationFrame;
    let pressed = 0, length = 0, written = 0;
    let done: ((echo: { written: number; painted: number }) => void) | null = null;
    // No named function in here: tsx would wrap it in a helper that the page lacks.
    globalThis.requestAnimationFrame = (frame) => {
      const now = performance.now();
      if (pressed > 0 && written === 0 && bench.portside.screen().length > length) written = now - pressed;
      return request((time) => {
        frame(time);
        if (written === 0 || done === null) return;
        done({ written, painted: performance.now() - pressed });
        done = null;
      });
    };
    addEventListener('keydown', (event) => { pressed = event.timeStamp; }, { capture: true });
    bench.watchEcho = () => {
      [length, pressed, written] = [bench.portside.screen().length, 0, 0];
      bench.echo = new Promise((resolve) => { done = resolve; });
    };
  });
  const times: { written: number; painted: number }[] = [];
  for (let i = 0; i < KEYS; i++) {
    await guest.page.evaluate(() => (globalThis as unknown as { watchEcho(): void }).watchEcho());
    await guest.page.keyboard.press('x');
    times.push(await guest.page.evaluate(() => (globalThis as unknown as { echo: Promise<{ written: number; painted: number }> }).echo));
  }
  await guest.write('\x15');
  return times;
}

/** The longest task of the page's thread in ms while the guest prints, how long it prints, and the tab's memory in bytes before and after. */
async function printing(guest: Guest): Promise<{ longestMs: number; seconds: number; before: number; after: number }> {
  const memory = (): Promise<number> => guest.page.evaluate(async () => {
    const { measureUserAgentSpecificMemory: measure } = performance as unknown as { measureUserAgentSpecificMemory(): Promise<{ bytes: number }> };
    return (await measure.call(performance)).bytes;
  });
  // A megabyte in lines, in large writes: nothing that a guest does prints faster.
  await guest.run('yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c 999999 >/tmp/lines; echo >>/tmp/lines');
  const before = await memory();
  await guest.page.evaluate(() => {
    const bench = globalThis as unknown as { longestMs: number };
    bench.longestMs = 0;
    new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) bench.longestMs = Math.max(bench.longestMs, duration); }).observe({ type: 'longtask' });
  });
  const started = performance.now();
  await guest.write(`i=0; while [ $i -lt ${PRINTED_BYTES / 1e6} ]; do cat /tmp/lines; i=$((i + 1)); done; echo prin''ted\n`);
  // Looked at seldom, and only the state of the last lines: what is asked of the page is a task of its thread as well.
  await guest.page.waitForFunction(() => document.querySelector('.xterm-rows')?.textContent.includes('printed') === true, undefined, { polling: 500, timeout: 900_000 });
  const seconds = (performance.now() - started) / 1000;
  const longestMs = await guest.page.evaluate(() => (globalThis as unknown as { longestMs: number }).longestMs);
  return { longestMs, seconds, before, after: await memory() };
}

/** What a first visit to the page transfers, without the image, in bytes. */
async function weight(context: BrowserContext, url: string): Promise<number> {
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send('Network.enable');
  let bytes = 0;
  cdp.on('Network.loadingFinished', ({ encodedDataLength }) => { bytes += encodedDataLength; });
  await page.goto(`${url}?image=no-such-image`);
  await page.getByRole('alert').waitFor();
  await page.close();
  return bytes;
}

/** MB/s as the container sees it: curl's own time for a body of FILE_BYTES. */
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
  const keys: { written: number; painted: number }[] = [];
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
          for (const mtu of MTUS) {
            const { guest } = await toPrompt(context, `${url}&mtu=${mtu}`);
            const speed = await transfer(guest, host.port, digest);
            note(`debian: download in the container, MTU ${mtu}, MB/s`, speed.down);
            note(`debian: upload from the container, MTU ${mtu}, MB/s`, speed.up);
            await guest.page.close();
          }
        }
        else {
          await warm.guest.waitFor(PROMPT);
          const printed = await printing(warm.guest);
          note('busybox: longest task of the page while much is printed, ms', printed.longestMs);
          note('busybox: printed, MB/s', PRINTED_BYTES / 1e6 / printed.seconds);
          note('busybox: memory of the tab, idle, MB', printed.before / 1e6);
          note('busybox: memory of the tab, after that, MB', printed.after / 1e6);
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
      const fresh = await browser.newContext();
      note('weight of the page without an image, kB', await weight(fresh, server.url) / 1000);
      await fresh.close();
    }
  } finally {
    await browser.close();
    await host.close();
    await server.stop();
  }
  console.log(machineLine());
  const rows = Object.entries(times).map(([name, values]) => [name, median(values).toFixed(1), Math.min(...values).toFixed(1), Math.max(...values).toFixed(1)]);
  for (const stage of ['written', 'painted'] as const) {
    const ms = keys.map((echo) => echo[stage]);
    rows.push([`key press to echo ${stage}, ms: p50`, quantile(ms, 0.5).toFixed(1), '', ''], [`key press to echo ${stage}, ms: p95`, quantile(ms, 0.95).toFixed(1), '', '']);
  }
  console.log(table([['', 'median', 'least', 'most'], ...rows]));
}

await main();
