import { describe, expect, test } from 'vitest';
import { argumentsFit, guestArguments, hostnameFits, macOf, memoryFits, skipsStdin, withoutNetFlag } from './arguments.ts';
import { FOREIGN_IMAGE, type ImageInfo } from './image-info.ts';

const OURS: ImageInfo = { ...FOREIGN_IMAGE, ours: true, name: 'x', net: 'qemu' };
const fits = (info: ImageInfo, args: string[], net = true): string | null => argumentsFit(info, guestArguments(info, { args, env: {}, net }), []);

describe('flags that an image does not take are refused, with their name and what to do', () => {
  test.each([
    [['--memory=256', 'sh'], /^--memory: the memory of an image that container2wasm made.*Leave --memory out, or .*portside convert/],
    [['-memory', '256', 'sh'], /^-memory: the memory/],
    [['--hostname', 'box', 'sh'], /^--hostname: the host name of an image that container2wasm made/],
    [['--entrypoint', '/bin/sh', '--hostname=box'], /^--hostname: /],
    [['--foo', 'sh'], /^--foo is no flag of this image\. It takes --entrypoint, --no-stdin, --mac, --net, --external-bundle, --help; a command that begins with "-" goes behind "--"\.$/],
    [['-x'], /^-x is no flag/],
    [['--constructor', 'sh'], /^--constructor is no flag/],
    [['--mac', 'box', 'sh'], /^--mac takes an address such as .*not "box"/],
    [['--mac'], /^--mac takes a value/],
    [['--entrypoint'], /^--entrypoint takes a value/],
  ])('container2wasm\'s: %j', (args, words) => {
    expect(fits(FOREIGN_IMAGE, args)).toMatch(words);
  });

  test.each([
    [['--foo', 'sh'], /^--foo is no flag of this image\. It takes --entrypoint, --no-stdin, --tty, --no-tty, --mac, --hostname, --memory, --net, --external-bundle;/],
    [['--help'], /^--help is no flag/],
    [['--memory=9T', 'sh'], /^--memory takes 128 to 2048 .*not "9T"/],
    [['--mac=02:00', 'sh'], /^--mac takes an address/],
    [['--net=tap', 'sh'], /^--net takes qemu or socket, not "tap"/],
    [['--hostname'], /^--hostname takes a value/],
  ])('ours: %j', (args, words) => {
    expect(fits(OURS, args)).toMatch(words);
  });

  test.each([
    [FOREIGN_IMAGE, ['-entrypoint', '/bin/sh', '--no-stdin', '--mac=2:0:0:0:0:9', '--', '--memory=256']],
    // getopt_long_only takes beginnings.
    [FOREIGN_IMAGE, ['--entry', '/bin/sh', '-no-std', '-h', '--m=02:00:00:00:00:09']],
    [FOREIGN_IMAGE, ['--net=socket', 'sh', '--memory=256', '--foo']],
    [FOREIGN_IMAGE, ['-', '--foo']],
    [OURS, ['--memory', '1G', '--hostname=box', '-mac', '02-00-00-00-00-09', '--no-stdin', '--net=socket=listenfd=4', 'sh', '--foo']],
    [OURS, []],
  ])('what it takes passes: %#', (info, args) => {
    expect(fits(info, args)).toBeNull();
  });

  test('the same for what the host is told, by the name that it was told by', () => {
    expect(memoryFits(FOREIGN_IMAGE, 256, '?memory=')).toMatch(/^\?memory=: the memory .* Leave \?memory= out/);
    expect(memoryFits(FOREIGN_IMAGE, 256)).toBe(fits(FOREIGN_IMAGE, ['--memory=256']));
    expect(hostnameFits(FOREIGN_IMAGE, 'box')).toBe(fits(FOREIGN_IMAGE, ['--hostname=box']));
    expect([hostnameFits(OURS, 'box'), hostnameFits(FOREIGN_IMAGE, undefined), hostnameFits(FOREIGN_IMAGE, ''), memoryFits(OURS, 256)]).toEqual([null, null, null, null]);
  });
});

test('the MAC is the last one that the flags say', () => {
  const mac = (info: ImageInfo, args: string[], given = {}): string | null => macOf(info, guestArguments(info, { args, env: {}, net: true, ...given }));
  expect(mac(OURS, [])).toBe('02:00:00:00:00:01');
  expect(mac(OURS, [], { mac: '02:11:22:33:44:55' })).toBe('02:11:22:33:44:55');
  expect(mac(OURS, ['--mac', '02-AA-22-33-44-55', 'sh', '--mac', '1'], { mac: '02:11:22:33:44:55' })).toBe('02:aa:22:33:44:55');
  expect(mac(FOREIGN_IMAGE, ['--ma=02:11:22:33:44:66', '-entrypoint', '--mac'])).toBe('02:11:22:33:44:66');
  // What an image's own reader takes and ours does not is left to it: then whoever comes first has the address.
  expect(mac(FOREIGN_IMAGE, ['--mac=2:0:0:0:0:9'])).toBeNull();
  expect(macOf(OURS, ['x', 'sh'])).toBeNull();
});

test('--net is taken out, and nothing else changes', () => {
  expect(withoutNetFlag(['--net=socket', '-mac', 'M', '--net', 'qemu', '--foo', '--', '--net', 'x'])).toEqual(['-mac=M', '--foo', '--', '--net', 'x']);
  expect(withoutNetFlag(['--entrypoint', '--net', '--no-stdin', 'sh', '--net=x'])).toEqual(['--entrypoint=--net', '--no-stdin', 'sh', '--net=x']);
  expect([skipsStdin(['--mac', '--no-stdin', 'x']), skipsStdin(['--no-stdin'])]).toEqual([false, true]);
});
