/* The same page in another browser's engine: from its address to a prompt, a command, the network, a port that listens. */
import { expect, test } from '@playwright/test';
import { Firefox, hasFirefox } from './firefox.ts';
import { noise, Server, sha256, startHostHttp } from './guest.ts';

test('Firefox: a prompt, a command with its status, a download over the relay, ports', async () => {
  test.skip(!hasFirefox, 'firefox-esr is not installed: the page is tested in Chromium only');
  const server = new Server();
  await server.start();
  const body = noise(1_000_000);
  const host = await startHostHttp(body);
  const firefox = await Firefox.start();
  try {
    await firefox.goto(`${server.url}?image=busybox`);
    await firefox.evaluate('portside.ready');
    const shown = (pattern: RegExp): Promise<void> => expect.poll(() => firefox.evaluate<string>('portside.screen()'), { timeout: 60_000 }).toMatch(pattern);
    await shown(/[#$] ?$/m);
    expect(await firefox.evaluate('crossOriginIsolated')).toBe(true);
    await firefox.evaluate(`portside.write('uname -m; (exit 3); echo "sta""tus $?"\\n')`);
    await shown(/^riscv64\nstatus 3$/m);
    await expect.poll(() => firefox.evaluate<string>('portside.net.state')).toBe('up');
    await firefox.evaluate(`portside.write('until ip -4 -o addr show dev eth0 | grep -q 192.168; do :; done; wget -q -O - http://192.168.127.254:${host.port}/ | sha256sum; httpd -p 8080\\n')`);
    await shown(new RegExp(`^${sha256(body)}`, 'm'));
    await expect.poll(() => firefox.evaluate('portside.ports'), { timeout: 30_000 }).toEqual([{ port: 8080, local: false }]);
    await firefox.evaluate(`portside.write('exit 5\\n')`);
    await expect.poll(() => firefox.evaluate('[portside.state, portside.exitCode]')).toEqual(['exited', 5]);
  } finally {
    await firefox.stop();
    await host.close();
    await server.stop();
  }
});

test('Firefox: without the relay\'s network a page of the container runs its scripts in a frame, on an origin of its own', async () => {
  test.skip(!hasFirefox, 'firefox-esr is not installed: the page is tested in Chromium only');
  test.setTimeout(300_000);
  const server = new Server();
  await server.start();
  const firefox = await Firefox.start();
  try {
    await firefox.goto(`${server.url}?image=busybox&net=browser`);
    await firefox.evaluate('portside.ready');
    const page = '<script>onload = () => parent.parent.postMessage({ ran: origin }, "*")</script>';
    await firefox.evaluate(`portside.write(${JSON.stringify(`mkdir /www; echo '${page}' > /www/index.html; httpd -p 80 -h /www\n`)})`);
    // Installed when the container runs.
    await expect.poll(() => firefox.evaluate('navigator.serviceWorker.getRegistration().then((registration) => registration?.active?.state ?? "")'), { timeout: 120_000 }).toBe('activated');
    await firefox.evaluate('(globalThis.heard = [], addEventListener("message", ({ data }) => heard.push(data)), portside.showPort(80), 0)');
    await expect.poll(() => firefox.evaluate<string>('heard.find(({ ran }) => ran !== undefined)?.ran ?? document.querySelector(".port-card-kind")?.title ?? ""'), { timeout: 120_000 }).toMatch(/^http:\/\/80-[0-9a-f-]{36}\.localhost:\d+$/);
  } finally {
    await firefox.stop();
    await server.stop();
  }
});
