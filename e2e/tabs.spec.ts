/* Several terminals in one container: tabs, their shells, their ends. */
import type { Page } from '@playwright/test';
import { expect, test } from '../playwright/fixture.ts';

test.use({ image: 'busybox', net: 'none' });
test.setTimeout(120_000);

interface Scripting {
  terminals: { list(): number[]; open(): number | null; close(number: number): void; write(number: number, text: string): boolean; screen(number: number): string };
  save(name?: string): Promise<{ name: string }>;
}

const list = (page: Page): Promise<number[]> => page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.terminals.list());
const write = (page: Page, number: number, text: string): Promise<boolean> =>
  page.evaluate(([to, what]) => (globalThis as unknown as { portside: Scripting }).portside.terminals.write(to as number, what as string), [number, text] as const);
const shows = (page: Page, number: number, text: RegExp): Promise<void> =>
  expect.poll(() => page.evaluate((of) => (globalThis as unknown as { portside: Scripting }).portside.terminals.screen(of), number), { timeout: 60_000 }).toMatch(text);

test('a second shell by the bar, with keys, size and screen of its own; it goes with its exit', async ({ page, container }) => {
  await container.waitForText(/:~# $|:~#$/);
  await expect(page.getByRole('tablist')).toBeHidden();
  await page.getByRole('button', { name: 'Terminal', exact: true }).click();
  await expect(page.getByRole('tab', { name: 'Terminal 2' })).toHaveAttribute('aria-selected', 'true');
  await shows(page, 2, /:~#/);
  await page.keyboard.type('tty; echo from-two >/tmp/two; stty size\n');
  await shows(page, 2, /\/dev\/hvc2\n\d+ \d+\n/);
  await page.keyboard.press('Control+Shift+ArrowRight');
  await expect(page.getByRole('tab', { name: 'Terminal 1' })).toHaveAttribute('aria-selected', 'true');
  await page.keyboard.type('cat /tmp/two\n');
  await container.waitForText(/^from-two$/m);
  await page.getByRole('tab', { name: 'Terminal 2' }).click();
  await page.keyboard.type('exit\n');
  await expect.poll(() => list(page), { timeout: 60_000 }).toEqual([1]);
  await expect(page.getByRole('tablist')).toBeHidden();
  await page.keyboard.type('echo back-in-o""ne\n');
  await container.waitForText('back-in-one');
});

test('four by the shortcut, × hangs up, and all end with the main command', async ({ page, container }) => {
  await container.waitForText(/:~#/);
  for (const number of [2, 3, 4]) {
    await page.keyboard.press('Control+Shift+Enter');
    await shows(page, number, /:~#/);
  }
  await expect(page.locator('#terminal-button')).toBeDisabled();
  expect(await list(page)).toEqual([1, 2, 3, 4]);
  await write(page, 3, 'sleep 12345\n');
  await write(page, 2, 'until ps | grep "[s]leep 12345"; do sleep 0.1; done\n');
  await shows(page, 2, /root +sleep 12345/);
  await page.getByTitle('Close terminal 3').click();
  await expect.poll(() => list(page), { timeout: 60_000 }).toEqual([1, 2, 4]);
  await write(page, 2, 'while ps | grep "[s]leep 12345"; do sleep 0.1; done; echo go""ne\n');
  await shows(page, 2, /gone/);
  await write(page, 1, 'exit 4\n');
  await expect(page.getByTestId('container-state')).toHaveText(/Exited \(4\)/);
  expect(await list(page)).toEqual([1]);
});

test('terminals that were open when a container was kept are open when it goes on', async ({ page, container }) => {
  await container.waitForText(/:~#/);
  await page.keyboard.press('Control+Shift+Enter');
  await shows(page, 2, /:~#/);
  await write(page, 2, 'kept=yes\n');
  await page.evaluate(() => (globalThis as unknown as { portside: Scripting }).portside.save('two'));
  const url = new URL(page.url());
  url.searchParams.set('resume', 'two');
  await page.goto(url.href);
  await container.ready();
  await expect.poll(() => list(page)).toEqual([1, 2]);
  await write(page, 2, 'echo kept=$kept\n');
  await shows(page, 2, /^kept=yes$/m);
});

test.describe('debian', () => {
  test.use({ image: 'debian' });
  test('has bash in its tabs, with job control', async ({ page, container }) => {
    await container.waitForText(/[#$]$/);
    await page.keyboard.press('Control+Shift+Enter');
    await shows(page, 2, /root@debian:~#/);
    // Stopped once it is in the foreground, not before.
    await write(page, 2, "bash -c 'echo start\"\"ed; exec sleep 1000'\n");
    await shows(page, 2, /^started$/m);
    await write(page, 2, '\x1a');
    await shows(page, 2, /Stopped +bash -c/);
    await write(page, 2, 'echo $BASH_VERSION | cut -c1-2\n');
    await shows(page, 2, /^5\.$/m);
  });
});
