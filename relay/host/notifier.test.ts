/** gvproxy's notifications, against a supervisor that listens, one that comes late, and one that never reads. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VirtualNetwork } from '../../shared/net/services/network.ts';
import { ApiGuest } from '../fixture/api-guest.ts';
import { until } from '../fixture/test-relay.ts';
import { Log } from '../log.ts';
import { NodeClock, nodeRandom } from './node-clock.ts';
import { NodeHostNet } from './node-host-net.ts';
import { Notifier } from './notifier.ts';

let folder: string;
let path: string;
let server: Server | null = null;
const held: Socket[] = [];
const heard: string[] = [];
const lines: string[] = [];
let log: Log;
const onTrouble = (subject: string, text: string): void => log.once('notification', subject, text);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'portside-notify-'));
  path = join(folder, 'notify.sock');
  heard.length = lines.length = 0;
  log = new Log((line) => lines.push(line));
});

afterEach(async () => {
  for (const socket of held.splice(0)) socket.destroy();
  if (server !== null) await new Promise((resolve) => server!.close(resolve));
  server = null;
  rmSync(folder, { recursive: true });
});

async function listen(onSocket: (socket: Socket) => void): Promise<void> {
  server = createServer((socket) => { held.push(socket); onSocket(socket); }).listen(path);
  await once(server, 'listening');
}

function read(socket: Socket): void {
  let text = '';
  socket.on('data', (chunk: Buffer) => { text += chunk.toString(); });
  socket.on('end', () => { heard.push(text); });
}

test('one connection and one line per event, in order', async () => {
  await listen(read);
  const clock = new NodeClock();
  const network = new VirtualNetwork({ clock, random: nodeRandom, hostNet: new NodeHostNet(clock) });
  const notifier = new Notifier(path, onTrouble);
  notifier.watch(network);
  notifier.send('ready');
  const guest = new ApiGuest(network);
  await guest.isUp();
  guest.close();
  network.close();
  notifier.send('hypervisor_error');
  await notifier.close();
  notifier.send('ready');
  await until(() => heard.length === 4);
  expect(heard).toEqual([
    '{"notification_type":"ready"}\n',
    '{"notification_type":"connection_established","mac_address":"02:00:00:00:00:01"}\n',
    '{"notification_type":"connection_closed","mac_address":"02:00:00:00:00:01"}\n',
    '{"notification_type":"hypervisor_error"}\n',
  ]);
});

test('nobody listens: said once, and forgotten', async () => {
  const notifier = new Notifier(path, onTrouble);
  for (let i = 0; i < 5; i++) notifier.send('ready');
  await notifier.close();
  expect(lines).toEqual([expect.stringMatching(/not heard at .*ENOENT/)]);
});

test('a supervisor that never reads or closes holds nothing up; more than the queue takes is lost', async () => {
  await listen((socket) => socket.pause());
  const notifier = new Notifier(path, onTrouble);
  for (let i = 0; i < 300; i++) notifier.send('connection_established', '02:00:00:00:00:01');
  await notifier.close();
  expect(lines).toEqual([expect.stringContaining('some are lost')]);
  await until(() => held.length === 101);
});
