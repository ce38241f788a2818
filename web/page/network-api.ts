/**
 * What the container's network tells of itself and can be asked to do: the API of relay/api/network-api.ts, called by whoever holds
 * the session. What comes from there is checked, not trusted. Every call rejects with a sentence for the user.
 */
import type { NetworkReply } from '../protocol.ts';

export type CallNetwork = (path: string, body?: object | null) => Promise<NetworkReply | null>;

export interface Flow {
  protocol: string;
  from: 'guest' | 'host';
  /** `ADDRESS:PORT` of the guest, and of its peer as the guest sees it */
  guest: string;
  remote: string;
  bytesFromGuest: number;
  bytesToGuest: number;
  ageMs: number;
  state: string;
}

export interface DnsQuery {
  name: string;
  type: string;
  /** who knew the answer: `gateway`, `cache`, `resolver` */
  via: string;
  ageMs: number;
  tookMs: number;
  status: string;
  answers: string[];
}

export interface AddressLease {
  ip: string;
  mac: string;
}

/** A port of the relay's machine that leads into the container, and was opened from here or elsewhere. */
export interface OpenPort {
  /** `IP:PORT` */
  host: string;
  guest: number;
  protocol: string;
}

const FLOWS_MAX = 200;
const ROWS_MAX = 256;

export class NetworkApi {
  /** Any path of that API, by POST with a `body`. Null where nobody can be asked. */
  readonly call: CallNetwork;

  constructor(call: CallNetwork) {
    this.call = call;
  }

  /** `total` counts all of them. */
  async flows(): Promise<{ total: number; flows: Flow[] }> {
    const answer = record(await this.#ask(`/flows?limit=${FLOWS_MAX}`));
    return {
      total: number(answer['total']),
      flows: list(answer['flows']).map((one) => ({
        protocol: text(one['protocol']), from: one['from'] === 'host' ? 'host' : 'guest', guest: text(one['guest']), remote: text(one['remote']),
        bytesFromGuest: number(one['bytesFromGuest']), bytesToGuest: number(one['bytesToGuest']), ageMs: number(one['ageMs']), state: text(one['state']),
      })),
    };
  }

  async leases(): Promise<AddressLease[]> {
    return Object.entries(record(await this.#ask('/leases'))).slice(0, ROWS_MAX).map(([ip, mac]) => ({ ip, mac: text(mac) }));
  }

  /** The newest first. */
  async dnsLog(): Promise<DnsQuery[]> {
    return list(await this.#ask('/services/dns/log')).map((one) => ({
      name: text(one['name']), type: text(one['type']), via: text(one['via']), ageMs: number(one['ageMs']), tookMs: number(one['tookMs']), status: text(one['status']),
      answers: Array.isArray(one['answers']) ? one['answers'].slice(0, 16).map(text) : [],
    }));
  }

  async openPorts(): Promise<OpenPort[]> {
    return list(await this.#ask('/services/forwarder/all')).flatMap((one) => {
      const guest = /:(\d{1,5})$/.exec(text(one['remote']))?.[1];
      return guest === undefined ? [] : [{ host: text(one['local']), guest: Number(guest), protocol: text(one['protocol']) }];
    });
  }

  /** Lets the relay's machine lead a free port of its 127.0.0.1 to a TCP port of the container. */
  async openPort(guest: number): Promise<OpenPort> {
    const before = new Set((await this.openPorts()).map(({ host }) => host));
    await this.#ask('/services/forwarder/expose', { local: '127.0.0.1:0', remote: `:${guest}`, protocol: 'tcp' });
    const opened = (await this.openPorts()).find((one) => one.guest === guest && one.protocol === 'tcp' && !before.has(one.host));
    if (opened === undefined) throw new Error('The relay opened no port.');
    return opened;
  }

  async closePort({ host, protocol }: OpenPort): Promise<void> {
    await this.#ask('/services/forwarder/unexpose', { local: host, protocol });
  }

  async #ask(path: string, body: object | null = null): Promise<unknown> {
    let reply: NetworkReply | null;
    try {
      reply = await this.call(path, body);
    } catch {
      throw new Error('The relay does not answer.');
    }
    if (reply === null) throw new Error('This network tells nothing about itself.');
    if (reply.status !== 200) throw new Error(complaint(reply));
    return reply.text.trim() === '' ? null : parsed(reply.text);
  }
}

/** JSON with a message, or gvproxy's plain text. */
function complaint({ status, text: body }: NetworkReply): string {
  const message = record(parsed(body))['message'];
  const said = typeof message === 'string' ? message : body.trim();
  return said === '' ? `The relay answers ${status}.` : `The relay says: ${said.slice(0, 300)}`;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : {};
}

function list(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.slice(0, ROWS_MAX).map(record) : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 256) : '';
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : 0;
}
