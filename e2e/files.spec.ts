/* The folder that page and container share: what is put there on one side is there on the other. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AxeBuilder } from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { expect, test } from '../playwright/fixture.ts';
import { noise, sha256 } from './guest.ts';

const EXERCISE = fileURLToPath(new URL('../relay/run/fixture/files.c', import.meta.url));
const MIB = 1 << 20;

test.use({ image: 'busybox', net: 'none' });

let folder = '';
test.beforeEach(() => { folder = mkdtempSync(join(tmpdir(), 'portside-files-')); });
test.afterEach(() => { rmSync(folder, { recursive: true }); });

const panelOf = (page: Page): ReturnType<Page['getByRole']> => page.getByRole('dialog', { name: 'Files' });

async function open(page: Page): Promise<void> {
  await page.locator('#files-button').click();
  await expect(panelOf(page)).toBeVisible();
}

async function upload(page: Page, path: string): Promise<void> {
  const chosen = page.waitForEvent('filechooser');
  await panelOf(page).getByRole('button', { name: 'Upload files' }).click();
  await (await chosen).setFiles(path);
}

test('upload, list, download, delete, on both sides', async ({ page, container }) => {
  const bytes = noise(3 * MIB + 17);
  writeFileSync(join(folder, 'a file.bin'), bytes);
  await open(page);
  const panel = panelOf(page);
  await expect(panel.getByText('Nothing is here yet.')).toBeVisible();
  await upload(page, join(folder, 'a file.bin'));
  await expect(panel.getByText('a file.bin is in /mnt/share.')).toBeVisible();
  expect((await container.run('cat /mnt/share/a*bin | sha256sum')).output).toBe(`${sha256(bytes)}  -`);

  // What the container makes shows by itself.
  expect((await container.run('cd /mnt/share && mkdir -p d/e && dd if=/dev/urandom of=d/e/made bs=64k count=40 2>/dev/null && ln -s e/made d/link && sha256sum <d/link')).status).toBe(0);
  const made = /([0-9a-f]{64})/.exec((await container.run('sha256sum <d/link')).output)![1];
  await panel.getByRole('button', { name: /^d ?, folder/ }).click();
  await expect(panel.getByRole('heading', { name: 'd', exact: true })).toBeFocused();
  await panel.getByRole('button', { name: /^e ?, folder/ }).click();
  const download = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Download made' }).click();
  expect(sha256(readFileSync(await (await download).path()))).toBe(made);

  await panel.getByRole('button', { name: 'Up', exact: true }).click();
  await panel.getByRole('button', { name: 'Up', exact: true }).click();
  const archive = page.waitForEvent('download');
  await panel.getByRole('button', { name: 'Download d', exact: true }).click();
  expect((await archive).suggestedFilename()).toBe('d.tar');
  execFileSync('tar', ['-xf', await (await archive).path(), '-C', folder]);
  expect(sha256(readFileSync(join(folder, 'link')))).toBe(made);

  // Deleting asks once, and the focus does not get lost.
  const remove = panel.getByRole('button', { name: 'Delete d', exact: true });
  await remove.focus();
  await page.keyboard.press('Enter');
  await expect(panel.getByRole('button', { name: 'Delete? Press again to delete d' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(panel.getByText('d was deleted.')).toBeVisible();
  await expect(panel.locator('.files-path')).toBeFocused();
  expect((await container.run('ls /mnt/share')).output).toBe('a file.bin');

  // It outlives the container.
  await page.locator('#restart-button').click();
  await container.ready();
  await expect.poll(async () => (await container.run('ls -s /mnt/share/')).output).toContain('a file.bin');
});

test('files and folders dropped on the terminal arrive', async ({ page, container }) => {
  mkdirSync(join(folder, 'tree/deep'), { recursive: true });
  writeFileSync(join(folder, 'tree/one'), 'one\n');
  writeFileSync(join(folder, 'tree/deep/two'), 'two\n');
  writeFileSync(join(folder, 'three'), 'three\n');
  const session = await page.context().newCDPSession(page);
  const box = (await page.locator('#stage').boundingBox())!;
  const data = { items: [], files: [join(folder, 'tree'), join(folder, 'three')], dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await session.send('Input.dispatchDragEvent', { type, x: box.x + 50, y: box.y + 50, data });
    if (type === 'dragOver') await expect(page.locator('#drop-hint')).toBeVisible();
  }
  await expect(panelOf(page).getByText('3 files are in /mnt/share.')).toBeVisible();
  await expect(page.locator('#drop-hint')).toBeHidden();
  expect((await container.run('cd /mnt/share; cat tree/one tree/deep/two three')).output).toBe('one\ntwo\nthree');
});

test('Linux finds a file system there that behaves as its own do', async ({ page, container }) => {
  const missing = ['gcc', 'riscv64-linux-gnu-gcc'].filter((compiler) => spawnSync(compiler, ['--version']).status !== 0);
  test.skip(missing.length > 0, `there is no ${missing.join(', no ')}`);
  execFileSync('gcc', ['-O1', '-w', '-o', join(folder, 'here'), EXERCISE]);
  execFileSync('riscv64-linux-gnu-gcc', ['-O1', '-w', '-static', '-o', join(folder, 'files'), EXERCISE]);
  await open(page);
  await upload(page, join(folder, 'files'));
  await expect(panelOf(page).getByText('files is in /mnt/share.')).toBeVisible();
  const { output } = await container.run('cd /mnt/share && chmod +x files && for i in 1 2; do ./files random $i 1500 work$i small >random$i; sha256sum <random$i; done', 120_000);
  const here = [1, 2].map((seed) => execFileSync(join(folder, 'here'), ['random', String(seed), '1500', `work${seed}`, 'small'], { cwd: folder, maxBuffer: 1 << 28 }));
  expect(output.split('\n')).toEqual(here.map((text) => `${sha256(text)}  -`));
});

test('a folder of this computer is connected, used and let go', async ({ page, container }) => {
  // The dialog is the system's; the folder behind it is a real one of the browser's.
  await page.evaluate(async () => {
    const project = await (await navigator.storage.getDirectory()).getDirectoryHandle('project', { create: true });
    const file = await (await project.getFileHandle('from here', { create: true })).createWritable();
    await file.write('written here\n');
    await file.close();
    Object.assign(globalThis, { showDirectoryPicker: async () => project });
  });
  await open(page);
  const panel = panelOf(page);
  await panel.getByRole('button', { name: 'Connect a folder of this computer' }).click();
  await expect(panel.getByText('The folder is /mnt/share/project in the container.')).toBeVisible();
  const script = [
    'cd /mnt/share/project && cat "from here"', 'mkdir d && echo one >d/f && echo two >>d/f && mv d/f d/g && cat d/g', 'chmod 700 d/g && stat -c "%a %s" d/g', 'truncate -s 5 d/g && cat d/g; echo',
    'ln -s x l 2>/dev/null || echo no links', 'mv d e 2>/dev/null && ls e', 'rmdir e 2>/dev/null || echo full', 'cp e/g ../copy && cat ../copy; echo', 'dd if=/dev/zero of=big bs=64k count=48 2>/dev/null; stat -c %s big; rm big',
  ].join('; ');
  expect((await container.run(script)).output).toBe('written here\none\ntwo\n700 8\none\nt\nno links\ng\nfull\none\nt\n3145728');
  expect(await page.evaluate(async () => {
    const project = await (await navigator.storage.getDirectory()).getDirectoryHandle('project');
    const file = await (await (await project.getDirectoryHandle('e')).getFileHandle('g')).getFile();
    const names: string[] = [];
    for await (const name of project.keys()) names.push(name);
    return [await file.text(), names.toSorted()];
  })).toEqual(['one\nt', ['e', 'from here']]);
  // Two that append, here and in memory; a file that is removed while it is open.
  const append = 'w() { i=0; while [ $i -lt 60 ]; do echo $1$i >>log; i=$((i + 1)); done; }; w a & w b & wait; sort log | uniq | wc -l; rm log; exec 3<>t; echo kept >&3; rm t; chmod 600 /proc/self/fd/3; stat -L -c "%a %s" /proc/self/fd/3; cat /proc/self/fd/3; exec 3>&-';
  for (const place of ['/mnt/share', '/mnt/share/project']) expect((await container.run(`(cd ${place}; ${append}) 2>&1`, 60_000)).output).toBe('120\n600 5\nkept');
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join('; ')}`)).toEqual([]);
  await panel.getByRole('button', { name: 'Disconnect project' }).click();
  await expect(panel.getByText('project is disconnected')).toBeVisible();
  expect((await container.run('cd; ls /mnt/share')).output).toBe('copy');
});
