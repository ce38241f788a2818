/* What people type, paste and click, and what programs in the container ask of the terminal: by Chromium's own input events. */
import { readFileSync } from 'node:fs';
import { devices, expect, test, type Browser, type BrowserContext, type CDPSession, type Page } from '@playwright/test';
import { Guest, Server } from './guest.ts';

test.describe.configure({ mode: 'serial' });

const server = new Server();
test.beforeAll(() => server.start());
test.afterAll(() => server.stop());

interface Opened {
  context: BrowserContext;
  page: Page;
  guest: Guest;
  cdp: CDPSession;
}

async function open(browser: Browser, image: string, options = {}): Promise<Opened> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const guest = new Guest(page);
  await guest.open(`${server.url}?image=${image}&net=none`);
  await guest.waitFor(/[#$] ?$/m);
  return { context, page, guest, cdp: await context.newCDPSession(page) };
}

/** The last line of the terminal. */
const lastLine = async (guest: Guest): Promise<string> => (await guest.screen()).split('\n').at(-1)!;

for (const image of ['debian', 'busybox']) {
  test.describe(image, () => {
    let it: Opened;
    test.beforeAll(async ({ browser }) => { it = await open(browser, image); });
    test.afterAll(() => it.context.close());

    test('a Backspace takes the character that it shows to take, whatever its width', async () => {
      const { guest, cdp, page } = it;
      for (const [text, backspaces] of [['😀', 1], ['漢', 1], ['👍🏽', 2], ['한글', 2], ['é', 1], ['🫠', 1]] as const) {
        await cdp.send('Input.insertText', { text: `echo abc${text}` });
        await expect.poll(() => lastLine(guest)).toMatch(/echo abc.+$/);
        for (let i = 0; i < backspaces; i++) await page.keyboard.press('Backspace');
        await page.keyboard.type('Z');
        await expect.poll(() => lastLine(guest)).toMatch(/echo abcZ$/);
        await page.keyboard.press('Enter');
        await guest.waitFor(/^abcZ$/m);
        await guest.write('clear\n');
        await expect.poll(() => guest.screen()).not.toContain('abcZ');
      }
    });

    test('a paste runs nothing by itself, and keeps no control characters', async () => {
      const { guest, page } = it;
      await paste(page, 'echo on\x1b[201~e\x03\x1b[200~ two\x9b');
      await expect.poll(() => lastLine(guest)).toMatch(/echo on(\[201~)e(\[200~) two$/);
      await page.keyboard.press('Control+C');
      await expect.poll(() => lastLine(guest)).toMatch(/[#$] ?$/);
      if (image !== 'debian') return;
      // Bracketed: bash waits for Enter although there is a line end.
      await paste(page, 'echo fi\x1b[201~rst\necho sec"on"d\n');
      await expect.poll(() => guest.screen()).toContain('echo sec"on"d');
      expect(await guest.screen()).not.toMatch(/^second/m);
      await page.keyboard.press('Enter');
      await guest.waitFor(/^second$/m);
    });
  });
}

/** As the browser pastes: a paste event with data on the focused element. */
function paste(page: Page, text: string): Promise<void> {
  return page.evaluate((data) => {
    let element = document.activeElement;
    while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    const clipboardData = new DataTransfer();
    clipboardData.setData('text/plain', data);
    element!.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true, composed: true }));
  }, text);
}

for (const [name, options] of [['a phone', devices['Pixel 7']], ['a desktop', {}]] as const) {
  test(`an input method on ${name}: composed, replaced, taken up again; each once`, async ({ browser }) => {
    const { context, page, guest, cdp } = await open(browser, 'debian', options);
    await page.locator('portside-terminal').first().click();
    const compose = (text: string, replacementStart?: number, replacementEnd?: number): Promise<unknown> =>
      cdp.send('Input.imeSetComposition', { text, selectionStart: text.length, selectionEnd: text.length, ...(replacementStart === undefined ? {} : { replacementStart, replacementEnd }) });
    for (const text of ['e', 'ec', 'eco']) await compose(text);
    await cdp.send('Input.insertText', { text: 'eco' });
    await expect.poll(() => lastLine(guest)).toMatch(/[#$] eco$/);
    // The word is taken up again and corrected.
    await compose('echo', 0, 3);
    await cdp.send('Input.insertText', { text: 'echo ' });
    await expect.poll(() => lastLine(guest)).toMatch(/[#$] echo ?$/);
    for (const text of ['に', 'にほ', '日本']) await compose(text);
    await cdp.send('Input.insertText', { text: '日本' });
    await expect.poll(() => lastLine(guest)).toMatch(/[#$] echo 日本$/);
    await page.keyboard.type('x');
    await page.keyboard.press('Backspace');
    await page.keyboard.press('Enter');
    await guest.waitFor(/^日本$/m);
    await context.close();
  });
}

test('titles reach tab and document, and go with the container', async ({ browser }) => {
  const { context, page, guest } = await open(browser, 'debian');
  await expect(page).toHaveTitle('Debian 13 (trixie) – Portside');
  await guest.run(String.raw`printf '\033]0;my ser''ver\007'`);
  await expect(page).toHaveTitle('my server – Debian 13 (trixie) – Portside');
  await page.keyboard.press('Control+Shift+Enter');
  await expect(page.getByRole('tab')).toHaveText(['1: my server', 'Terminal 2']);
  await expect(page).toHaveTitle('Debian 13 (trixie) – Portside');
  await page.locator('#restart-button').click();
  await expect(page.getByRole('tab')).toHaveCount(0);
  await guest.ready();
  await expect(page).toHaveTitle('Debian 13 (trixie) – Portside');
  await context.close();
});

test('OSC 52 copies when it is allowed, asked once, and never reads; OSC 8 opens its link', async ({ browser }) => {
  const { context, page, guest } = await open(browser, 'debian', { permissions: ['clipboard-read', 'clipboard-write'] });
  const copy = (text: string): string => String.raw`printf '\033]52;c;%s\007' ` + Buffer.from(text).toString('base64');
  const clipboard = (): Promise<string> => page.evaluate(() => navigator.clipboard.readText());
  await page.evaluate(() => navigator.clipboard.writeText('mine'));
  await guest.run(copy('first'));
  await expect(page.getByText('A program in the container wants to put 5 characters on the clipboard.')).toBeVisible();
  expect(await clipboard()).toBe('mine');
  await page.screenshot({ path: test.info().outputPath('asked.png') });
  await page.getByRole('button', { name: 'Allow' }).click();
  await expect.poll(clipboard).toBe('first');
  await guest.run(copy('zweitens: 日本'));
  await expect.poll(clipboard).toBe('zweitens: 日本');
  await expect(page.getByRole('button', { name: 'Allow' })).toBeHidden();
  // A question gets no answer: nothing is typed into the shell.
  await guest.run(String.raw`printf '\033]52;c;?\007'; sleep 0.2`);
  expect((await guest.run('echo qu"ie"t')).output).toBe('quiet');

  await guest.write(String.raw`clear; printf '\033]8;;${server.url}api/health\033\\the li''nk\033]8;;\033\\\n'` + '\n');
  await guest.waitFor(/^the link\n/);
  const screen = (await page.locator('portside-terminal').first().boundingBox())!;
  const opened = context.waitForEvent('page');
  // In the first row.
  await page.mouse.move(screen.x + 40, screen.y + 8);
  await page.mouse.move(screen.x + 42, screen.y + 9);
  await page.mouse.click(screen.x + 42, screen.y + 9);
  expect((await opened).url()).toBe(`${server.url}api/health`);
  await context.close();
});

test('a program that is refused is not asked about again', async ({ browser }) => {
  const { context, page, guest } = await open(browser, 'busybox', { permissions: ['clipboard-read', 'clipboard-write'] });
  await page.evaluate(() => navigator.clipboard.writeText('mine'));
  await guest.run(String.raw`printf '\033]52;c;Zmlyc3Q=\007'`);
  await page.getByRole('button', { name: 'Refuse' }).click();
  await guest.run(String.raw`printf '\033]52;c;Zmlyc3Q=\007'; echo do"ne"`);
  await expect(page.getByRole('button', { name: 'Allow' })).toBeHidden();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe('mine');
  await context.close();
});

test('a download has the name of its file', async ({ browser }) => {
  const { context, page, guest } = await open(browser, 'debian');
  const names = ['Makefile', 'LICENSE', 'a.html', 'notes.txt', 'bin'];
  await guest.run(`cd /mnt/share && for n in ${names.join(' ')}; do printf 'all:\\n\\ttrue\\n' > $n; done`);
  await page.locator('#files-button').click();
  for (const name of names) {
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: `Download ${name}`, exact: true }).click();
    const saved = await download;
    expect(saved.suggestedFilename()).toBe(name);
    expect(readFileSync(await saved.path(), 'utf8')).toBe('all:\n\ttrue\n');
  }
  await context.close();
});
