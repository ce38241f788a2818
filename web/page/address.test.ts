import { describe, expect, it } from 'vitest';
import { parseAddress, withImage } from './address.ts';

const PAGE = 'http://localhost:8080/';
const at = (query: string, page = PAGE) => parseAddress(`${page}${query}`);
const problem = (query: string, page = PAGE) => {
  const address = at(query, page);
  return 'parameter' in address ? `${address.parameter}: ${address.problem}` : null;
};

describe('parseAddress', () => {
  it('asks for the default image with the relay and no command', () => {
    const usual = { image: null, argv: [], net: { kind: 'relay', orBrowser: true }, port: null, translate: 'on' };
    expect(at('')).toEqual(usual);
    expect(at('?image=&cmd=&net=')).toEqual(usual);
    expect(at('?utm_source=x#top')).toEqual(usual);
  });

  it('tells names from URLs by their slash', () => {
    expect(at('?image=debian')).toMatchObject({ image: { name: 'debian' } });
    expect(at('?image=https://example.org/a.wasm')).toMatchObject({ image: { url: 'https://example.org/a.wasm' } });
    expect(at('?image=./a.wasm', 'http://localhost/demo/')).toMatchObject({ image: { url: 'http://localhost/demo/a.wasm' } });
    expect(at('?image=/images/busybox.wasm')).toMatchObject({ image: { url: 'http://localhost:8080/images/busybox.wasm' } });
  });

  it('refuses images that fetch cannot bring', () => {
    expect(problem('?image=file:///etc/passwd')).toBe("image: an image can't be fetched from file:");
    expect(problem('?image=javascript:/alert(1)')).toBe("image: an image can't be fetched from javascript:");
    expect(problem('?image=http://:x/')).toBe('image: this is not a URL');
  });

  it('splits the command', () => {
    expect(at("?cmd=sh%20-c%20'ls%20-l;%20id'")).toMatchObject({ argv: ['sh', '-c', 'ls -l; id'] });
    expect(at('?cmd=ls+-l')).toMatchObject({ argv: ['ls', '-l'] });
    expect(problem("?cmd=echo%20'")).toBe('cmd: a single quote is never closed');
    expect(problem('?cmd=a%00b')).toBe('cmd: it contains a NUL character');
  });

  it('caps the command at 900 bytes', () => {
    expect(problem(`?cmd=${'x'.repeat(900)}`)).toBeNull();
    expect(problem(`?cmd=${'x'.repeat(901)}`)).toBe('cmd: it is longer than 900 bytes');
    expect(problem(`?cmd=${'é'.repeat(451)}`)).toBe('cmd: it is longer than 900 bytes');
  });

  it('knows a port to show', () => {
    expect(at('?ports=8080')).toMatchObject({ port: 8080 });
    for (const ports of ['0', '65536', '80,81', 'x', '-1']) expect(problem(`?ports=${ports}`)).toBe('ports: this is no port');
  });

  it('reads the MTU that a relay is asked for', () => {
    expect(at('?mtu=65520')).toMatchObject({ net: { kind: 'relay', mtu: 65520 } });
    expect(at('?net=relay=https://relay.example&mtu=576')).toMatchObject({ net: { kind: 'relay', origin: 'https://relay.example', mtu: 576 } });
    expect(at('?mtu=')).toMatchObject({ net: { kind: 'relay' } });
    for (const wrong of ['575', '65521', '1e3', '-1', 'jumbo']) expect(problem(`?mtu=${wrong}`), wrong).toBe('mtu: no network has such an MTU');
    expect(problem('?net=none&mtu=1500')).toBe('mtu: only a relay can be asked for it');
  });

  it('reads the memory, and says what it can be', () => {
    expect(at('?memory=1G')).toMatchObject({ memoryMiB: 1024 });
    expect(at('?memory=')).not.toHaveProperty('memoryMiB');
    expect(problem('?memory=4G')).toBe('memory: a container can’t have so much');
    expect(at('?memory=lots')).toMatchObject({ parameter: 'memory', value: 'lots', advice: expect.stringContaining('128 to 2048') });
  });

  it('lets the machine translate unless it is told not to', () => {
    expect(at('?translate=off')).toMatchObject({ translate: 'off' });
    for (const on of ['?translate=on', '?translate=']) expect(at(on)).toMatchObject({ translate: 'on' });
    expect(problem('?translate=no')).toBe('translate: it is on or off');
  });

  it('knows the networks', () => {
    expect(at('?net=relay')).toMatchObject({ net: { kind: 'relay' } });
    expect(at('?net=relay=https://relay.example:8443')).toMatchObject({ net: { kind: 'relay', origin: 'https://relay.example:8443' } });
    expect(at('?net=relay=http://localhost:8081/', 'https://example.com/')).toMatchObject({ net: { kind: 'relay', origin: 'http://localhost:8081' } });
    expect(at('?net=browser')).toMatchObject({ net: { kind: 'browser' } });
    expect(at('?net=browser=lab-1')).toMatchObject({ net: { kind: 'browser', network: 'lab-1' } });
    expect(problem('?net=browser=a b')).toBe('net: a shared network has a name of letters, digits, - and _');
    expect(at('?net=none')).toMatchObject({ net: { kind: 'none' } });
    expect(at('?net=delegate=ws://localhost:8888')).toMatchObject({ net: { kind: 'delegate', url: 'ws://localhost:8888/' } });
    expect(at('?net=delegate=wss://example.org/link?a=b%26c')).toMatchObject({ net: { kind: 'delegate', url: 'wss://example.org/link?a=b&c' } });
  });

  it('says what is wrong with other networks', () => {
    expect(problem('?net=tor')).toBe('net: there is no such network');
    for (const target of ['', 'localhost:8888', 'http://localhost:8888', 'ws://']) {
      expect(problem(`?net=delegate=${target}`)).toBe('net: a delegate needs a WebSocket address (ws:// or wss://)');
    }
    for (const target of ['', 'localhost:8080', 'ws://localhost:8080', '/', 'http://x/y', 'http://u@x', 'http://x/?a', 'http://x/#a', 'http://']) {
      expect(problem(`?net=relay=${encodeURIComponent(target)}`)).toBe('net: a relay needs the address of a server (https:// or http://), and nothing behind it');
    }
    expect(problem('?net=relay=http://example.org', 'https://example.com/')).toBe('net: a page from https:// can only reach https:// addresses');
    expect(problem('?net=delegate=ws://u:p@localhost:1')).toBe('net: a WebSocket address has no user name and no #fragment');
    expect(problem('?net=delegate=ws://example.org:1', 'https://example.com/')).toBe('net: a page from https:// can only reach wss:// addresses');
    expect(problem('?net=delegate=ws://127.0.0.1:1', 'https://example.com/')).toBeNull();
  });
});

describe('withImage', () => {
  it('changes the image, drops the command, keeps the network', () => {
    expect(withImage(`${PAGE}?net=none&cmd=ls&image=debian`, 'busybox')).toBe(`${PAGE}?net=none&image=busybox`);
    expect(withImage(PAGE, 'https://example.org/a b.wasm?x=1&y=2')).toBe(`${PAGE}?image=https://example.org/a+b.wasm?x%3D1%26y%3D2`.replace('?x', '%3Fx'));
  });
});
