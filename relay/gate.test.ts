import { describe, expect, test } from 'vitest';
import { Gate, parseOrigin, type RequestHeaders } from './gate.ts';

const LOCAL = { host: null, allowHosts: [], allowOrigins: [] };

describe('Host', () => {
  test('localhost only by default, with any port, in any case', () => {
    const gate = new Gate(LOCAL);
    for (const host of ['localhost', 'localhost:8080', 'LOCALHOST:1', 'localhost.', '127.0.0.1:8080', '[::1]', '[::1]:8080']) expect(gate.acceptsHost(host), host).toBe(true);
    const foreign = [
      undefined, '', 'evil.example', 'localhost.evil.example', 'evil.example:8080', '127.0.0.1.evil.example', '192.168.1.5', '[::2]', '::1',
      'localhost:8080:9', 'localhost:x', 'evil.example@localhost', 'localhost/..', 'localhost evil', '[::1', '0.0.0.0', 'localhost\r\nX: y',
    ];
    for (const host of foreign) expect(gate.acceptsHost(host), String(host)).toBe(false);
  });

  test('the address listened on, names that were allowed, hosts of allowed origins', () => {
    const gate = new Gate({ host: '192.168.1.5', allowHosts: ['Demo.Example'], allowOrigins: ['https://page.example:444'] });
    expect(['192.168.1.5:80', 'demo.example', 'page.example', 'localhost'].every((host) => gate.acceptsHost(host))).toBe(true);
    expect(['192.168.1.6', 'other.example'].some((host) => gate.acceptsHost(host))).toBe(false);
    expect(new Gate({ ...LOCAL, host: 'fd00::5' }).acceptsHost('[fd00::5]:8080')).toBe(true);
  });

  test('listening everywhere, any literal address and still no foreign name: rebinding needs a name', () => {
    for (const host of ['0.0.0.0', '::']) {
      const gate = new Gate({ ...LOCAL, host });
      expect(gate.acceptsHost('10.1.2.3:8080')).toBe(true);
      expect(gate.acceptsHost('[2001:db8::1]')).toBe(true);
      expect(gate.acceptsHost('evil.example')).toBe(false);
      expect(gate.acceptsHost('10.1.2.3.evil.example')).toBe(false);
    }
  });
});

test('Origin and Sec-Fetch-Site', () => {
  const gate = new Gate({ ...LOCAL, allowOrigins: ['https://friend.example'] });
  const host = 'localhost:8080';
  const own = 'http://localhost:8080';
  const cases: [RequestHeaders, string][] = [
    [{ host, origin: own }, 'own'],
    [{ host, origin: own, 'sec-fetch-site': 'same-origin' }, 'own'],
    [{ host, 'sec-fetch-site': 'same-origin' }, 'own'],
    [{ host, 'sec-fetch-site': 'none' }, 'own'],
    [{ host }, 'none'],
    // TLS ends in front of us; default ports are dropped on both sides.
    [{ host: 'localhost', origin: 'https://localhost' }, 'own'],
    [{ host: 'localhost:80', origin: 'http://localhost' }, 'own'],
    [{ host: 'localhost:443', origin: 'http://localhost' }, 'foreign'],
    [{ host, origin: 'https://friend.example' }, 'allowed'],
    [{ host, origin: 'https://Friend.example', 'sec-fetch-site': 'cross-site' }, 'allowed'],
    [{ host, origin: 'http://friend.example' }, 'foreign'],
    [{ host, origin: 'https://friend.example.evil.example' }, 'foreign'],
    [{ host, origin: 'https://evil.example' }, 'foreign'],
    [{ host, origin: 'http://localhost' }, 'foreign'],
    [{ host, origin: 'http://localhost:8081' }, 'foreign'],
    [{ host, origin: 'http://127.0.0.1:8080' }, 'foreign'],
    [{ host, origin: 'null' }, 'foreign'],
    [{ host, origin: '' }, 'foreign'],
    [{ host, origin: 'file://' }, 'foreign'],
    [{ host, origin: 'ftp://localhost:8080' }, 'foreign'],
    [{ host, origin: own, 'sec-fetch-site': 'cross-site' }, 'foreign'],
    [{ host, origin: own, 'sec-fetch-site': 'same-site' }, 'foreign'],
    [{ host, 'sec-fetch-site': 'cross-site' }, 'foreign'],
    [{ host, 'sec-fetch-site': 'same-site' }, 'foreign'],
  ];
  for (const [headers, verdict] of cases) expect([headers, gate.judgeOrigin(headers)]).toEqual([headers, verdict]);
  const open = new Gate({ ...LOCAL, allowOrigins: ['*'] });
  expect([open.openToAll, open.judgeOrigin({ host, origin: 'https://any.example' }), open.judgeOrigin({ host })]).toEqual([true, 'allowed', 'none']);
});

test('--allow-origin takes what browsers send, and nothing else', () => {
  expect(['https://A.example/', 'http://localhost:5173', 'https://a.example:443', '*'].map(parseOrigin)).toEqual(['https://a.example', 'http://localhost:5173', 'https://a.example', '*']);
  for (const wrong of ['a.example', 'https://a.example/path', 'ws://a.example', 'https://u@a.example', 'null', '']) expect(parseOrigin(wrong), wrong).toBeNull();
});
