/** The flags around `listen`: a network from a file, its API, and a supervisor that hears of it all. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RelayError } from '../../shared/relay-error.ts';
import { ApiGuest } from '../fixture/api-guest.ts';
import { until } from '../fixture/test-relay.ts';
import { listen } from '../listen.ts';
import { Log } from '../log.ts';
import { parseServices, Services, type ServicesCommand } from './services.ts';

let folder: string;
let supervisor: Server;
const heard: string[] = [];
const lines: string[] = [];
const log = new Log((line) => lines.push(line));

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'portside-services-'));
  heard.length = lines.length = 0;
  supervisor = createServer((socket) => socket.on('data', (chunk) => heard.push((JSON.parse(chunk.toString()) as { notification_type: string }).notification_type))).listen(join(folder, 'notify'));
  await once(supervisor, 'listening');
});

afterEach(async () => {
  await new Promise((resolve) => supervisor.close(resolve));
  rmSync(folder, { recursive: true });
});

function command(config: object, more: Partial<ServicesCommand> = {}): ServicesCommand {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  return { services: [`unix:${join(folder, 'api')}`], config: join(folder, 'config.json'), notification: join(folder, 'notify'), logFormat: 'text', ...more };
}

async function getJson(path: string): Promise<unknown> {
  const [response] = await once(get({ socketPath: join(folder, 'api'), path, agent: false }), 'response') as [AsyncIterable<Buffer>];
  let text = '';
  for await (const chunk of response) text += chunk.toString();
  return JSON.parse(text);
}

test('a network as its file says, served, and told of', async () => {
  const services = new Services(command({
    mtu: 9000, subnet: '10.5.0.0/24', debug: true, dns: [{ name: 'test.', records: [{ name: 'a', ip: '10.5.0.9' }] }],
    dhcpStaticLeases: { '10.5.0.7': '02:00:00:00:00:07' }, forwards: { '127.0.0.1:0': '10.5.0.7:80' },
  }, { services: [`unix:${join(folder, 'api')}`, 'tcp:127.0.0.1:0'] }), log);
  const listening = await services.watching(() => listen(`unix:${join(folder, 'net')}`, services.configure({ config: { mtu: 1500 } })));
  await services.open(listening.network);
  expect(lines).toEqual([expect.stringContaining('no meaning here: debug')]);
  expect(services.specs).toEqual([`unix:${join(folder, 'api')}`, expect.stringMatching(/^tcp:127\.0\.0\.1:[1-9]\d*$/)]);
  expect(await getJson('/leases')).toEqual({ '10.5.0.1': '5a:94:ef:e4:0c:dd', '10.5.0.7': '02:00:00:00:00:07' });
  expect(await getJson('/services/dns/all')).toEqual([{ Name: 'test.', Records: [{ Name: 'a', IP: '10.5.0.9', Regexp: null }], DefaultIP: '' }]);
  expect(await getJson('/services/forwarder/all')).toEqual([{ local: expect.stringMatching(/^127\.0\.0\.1:\d+$/), remote: '10.5.0.7:80', protocol: 'tcp' }]);
  const guest = new ApiGuest(listening.network, '10.5.0.3');
  await until(() => heard.length > 0);
  guest.stack.neighbors.resolve(listening.network.config.gatewayIp, () => {});
  await until(() => heard.length === 2);
  guest.close();
  await listening.close();
  await services.close();
  await until(() => heard.length === 3);
  expect([listening.network.config.mtu, heard]).toEqual([9000, ['ready', 'connection_established', 'connection_closed']]);
});

test('what can not be listened on: the supervisor hears of the socket for guests, and nothing stays open', async () => {
  const failing = new Services(command({}), log);
  await expect(failing.watching(() => listen(`unix:${join(folder, 'no/such/net')}`))).rejects.toThrow(RelayError);
  await until(() => heard.length === 1);
  expect(heard).toEqual(['hypervisor_error']);

  const misconfigured = new Services(command({ mtu: 1 }), log);
  await expect(misconfigured.watching(async () => listen(`unix:${join(folder, 'net')}`, misconfigured.configure({})))).rejects.toMatchObject({ code: 'RELAY_CONFIG' });
  const absent = new Services({ ...command({}), config: join(folder, 'none') }, log);
  expect(() => absent.configure({})).toThrow(/can't read .*ENOENT/);

  const listening = await listen(`unix:${join(folder, 'net')}`);
  const half = new Services(command({}, { services: ['tcp:127.0.0.1:0', `unix:${join(folder, 'net')}`] }), log);
  await expect(half.open(listening.network)).rejects.toMatchObject({ code: 'RELAY_LISTEN' });
  await listening.close();
  expect(heard).toEqual(['hypervisor_error']);
});

test('flags', () => {
  expect(parseServices({})).toEqual({ services: [], config: null, notification: null, logFormat: 'text' });
  expect(parseServices({ 'services': ['unix:/x', 'tcp::80'], 'config': 'f', 'notification': '/n', 'log-format': 'json' }))
    .toEqual({ services: ['unix:/x', 'tcp::80'], config: 'f', notification: '/n', logFormat: 'json' });
  for (const flags of [{ services: ['tcp:0.0.0.0:80'] }, { services: ['x'] }, { 'log-format': 'xml' }]) expect(() => parseServices(flags)).toThrow(expect.objectContaining({ code: 'RELAY_BAD_FLAG' }));
});
