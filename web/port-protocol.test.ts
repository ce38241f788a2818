import { expect, test } from 'vitest';
import { parsePortUrl, portUrl } from './port-protocol.ts';

const ROOT = 'https://x.test/demo/';
const SESSION = '0123456789abcdef'.repeat(2);

test('addresses of ports come back as they were made', () => {
  expect(parsePortUrl(portUrl(ROOT, SESSION, 80, '/a/b?c=/d'), ROOT)).toEqual({ session: SESSION, port: 80, path: '/a/b?c=/d' });
  expect(parsePortUrl(`${portUrl(ROOT, SESSION, 8080)}#part`, ROOT)).toEqual({ session: SESSION, port: 8080, path: '/' });
  expect(parsePortUrl(portUrl(ROOT, SESSION, 80, ''), ROOT)?.path).toBe('/');
  expect(parsePortUrl(portUrl(ROOT, SESSION, 80, '?q'), ROOT)?.path).toBe('/?q');
});

test.each([
  portUrl('https://other.test/demo/', SESSION, 80), portUrl(ROOT, 'short', 80), portUrl(ROOT, SESSION, 0), portUrl(ROOT, SESSION, 65_536),
  portUrl(`${ROOT}x/`, SESSION, 80), portUrl(ROOT, SESSION.toUpperCase(), 80), `${ROOT}portside-port/${SESSION}`, ROOT,
])('%s is none', (url) => expect(parsePortUrl(url, ROOT)).toBeNull());
