/* What the doctor finds on this computer, and on computers that lack something. */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { killLeftovers, Portside } from '../fixture/portside-process.ts';
import { freePort } from '../host/free-port.ts';
import { examine, type Check, type Patient } from './doctor.ts';

let dir: string;
let well: Patient;
let mirror: Server;
let status = 200;

const noProxy = process.env['no_proxy'];

beforeAll(async () => {
  // A proxy of apt's would be asked for the mirror, too.
  process.env['no_proxy'] = '*';
  dir = mkdtempSync(join(tmpdir(), 'portside-doctor-'));
  mirror = createHttpServer((_request, response) => { response.statusCode = status; response.end('dists'); }).listen(0, '127.0.0.1');
  await once(mirror, 'listening');
  mkdirSync(join(dir, 'images'));
  mkdirSync(join(dir, 'web'));
  writeFileSync(join(dir, 'web/index.html'), '');
  writeFileSync(join(dir, 'images/manifest.json'), JSON.stringify({ version: 1, images: [{ name: 'busybox', title: 'B', description: '', file: 'busybox.wasm', bytes: 4, sha256: '' }] }));
  for (const name of ['chromium', 'ping', 'wazero']) writeFileSync(join(dir, name), '#!/bin/sh\necho "Version 1"\n', { mode: 0o755 });
  well = {
    env: { PATH: `${dir}:/none`, PORTSIDE_MIRROR: `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/debian` },
    nodeVersion: '22.1.0', webDir: join(dir, 'web'), imagesDir: join(dir, 'images'), port: await freePort(),
  };
});
afterAll(async () => {
  if (noProxy === undefined) delete process.env['no_proxy'];
  else process.env['no_proxy'] = noProxy;
  await new Promise((resolve) => mirror.close(resolve));
  rmSync(dir, { recursive: true });
});
afterEach(() => {
  status = 200;
  killLeftovers();
});

async function find(changes: Partial<Patient>): Promise<Record<string, Check>> {
  return Object.fromEntries((await examine({ ...well, ...changes })).map((check) => [check.name, check]));
}

test('a computer that has everything', async () => {
  const checks = await find({});
  expect(Object.keys(checks)).toEqual(['node', 'system', 'page', 'images', 'mirror', 'disk', 'port', 'dns', 'ipv6', 'ping', 'browser', 'runtimes']);
  for (const name of ['node', 'page', 'images', 'mirror', 'port', 'ping', 'browser']) expect(checks[name].state, name).toBe('ok');
  expect([checks['node'].found, checks['images'].found, checks['runtimes'].found, checks['browser'].found]).toEqual(['22.1.0', 'busybox', 'built-in, wazero', `${join(dir, 'chromium')}, Version 1`]);
  expect(checks['browser'].advice).toContain('About');
});

test('what npm start needs is missing: an old Node, a taken port, neither images nor a mirror that answers', async () => {
  for (const version of ['18.20.4', '20.18.9']) expect((await find({ nodeVersion: version }))['node']).toMatchObject({ state: 'missing', advice: 'Portside needs Node 20.19 or newer' });
  expect((await find({ nodeVersion: '20.19.0' }))['node'].state).toBe('ok');
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  expect((await find({ port }))['port']).toEqual({ name: 'port', state: 'missing', found: `${port}: EADDRINUSE`, advice: expect.stringContaining(`--port ${port + 1}`) });
  await new Promise((resolve) => taken.close(resolve));
  const dead = { ...well.env, PORTSIDE_MIRROR: `http://127.0.0.1:${await freePort()}/` };
  expect((await find({ env: dead, imagesDir: join(dir, 'none') }))['mirror']).toMatchObject({ state: 'missing', found: expect.stringContaining('ECONNREFUSED'), advice: expect.stringContaining('PORTSIDE_MIRROR') });
  status = 503;
  expect((await find({ imagesDir: join(dir, 'none') }))['mirror']).toMatchObject({ state: 'missing', found: 'it answers 503' });
});

test('what it can do without is a warning, with what does not work then', async () => {
  const dead = { PATH: '/none', PORTSIDE_MIRROR: `http://127.0.0.1:${await freePort()}/` };
  const checks = await find({ env: dead, webDir: join(dir, 'none') });
  for (const name of ['page', 'mirror', 'ping', 'browser']) expect(checks[name], name).toMatchObject({ state: 'warning', advice: expect.stringMatching(/\w/) });
  expect(checks['runtimes']).toMatchObject({ state: 'ok', found: 'built-in' });
  expect((await find({ imagesDir: join(dir, 'none') }))['images']).toMatchObject({ state: 'warning', advice: expect.stringContaining('--image FILE|URL') });
});

test('the command: a table for people, JSON for programs, and status 1 when npm start would fail', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const busy = String((taken.address() as AddressInfo).port);
  const args = ['--images', well.imagesDir, '--web', well.webDir, '--port'];
  const env = { PORTSIDE_MIRROR: well.env['PORTSIDE_MIRROR']! };
  const [table, json] = await Promise.all([new Portside(['doctor', ...args, String(well.port)], { env }), new Portside(['doctor', '--json', ...args, busy], { env })].map(({ finished }) => finished));
  expect([table.status, json.status, json.stderr]).toEqual([0, 1, '']);
  expect(table.stdout).toMatch(/^ok {7}node {6}\d/);
  const report = JSON.parse(json.stdout) as { ok: boolean; checks: Check[] };
  expect([report.ok, report.checks.filter(({ state }) => state === 'missing').map(({ name }) => name)]).toEqual([false, ['port']]);
  await new Promise((resolve) => taken.close(resolve));
});
