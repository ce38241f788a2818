/* The panels of the bar: what they say is true, and what they hand out can be used. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '../playwright/fixture.ts';
import { noise, startHostHttp } from './guest.ts';

const MIB = 1024 * 1024;
const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../package.json', import.meta.url)), 'utf8')) as { version: string };

test.use({ image: 'busybox' });

test('About: versions, image, waiting mode, who isolates the page, what is kept', async ({ page, container }) => {
  await container.waitForText('Enter \'help\'');
  const about = page.getByRole('dialog', { name: 'About' });
  const fact = (name: string): ReturnType<typeof page.locator> => about.locator(`dt:text-is("${name}") + dd`);
  await page.getByRole('button', { name: 'About Portside' }).click();
  await expect(fact('Portside')).toHaveText(version);
  await expect(fact('Relay')).toHaveText(version);
  await expect(fact('Image')).toHaveText('BusyBox, by Portside');
  await expect(fact('Memory')).toHaveText('128 MiB');
  await expect(fact('Threads wake by')).toHaveText('Atomics.waitAsync');
  await expect(fact('Isolated by')).toHaveText('the server’s headers');
  await expect(about.getByText('WebAssembly SIMD: yes')).toBeVisible();
  await page.keyboard.press('Escape');
  // Stored while the container runs; then it can be forgotten.
  await expect.poll(async () => (await page.evaluate(() => caches.keys())).some((name) => name.startsWith('portside-image'))).toBe(true);
  await page.getByRole('button', { name: 'About Portside' }).click();
  await expect(about.getByText(/^One image, for starts without a download/)).toBeVisible();
  await about.getByRole('button', { name: 'Forget stored images' }).click();
  await expect(about.getByText(/^No images/)).toBeVisible();
});

test('Network: live rates, and a capture of both directions that tshark reads', async ({ page, container }) => {
  const body = noise(4 * MIB);
  const host = await startHostHttp(body);
  await expect.poll(async () => (await container.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  const panel = page.getByRole('dialog', { name: 'Network' });
  await page.locator('#net-chip').click();
  await panel.getByRole('button', { name: 'Start a capture' }).click();
  await expect(panel.getByRole('button', { name: 'Stop and save' })).toBeVisible();
  await container.run(`wget -q -O /dev/null http://192.168.127.254:${host.port}/file`);
  await expect(panel.getByText(/^[\d,]+ frames, [\d.]+ MB$/)).toBeVisible();
  await expect(panel.locator('dt:text-is("To the container") + dd')).toHaveText(/^[\d.]+ MB · /);
  const download = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Stop and save' }).click();
  const file = await (await download).path();
  expect((await download).suggestedFilename()).toMatch(/^portside-.*\.pcapng$/);
  await expect(panel.getByRole('button', { name: 'Start a capture' })).toBeVisible();
  const bytes = readFileSync(file);
  expect(bytes.readUInt32LE(0)).toBe(0x0a0d0d0a);
  // Every byte of the download is in it, and what asked for it.
  expect(bytes.length).toBeGreaterThan(4 * MIB);
  expect(bytes.includes('GET /file HTTP/1')).toBe(true);
  expect(bytes.includes(Buffer.from(body.subarray(0, 400)))).toBe(true);
  const tshark = spawnSync('tshark', ['-r', file, '-q', '-z', 'conv,tcp'], { encoding: 'utf8' });
  if (tshark.error === undefined) {
    expect(tshark.status, tshark.stderr).toBe(0);
    expect(tshark.stdout).toMatch(new RegExp(`192\\.168\\.127\\.3:\\d+ .*192\\.168\\.127\\.254:${host.port}`));
  } else {
    console.log('tshark is not installed: it was not asked whether the capture is sound');
  }
  // What is being captured when the container ends is not lost.
  await panel.getByRole('button', { name: 'Start a capture' }).click();
  await container.run(`wget -q -O /dev/null http://192.168.127.254:${host.port}/file`);
  await container.write('exit\n');
  await expect.poll(() => container.state()).toBe('exited');
  const late = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Stop and save' }).click();
  expect(readFileSync(await (await late).path()).length).toBeGreaterThan(4 * MIB);
  await host.close();
});

test('Network: flows, names and addresses as they are', async ({ page, container }) => {
  const host = await startHostHttp(noise(1000));
  await expect.poll(async () => (await container.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  await container.run('nslookup gateway.containers.internal; nslookup no-such.containers.internal');
  await container.write(`sleep 100 | nc host.containers.internal ${host.port} &\n`);
  const panel = page.getByRole('dialog', { name: 'Network' });
  await page.locator('#net-chip').click();
  const rows = panel.locator('.traffic-table tbody tr');
  await expect(rows.filter({ hasText: `host.containers.internal:${host.port}` })).toContainText(/TCP · established · (192\.168\.127\.|fd70:6f72:7473::)254/);
  await panel.getByRole('radio', { name: 'Names' }).check();
  await expect(rows.filter({ hasText: /gateway\.containers\.internalA · / }).first()).toContainText('192.168.127.1');
  await expect(rows.filter({ hasText: 'no-such.containers.internal' }).first()).toContainText('NXDOMAIN');
  await panel.getByRole('radio', { name: 'Addresses' }).check();
  await expect(rows.filter({ hasText: '192.168.127.3' })).toContainText('02:00:00:00:00:01');
  await host.close();
});

test('Ports: what listens appears by itself, is opened, framed, and closed again', async ({ page, container }) => {
  await expect.poll(async () => (await container.run('ip -4 -o addr show dev eth0')).output, { timeout: 60_000 }).toContain('192.168.127.');
  await container.run('mkdir -p /srv && echo "<title>x</title>It works from port 8080" > /srv/index.html && httpd -h /srv -p 8080 && httpd -p 127.0.0.1:631');
  await expect(page.locator('#ports-count')).toHaveText('1');
  const panel = page.getByRole('dialog', { name: 'Ports' });
  await page.locator('#ports-button').click();
  const item = (port: number): ReturnType<typeof page.locator> => panel.locator('.port-item').filter({ has: page.locator(`strong:text-is("${port}")`) });
  await expect(item(631)).toContainText('only inside the container');
  await expect(item(631).getByRole('button')).toHaveCount(0);
  await item(8080).getByRole('button', { name: 'Open' }).click();
  const link = item(8080).getByRole('link', { name: 'Open' });
  await expect(link).toBeVisible();
  const url = (await link.getAttribute('href'))!;
  expect(url).toMatch(/^http:\/\/localhost:\d+\/$/);
  await expect.poll(async () => (await (await fetch(url)).text())).toContain('It works from port 8080');
  await item(8080).getByRole('button', { name: 'Here' }).click();
  await expect(page.frameLocator('#frame-card iframe').getByText('It works from port 8080')).toBeVisible();
  await page.locator('#frame-card').getByRole('button', { name: 'Close' }).click();
  await expect(page.locator('#frame-card')).toBeHidden();
  await page.locator('#ports-button').click();
  await item(8080).getByRole('button', { name: 'Close' }).click();
  await expect(item(8080).getByRole('button', { name: 'Open' })).toBeVisible();
  await expect(fetch(url)).rejects.toThrow();
  // One that nobody reports, by its number, with the keyboard.
  await panel.getByLabel('Another port of the container').fill('9');
  await page.keyboard.press('Enter');
  await expect(item(9)).toContainText('nobody listens');
  await page.keyboard.press('Escape');
  // What has ended is gone from the list, and no report was ever seen in the terminal.
  await container.run('killall httpd');
  await expect(page.locator('#ports-count')).toBeHidden();
  expect(await container.screen()).not.toContain('portside;');
});

test('Images: a file of this computer, chosen or dropped, with its disk; others are told what they are', async ({ page, container, portside }) => {
  await container.waitForText(/[#$] ?$/m);
  const images = fileURLToPath(new URL('../dist/images/', import.meta.url));
  const panel = page.getByRole('dialog', { name: 'Images' });
  const choose = async (...names: string[]): Promise<void> => {
    if (!(await panel.isVisible())) await page.locator('#image-button').click();
    await panel.locator('input[type=file]').setInputFiles(names.map((name) => `${images}${name}`));
  };
  await choose('manifest.json');
  await expect(page.getByText('manifest.json is not an image')).toBeVisible();
  await choose('debian.wasm');
  await expect(page.getByRole('alert')).toContainText('debian.wasm reads its disk from the file debian.disk');
  await choose('debian.wasm', 'debian.disk');
  await container.ready();
  await container.waitForText(/[#$] ?$/m);
  expect((await container.run('. /etc/os-release; echo $ID')).output).toBe('debian');
  await expect(page.locator('#image-name')).toHaveText('debian.wasm');
  // Dropped: the bytes come from the server here, as a file the browser made.
  const drop = await page.evaluateHandle(async (url) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([await (await fetch(url)).blob()], 'mine.wasm'));
    return transfer;
  }, `${portside.url}images/busybox.wasm`);
  await page.dispatchEvent('#stage', 'dragover', { dataTransfer: drop });
  await expect(page.locator('#drop-hint')).toBeVisible();
  await page.dispatchEvent('#stage', 'drop', { dataTransfer: drop });
  await expect(page.locator('#image-name')).toHaveText('mine.wasm');
  await container.ready();
  await container.waitForText(/^busybox:~#/m);
});

test.describe('without a network', () => {
  test.use({ net: 'none' });

  test('Settings: bell, scrollback and font apply at once and are kept', async ({ page, container }) => {
    await container.waitForText(/[#$] ?$/m);
    const settings = page.getByRole('dialog', { name: 'Settings' });
    const terminal = page.locator('#terminal [part=terminal]');
    // Each bell is seen: the attribute is gone again after a moment, so it is noted.
    await terminal.evaluate((host) => {
      const bells = { count: 0 };
      Object.assign(globalThis, { bells });
      new MutationObserver(() => { if (host.hasAttribute('data-bell')) bells.count++; }).observe(host, { attributeFilter: ['data-bell'] });
    });
    const bells = (): Promise<number> => page.evaluate(() => (globalThis as unknown as { bells: { count: number } }).bells.count);
    await container.run("printf '\\a'");
    await expect.poll(bells).toBe(1);
    await page.locator('#settings-button').click();
    await settings.getByRole('radio', { name: 'Off' }).check();
    await settings.getByRole('radio', { name: '1,000' }).check();
    await settings.getByLabel('Font', { exact: true }).fill('Liberation Mono"; x');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await container.write("printf '\\a'; seq 1 3000; echo do''ne\n");
    await container.waitForText(/^done$/m);
    expect(await bells()).toBe(1);
    const lines = (await container.screen()).split('\n');
    expect(lines.length).toBeLessThan(1200);
    await page.reload();
    await container.ready();
    await page.locator('#settings-button').click();
    await expect(settings.getByRole('radio', { name: 'Off' })).toBeChecked();
    await expect(settings.getByRole('radio', { name: '1,000' })).toBeChecked();
    await expect(settings.getByLabel('Font', { exact: true })).toHaveValue('Liberation Mono x');
  });

  test('after an end Enter restarts, wherever the focus is', async ({ page, container }) => {
    await container.waitForText(/[#$] ?$/m);
    await page.locator('#stop-button').click();
    await expect(page.getByText('The container was stopped')).toBeVisible();
    await page.keyboard.press('Enter');
    await container.ready();
    await container.waitForText(/[#$] ?$/m);
    await container.write('exit 4\n');
    await expect(page.getByText('exited with code 4')).toBeVisible();
    await page.keyboard.press('Enter');
    await container.ready();
    expect(await container.state()).toBe('running');
    // On a button Enter is the button's.
    await container.write('exit 5\n');
    await expect(page.getByText('exited with code 5')).toBeVisible();
    await page.locator('#settings-button').press('Enter');
    await expect(page.getByRole('dialog', { name: 'Settings' })).toBeVisible();
    expect(await container.state()).toBe('exited');
  });
});

test.describe('portside/playwright', () => {
  test.use({ net: 'none', cmd: "sh -c 'echo \"what [now]?\"; read x; echo \"got $x\"; exit 6'" });

  test('types keys and waits for text, literally or by a pattern', async ({ container, portside }) => {
    await container.waitForText('what [now]?');
    await container.type('this\n');
    expect((await container.waitForText(/got (\w+)/))[1]).toBe('this');
    await expect.poll(() => container.state()).toBe('exited');
    expect(portside.port).toBeGreaterThan(0);
  });
});
