/** The user-mode networks that are compared: how each starts, and under which addresses it shows guest and host. */
import { request } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { IPERF_PORT, LOOPBACK } from '../../relay/fixture/linux/lab.ts';
import { OUTSIDE } from '../../relay/fixture/linux/namespaces.ts';
import { findCommand } from '../../relay/fixture/linux/requirements.ts';

export interface PeerPlace {
  /** UNIX socket on which it must listen for QEMU's framing */
  socket: string;
  dir: string;
  mtu: number;
}

export interface Peer {
  name: string;
  /** null when it is not installed */
  command: ((place: PeerPlace) => string[]) | null;
  guestIp: string;
  gateway: string;
  /** what means the host's 127.0.0.1 to the guest */
  hostIp: string;
  dns: string;
  /** Leads FORWARD_PORT of the host's loopback to IPERF_PORT of the guest, where the command line has not done so. */
  forward?: (place: PeerPlace) => Promise<void>;
}

export const FORWARD_PORT = 6001;

/** How our own relay is started. */
const PORTSIDE_LISTEN = ['node', fileURLToPath(new URL('../../bin/portside.mjs', import.meta.url)), 'listen'];

const GVISOR_ADDRESSES = { gateway: '192.168.127.1', hostIp: '192.168.127.254', dns: '192.168.127.1' };

export function allPeers(): Peer[] {
  const gvproxy = process.env['GVPROXY'] ?? findCommand('gvproxy');
  const passt = process.env['PASST'] ?? findCommand('passt');
  return [
    {
      name: 'portside',
      command: ({ socket, mtu }) => [...PORTSIDE_LISTEN, `unix:${socket}`, '--mtu', String(mtu), '-p', `${LOOPBACK}:${FORWARD_PORT}:${IPERF_PORT}`],
      guestIp: '192.168.127.3',
      ...GVISOR_ADDRESSES,
    },
    {
      name: 'gvproxy',
      command: gvproxy === null ? null : (place) => [gvproxy, '-mtu', String(place.mtu), '-listen-qemu', `unix://${place.socket}`, '-listen', `unix://${apiOf(place)}`],
      guestIp: '192.168.127.2',
      ...GVISOR_ADDRESSES,
      forward: (place) => post(apiOf(place), '/services/forwarder/expose', { local: `${LOOPBACK}:${FORWARD_PORT}`, remote: `192.168.127.2:${IPERF_PORT}`, protocol: 'tcp' }),
    },
    {
      name: 'passt',
      // The gateway's address means the host's loopback.
      command: passt === null ? null : ({ socket, mtu }) => [
        passt, '-f', '-q', '-4', '-i', OUTSIDE.device, '-s', socket, '-m', String(mtu), '-a', '10.0.2.15', '-n', '24', '-g', '10.0.2.2', '--dns-forward', '10.0.2.3',
        '-t', `${LOOPBACK}/${FORWARD_PORT}:${IPERF_PORT}`,
      ],
      guestIp: '10.0.2.15', gateway: '10.0.2.2', hostIp: '10.0.2.2', dns: '10.0.2.3',
    },
  ];
}

function apiOf({ dir }: PeerPlace): string {
  return join(dir, 'api.sock');
}

function post(socketPath: string, path: string, body: unknown): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, method: 'POST', timeout: 5000 }, (response) => {
      response.resume();
      response.on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`${path}: HTTP ${response.statusCode}`))));
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}
