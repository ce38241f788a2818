/* The default container in the page: a shell that behaves as one in a terminal does. */
import { expect, test, type BrowserContext } from '@playwright/test';
import { Guest, Server } from './guest.ts';

test.describe.configure({ mode: 'serial' });

const server = new Server();
let context: BrowserContext;
let guest: Guest;

test.beforeAll(async ({ browser }) => {
  await server.start();
  context = await browser.newContext();
  guest = new Guest(await context.newPage());
  await guest.open(`${server.url}?image=debian`);
  await guest.waitFor(/[#$] ?$/m);
});

test.afterAll(async () => {
  await context.close();
  await server.stop();
});

test('is Debian trixie on riscv64', async () => {
  expect((await guest.run('uname -m')).output).toBe('riscv64');
  expect((await guest.run('cat /etc/os-release')).output).toContain('VERSION_CODENAME=trixie');
});

test('has the right wall clock and a host name', async () => {
  const { output } = await guest.run('date +%s');
  expect(Math.abs(Number(output) - Date.now() / 1000)).toBeLessThan(5);
  expect((await guest.run('hostname')).output).toBe('debian');
  expect((await guest.run('getent hosts "$(hostname)"')).status).toBe(0);
});

test('completes with Tab, recalls with arrow keys, edits in the line', async () => {
  await guest.run('mkdir -p /tmp/t && cd /tmp/t && touch a-long-file-name');
  await guest.write('echo a-lo\t\n');
  await guest.waitFor(/^a-long-file-name/m);
  await guest.run('echo re"cal"led');
  // Up twice would be the marker's own line; up once recalls the whole line that `run` typed.
  await guest.write('echo one-two\n');
  await guest.waitFor(/^one-two/m);
  // Up; back over "-two"; type; End.
  await guest.write('\x1b[A\x1b[D\x1b[D\x1b[D\x1b[D-and-a-half\x1b[F-again\n');
  await guest.waitFor(/^one-and-a-half-two-again/m);
  await guest.run('cd /');
});

test('Ctrl-C stops a command, Ctrl-Z and fg work, Ctrl-D ends input', async () => {
  // The job itself says that it runs: a key that comes while the shell still forks is the shell's.
  await guest.write("sh -c 'echo fi''rst; exec sleep 1000'\n");
  await guest.waitFor(/^first/m);
  await guest.write('\x03');
  await guest.waitFor(/\^C/);
  expect((await guest.run('echo still here')).output).toBe('still here');
  // What is typed before the shell has handed the terminal over is not a line yet: wait for a word of the command's.
  await guest.write("echo 'rea''dy'; cat > /tmp/typed\n");
  await guest.waitFor(/^ready/m);
  await guest.write('some words\n');
  await guest.waitFor(/^some words/m);
  await guest.write('\x04');
  expect((await guest.run('cat /tmp/typed')).output).toBe('some words');
  await guest.write("sh -c 'echo sec''ond; exec sleep 1001'\n");
  await guest.waitFor(/^second/m);
  await guest.write('\x1a');
  await guest.waitFor(/Stopped/);
  await guest.write('fg\n');
  await guest.waitFor(/fg\nsh -c/);
  await guest.write('\x03');
  expect((await guest.run('jobs')).output).toBe('');
});

test('UTF-8 passes both ways', async () => {
  expect((await guest.run("printf '%s\\n' 'Grüße, 世界 🌍' | tee /tmp/utf8")).output).toBe('Grüße, 世界 🌍');
  expect((await guest.run("wc -m < /tmp/utf8")).output).toBe('12');
});

test('10,000 lines arrive whole and in order', async () => {
  const { output } = await guest.run('seq 1 10000', 120_000);
  const lines = output.split('\n');
  // The scrollback holds 10,000 lines; the last ones must all be there.
  expect(lines.at(-1)).toBe('10000');
  expect(lines.slice(-9000)).toEqual(Array.from({ length: 9000 }, (_, i) => String(1001 + i)));
  expect((await guest.run("seq 1 10000 | md5sum")).output).toMatch(/^72d4ff27a28afbc066d5804999d5a504/);
});

test('an editor works', async () => {
  await guest.write('nano /tmp/note\n');
  await guest.waitFor(/GNU nano[^]*\[ New File \]/);
  await guest.write('written in nano');
  await guest.waitFor(/written in nano/);
  await guest.write('\x0f');
  await guest.waitFor(/(File Name to Write|Write to File)/);
  await guest.write('\r');
  await guest.waitFor(/Wrote 1 line/);
  await guest.write('\x18');
  expect((await guest.run('cat /tmp/note')).output).toBe('written in nano');
});

test('the terminal follows the window', async () => {
  await guest.page.setViewportSize({ width: 900, height: 600 });
  await expect.poll(async () => {
    const size = await guest.page.evaluate(() => (globalThis as unknown as { portside: { size(): { cols: number; rows: number } } }).portside.size());
    return (await guest.run('stty size')).output === `${size.rows} ${size.cols}`;
  }, { timeout: 20_000 }).toBe(true);
  const small = (await guest.run('stty size')).output;
  await guest.page.setViewportSize({ width: 1280, height: 800 });
  await expect.poll(async () => (await guest.run('stty size')).output, { timeout: 20_000 }).not.toBe(small);
  const size = await guest.page.evaluate(() => (globalThis as unknown as { portside: { size(): { cols: number; rows: number } } }).portside.size());
  await expect.poll(async () => (await guest.run('stty size')).output, { timeout: 20_000 }).toBe(`${size.rows} ${size.cols}`);
});

test('exit is reported with its code and offers a restart', async () => {
  await guest.write('exit 7\n');
  await expect.poll(() => guest.state()).toBe('exited');
  await expect(guest.page.getByText(/exited with code 7/i).first()).toBeVisible();
  await guest.page.getByRole('button', { name: /restart/i }).first().click();
  await expect.poll(() => guest.state()).toBe('running');
  await guest.waitFor(/[#$] ?$/m);
  expect((await guest.run('echo ba"ck"')).output).toBe('back');
});
