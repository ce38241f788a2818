import { mkdtempSync, rmSync } from 'node:fs';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { TestRelay, type TestRelayOptions } from './fixture/test-relay.ts';

const relays: TestRelay[] = [];
const folders: string[] = [];
afterEach(async () => {
  await Promise.all(relays.splice(0).map((relay) => relay.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

async function start(options: TestRelayOptions = {}): Promise<{ relay: TestRelay; port: number }> {
  const relay = await TestRelay.start({ ...options, files: { 'web/portside-frame.html': 'bootstrap', 'web/portside-frame.js': 'script', 'web/portside-frame-worker.js': 'worker', 'web/service-worker.js': 'other', 'images/manifest.json': '{}' } });
  relays.push(relay);
  const { frames } = JSON.parse((await relay.request('/api/health')).body.toString()) as { frames: string };
  return { relay, port: Number(/^http:\/\/\*\.localhost:(\d+)$/.exec(frames)?.[1]) };
}

function ask(port: number, path: string, { host = `80-x.localhost:${port}`, method = 'GET', headers = {} }: { host?: string; method?: string; headers?: Record<string, string> } = {}): Promise<{ status: number; headers: IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port, path, method, headers: { host, ...headers }, agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => { body += chunk.toString(); }).on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body })).on('error', reject);
    }).on('error', reject).end();
  });
}

test('it has the files of the bootstrap, for the pages of its relay alone', async () => {
  const { relay, port } = await start();
  for (const [path, body] of [['/portside-frame.html', 'bootstrap'], ['/portside-frame.js', 'script'], ['/portside-frame-worker.js', 'worker']]) {
    const answer = await ask(port, path);
    expect([answer.status, answer.body]).toEqual([200, body]);
    expect(answer.headers).toMatchObject({ 'cross-origin-embedder-policy': 'require-corp', 'cross-origin-resource-policy': 'cross-origin', 'x-content-type-options': 'nosniff' });
    const policy = String(answer.headers['content-security-policy']);
    expect(policy).toContain(`frame-ancestors http://localhost:${relay.server.port} http://127.0.0.1:${relay.server.port}`);
    expect(policy).toMatch(/^sandbox (?!.*allow-top-navigation)/);
  }
});

test('and nothing else: no page, no image, no API, no WebSocket, no other method, no other name', async () => {
  const { relay, port } = await start();
  for (const path of ['/', '/index.html', '/service-worker.js', '/images/manifest.json', '/api/health', '/api/session', '/link', '/metrics', '/../index.html', '/%2e%2e/index.html', '//portside-frame.html', '/portside-frame.html/']) {
    expect([path, (await ask(port, path)).status]).toEqual([path, 404]);
  }
  for (const method of ['POST', 'PUT', 'OPTIONS']) expect((await ask(port, '/portside-frame.html', { method })).status).toBe(405);
  for (const host of ['localhost', `127.0.0.1:${port}`, 'evil.example', 'x.localhost.evil.example', 'a.b.localhost', `localhost:${relay.server.port}`]) {
    expect([host, (await ask(port, '/portside-frame.html', { host })).status]).toEqual([host, 403]);
  }
  const upgrade = await ask(port, '/link', { headers: { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' } });
  expect(upgrade.status).toBe(404);
});

test('the relay does not answer to a frame\'s name, and lets no script of one in', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'portside-frames-'));
  folders.push(folder);
  const { relay, port } = await start({ config: { convertedDir: folder } });
  expect((await relay.request('/', { headers: { host: `80-x.localhost:${relay.server.port}` } })).status).toBe(403);
  const origin = `http://80-x.localhost:${port}`;
  for (const site of [undefined, 'cross-site', 'same-site']) {
    const headers = { origin, ...(site === undefined ? {} : { 'sec-fetch-site': site }) };
    for (const path of ['/api/session', '/api/converted']) expect((await relay.request(path, { method: 'POST', headers })).status).toBe(403);
    expect(await relay.socket({ headers }).ended()).toBe('http 403');
    expect(await relay.socket({ headers, protocol: null }).ended()).toBe('http 403');
    expect((await relay.request('/api/health', { headers })).headers['access-control-allow-origin']).toBeUndefined();
  }
});

test('it ends with its relay', async () => {
  const { relay, port } = await start();
  await relay.stop();
  relays.length = 0;
  await expect(ask(port, '/portside-frame.html')).rejects.toThrow();
});
