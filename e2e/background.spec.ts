/* A tab that nobody looks at: its timers are slow, it may be frozen, and the container must not mind. */
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
