/* A tab that nobody looks at: its timers are slow, it may be frozen, and the container must not mind. */
import type { Page } from '@playwright/test';
import { expect, test } from '../playwright/fixture.ts';

declare const setHidden: (hidden: boolean) => void;

test.use({ image: 'busybox', net: 'relay' });

test('a guest that prints goes on in a hidden tab, whose timers come every 20 seconds, and nothing is missing afterwards', async ({ page, portside }) => {
  // What browsers do to the timers of a hidden tab after some minutes, only sooner.
  await page.addInitScript(() => {
    const { setTimeout: real } = globalThis;
    let hidden = false;
    Object.defineProperty(document, 'hidden', { get: () => hidden });
    Object.assign(globalThis, {
      setTimeout: (fn: () => void, ms?: number) => real(fn, hidden ? Math.max(ms ?? 0, 20_000) : ms),
      setHidden: (now: boolean) => {
        hidden = now;
        document.dispatchEvent(new Event('visibilitychange'));
      },
    });
  });
  await page.goto(`${portside.url}?image=busybox&net=none&cmd=${encodeURIComponent('sh -c "echo ready; read x; seq 1 100000; exit 3"')}`);
  const state = (): Promise<string> => page.evaluate(() => (globalThis as unknown as { portside: { state: string } }).portside.state);
  await expect.poll(() => page.evaluate(() => (globalThis as unknown as { portside: { screen(): string } }).portside.screen())).toContain('ready');
  await page.evaluate(() => setHidden(true));
  await page.evaluate(() => (globalThis as unknown as { portside: { write(text: string): void } }).portside.write('\n'));
  // 590 kB are nine chunks at least: at one for each timer that would be 180 s.
  await expect.poll(state, { timeout: 90_000 }).toBe('exited');
  await page.evaluate(() => setHidden(false));
  await expect.poll(() => page.evaluate(() => (globalThis as unknown as { portside: { screen(): string } }).portside.screen().slice(-300)), { timeout: 60_000 }).toMatch(/^99999\n100000$/m);
});

test('a page that was frozen goes on where it was: the shell, its network, what it printed meanwhile', async ({ page, container }) => {
  await expect.poll(async () => (await container.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  const cdp = await page.context().newCDPSession(page);
  await container.write('i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo do""ne\n');
  await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  await cdp.send('Page.setWebLifecycleState', { state: 'active' });
  await container.waitFor(/^line 2000\ndone$/m, 60_000);
  await expect(page.getByTestId('net-state')).toHaveAttribute('data-state', 'up');
  expect((await container.run('nslookup gateway.containers.internal | grep -c 192.168.127.1')).output).toMatch(/^[1-9]/);
});

interface Sample {
  /** this computer's clock minus the guest's, in `ms` */
  offset: number;
  /** how far off that may be: half of the time between question and answer, in `ms` */
  error: number;
}

/** Asks the guest for its time again and again; the answer that came soonest tells most, as with NTP. */
async function clockOffset(page: Page): Promise<Sample> {
  return await page.evaluate(async () => {
    const { portside } = globalThis as unknown as { portside: { screen(): string; write(text: string): void } };
    let best = { offset: 0, error: Infinity };
    for (let i = 0; i < 40; i++) {
      const mark = `${Date.now()}-${i}`, sent = Date.now();
      portside.write(`echo "${mark}=$EPOCHREALTIME"\n`);
      let found: RegExpExecArray | null = null;
      while (found === null) {
        await new Promise((resolve) => { setTimeout(resolve, 1); });
        found = new RegExp(`${mark}=(\\d+\\.\\d+)`).exec(portside.screen());
      }
      const error = (Date.now() - sent) / 2;
      if (error < best.error) best = { offset: sent + error - Number(found[1]) * 1000, error };
    }
    return best;
  });
}

test('the guest\'s clock is right after the page was frozen, and after its whole process had stood still', async ({ browser, page, container }) => {
  const renderers = async (): Promise<number[]> => {
    const { processInfo } = await (await browser.newBrowserCDPSession()).send('SystemInfo.getProcessInfo');
    return processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => id);
  };
  const pass = async (ms: number): Promise<void> => {
    const from = Date.now();
    await expect.poll(() => Date.now() - from, { timeout: 60_000 }).toBeGreaterThan(ms);
  };
  const before = await clockOffset(page);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  await pass(3000);
  await cdp.send('Page.setWebLifecycleState', { state: 'active' });
  const frozen = await clockOffset(page);
  expect(Math.abs(frozen.offset - before.offset)).toBeLessThan(20 + frozen.error + before.error);
  const pids = await renderers();
  expect(pids.length).toBeGreaterThan(0);
  try {
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    await pass(5000);
  } finally {
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  }
  const stopped = await clockOffset(page);
  expect(Math.abs(stopped.offset - before.offset)).toBeLessThan(20 + stopped.error + before.error);
  expect((await container.run('sleep 0.2; echo woke')).output).toBe('woke');
});
