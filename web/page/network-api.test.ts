import { describe, expect, test } from 'vitest';
import { NetworkApi } from './network-api.ts';

/** An API whose answers are given, by path. */
function api(answers: Record<string, { status?: number; text: string } | null>): { api: NetworkApi; calls: [string, unknown][] } {
  const calls: [string, unknown][] = [];
  return {
    calls,
    api: new NetworkApi(async (path, body) => {
      calls.push([path, body]);
      const answer = answers[path.split('?')[0]] ?? null;
      return answer === null ? null : { status: answer.status ?? 200, text: answer.text };
    }),
  };
}

describe('the API of a network', () => {
  test('flows, leases and names; what is malformed is empty', async () => {
    const good = api({
      '/flows': { text: JSON.stringify({ total: 7, flows: [{ protocol: 'tcp', from: 'host', guest: '1:2', remote: '3:4', host: 'x', bytesFromGuest: 5, bytesToGuest: -6, ageMs: 7, state: 'established' }] }) },
      '/leases': { text: '{"192.168.127.3":"02:00:00:00:00:01","x":7}' },
      '/services/dns/log': { text: '[{"name":"a.example","type":"A","via":"cache","ageMs":1,"tookMs":2,"status":"NOERROR","answers":["1.2.3.4",5]}]' },
    }).api;
    expect(await good.flows()).toEqual({ total: 7, flows: [{ protocol: 'tcp', from: 'host', guest: '1:2', remote: '3:4', bytesFromGuest: 5, bytesToGuest: 0, ageMs: 7, state: 'established' }] });
    expect(await good.leases()).toEqual([{ ip: '192.168.127.3', mac: '02:00:00:00:00:01' }, { ip: 'x', mac: '' }]);
    expect(await good.dnsLog()).toEqual([{ name: 'a.example', type: 'A', via: 'cache', ageMs: 1, tookMs: 2, status: 'NOERROR', answers: ['1.2.3.4', ''] }]);
    for (const nonsense of ['', 'x', '[]', 'null', '7', '[7,null,"x"]', '{"flows":{}}']) {
      const bad = api({ '/flows': { text: nonsense }, '/leases': { text: nonsense }, '/services/dns/log': { text: nonsense }, '/services/forwarder/all': { text: nonsense } }).api;
      expect((await bad.flows()).flows).toEqual([]);
      await bad.leases();
      for (const one of await bad.dnsLog()) expect(one.name).toBe('');
      expect(await bad.openPorts()).toEqual([]);
    }
  });

  test('a port is opened on a free port, and the one that was not there before is it', async () => {
    let all = '[{"local":"127.0.0.1:1","remote":"192.168.127.3:80","protocol":"tcp"}]';
    const calls: unknown[] = [];
    const opening = new NetworkApi(async (path, body) => {
      if (path === '/services/forwarder/expose') {
        calls.push(body);
        all = '[{"local":"127.0.0.1:1","remote":"192.168.127.3:80","protocol":"tcp"},{"local":"127.0.0.1:2","remote":"192.168.127.3:80","protocol":"udp"},{"local":"127.0.0.1:3","remote":"192.168.127.3:80","protocol":"tcp"}]';
        return { status: 200, text: '' };
      }
      return { status: 200, text: all };
    });
    expect(await opening.openPort(80)).toEqual({ host: '127.0.0.1:3', guest: 80, protocol: 'tcp' });
    expect(calls).toEqual([{ local: '127.0.0.1:0', remote: ':80', protocol: 'tcp' }]);
    const { api: closing, calls: closed } = api({ '/services/forwarder/unexpose': { text: '' } });
    await closing.closePort({ host: '127.0.0.1:3', guest: 80, protocol: 'tcp' });
    expect(closed).toEqual([['/services/forwarder/unexpose', { local: '127.0.0.1:3', protocol: 'tcp' }]]);
  });

  test('every failure is a sentence', async () => {
    await expect(api({}).api.flows()).rejects.toThrow('This network tells nothing about itself.');
    await expect(api({ '/flows': { status: 403, text: '{"error":"X","message":"not you"}' } }).api.flows()).rejects.toThrow('The relay says: not you');
    await expect(api({ '/flows': { status: 500, text: 'proxy not found\n' } }).api.flows()).rejects.toThrow('The relay says: proxy not found');
    await expect(api({ '/flows': { status: 502, text: '' } }).api.flows()).rejects.toThrow('The relay answers 502.');
    await expect(new NetworkApi(() => Promise.reject(new Error('x'))).leases()).rejects.toThrow('The relay does not answer.');
    await expect(api({ '/services/forwarder/all': { text: '[]' }, '/services/forwarder/expose': { text: '' } }).api.openPort(80)).rejects.toThrow('opened no port');
  });
});
