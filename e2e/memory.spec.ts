/* ?memory= and ?mtu= of the page, as the container sees them. */
import { expect, test } from '@playwright/test';
import { Guest, Server } from './guest.ts';

const server = new Server();
test.beforeAll(() => server.start());
test.afterAll(() => server.stop());

test('a container has the memory and the MTU that the address asks for', async ({ page }) => {
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=busybox&memory=1G&mtu=9000`);
  await guest.waitFor(/[#$] ?$/m);
  const { output } = await guest.run("free -m | awk '/^Mem/ { print $2 }'");
  expect(Number(output)).toBeGreaterThan(990);
  expect(Number(output)).toBeLessThanOrEqual(1024);
  await guest.run('for i in $(seq 600); do ifconfig eth0 | grep -q "inet addr" && break; usleep 100000; done', 120_000);
  expect((await guest.run('cat /sys/class/net/eth0/mtu')).output).toBe('9000');
});

test('a container has the memory that Settings say, from its next start on, unless the address says another', async ({ page }) => {
  const guest = new Guest(page);
  const total = async (): Promise<number> => Number((await guest.run("free -m | awk '/^Mem/ { print $2 }'")).output);
  await guest.open(`${server.url}?image=busybox&net=none`);
  await guest.waitFor(/[#$] ?$/m);
  await page.locator('#settings-button').click();
  await page.getByRole('radio', { name: '512 M' }).check();
  await page.keyboard.press('Escape');
  expect(await total()).toBeLessThanOrEqual(128);
  await page.locator('#restart-button').click();
  await guest.waitFor(/[#$] ?$/m);
  await expect.poll(total).toBeGreaterThan(480);
  await guest.open(`${server.url}?image=busybox&net=none&memory=256`);
  await guest.waitFor(/[#$] ?$/m);
  expect(await total()).toBeLessThanOrEqual(256);
});

for (const [query, words] of [['memory=9G', /\?memory=9G[^]*128 to 2048/], ['net=none&mtu=9000', /\?mtu=9000[^]*relay/]] as const) {
  test(`?${query} is refused in words`, async ({ page }) => {
    await page.goto(`${server.url}?image=busybox&${query}`);
    await expect(page.getByText(words).first()).toBeVisible();
  });
}
