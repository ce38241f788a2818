import { expect, test } from 'vitest';
import { isAllowed } from '../shared/net/nat/policy.ts';
import { FakeHostNet } from '../shared/net/services/fake-host-net.ts';
import { VirtualNetwork } from '../shared/net/services/network.ts';
import { VirtualClock, SeededRandom } from '../shared/net/stack/fixture/virtual-clock.ts';
import { formatIpv4, formatMac, parseIpv4, type Ipv4 } from '../shared/net/wire/addr.ts';
import { parseNetworkFile } from './network-file.ts';

const ip = (text: string): Ipv4 => parseIpv4(text)!;
const parse = (value: object): ReturnType<typeof parseNetworkFile> => parseNetworkFile(JSON.stringify(value));

/** What gvproxy's own example says, in JSON. */
const GVPROXY = {
  'log-level': 'info',
  'stack': {
    mtu: 1500, subnet: '192.168.127.0/24', gatewayIP: '192.168.127.1', deviceIP: '192.168.127.2', gatewayMacAddress: '5a:94:ef:e4:0c:dd',
    dns: [{ name: 'containers.internal.', records: [{ name: 'gateway', ip: '192.168.127.1' }, { name: 'host', ip: '192.168.127.254' }] }],
    forwards: { '127.0.0.1:2222': '192.168.127.2:22', 'udp::5353': '192.168.127.2:53' },
    nat: { '192.168.127.254': '127.0.0.1' }, gatewayVirtualIPs: ['192.168.127.254', '192.168.127.253'],
    dhcpStaticLeases: { '192.168.127.2': '5a:94:ef:e4:0c:ee' }, vpnKitUUIDMacAddresses: {}, dnsSearchDomains: ['a.example.', 'example'],
  },
};

test("gvproxy's own configuration, in JSON", () => {
  const { config, forwards, ignored } = parse(GVPROXY);
  expect(ignored).toEqual(['log-level', 'vpnKitUUIDMacAddresses']);
  expect(forwards).toEqual([
    { protocol: 'tcp', hostIp: ip('127.0.0.1'), hostPort: 2222, guestIp: ip('192.168.127.2'), guestPort: 22 },
    { protocol: 'udp', hostIp: 0, hostPort: 5353, guestIp: ip('192.168.127.2'), guestPort: 53 },
  ]);
  expect([...config.hostAliases!].map(([from, to]) => `${formatIpv4(from)} ${formatIpv4(to)}`)).toEqual(['192.168.127.254 127.0.0.1', '192.168.127.253 192.168.127.253']);
  expect([...config.staticLeases!].map(([mac, to]) => `${formatMac(mac)} ${formatIpv4(to)}`)).toEqual(['5a:94:ef:e4:0c:ee 192.168.127.2']);
  expect([config.searchDomains, formatIpv4(config.defaultGuestIp!), config.localNames!.size]).toEqual([['a.example', 'example'], '192.168.127.2', 0]);
  const network = new VirtualNetwork({ clock: new VirtualClock(), random: new SeededRandom(1), hostNet: new FakeHostNet(), config });
  expect(network.zones().map(({ name, records }) => [name, records.length])).toEqual([['containers.internal', 2]]);
  network.close();
});

test('a subnet of its own: what is not said follows from it', () => {
  const { config } = parse({ subnet: '10.9.8.0/28' });
  const shown = [config.gatewayIp!, config.defaultGuestIp!, config.poolStart!, config.poolEnd!, [...config.hostAliases!.keys()][0], config.localNames!.get('host.containers.internal')!, config.localNames!.get('gateway.containers.internal')!];
  expect(shown.map(formatIpv4)).toEqual(['10.9.8.1', '10.9.8.3', '10.9.8.3', '10.9.8.14', '10.9.8.14', '10.9.8.14', '10.9.8.1']);
  expect(formatIpv4(parse({ gatewayIP: '10.9.8.5', subnet: '10.9.8.0/28' }).config.localNames!.get('gateway.docker.internal')!)).toBe('10.9.8.5');
});

test('policy: rules in order; metadata addresses only when asked for; nothing goes out when all is blocked', () => {
  const allows = (file: object, address: string, port = 80): boolean => isAllowed(parse(file).config.policy!, 'tcp', ip(address), port);
  const policy = { otherwise: 'deny', rules: [{ allow: true, cidr: '10.0.0.0/8', ports: '80-90', protocol: 'tcp' }, { allow: true, cidr: '1.2.3.4', ports: 443 }] };
  expect([allows({ policy }, '10.1.1.1'), allows({ policy }, '10.1.1.1', 91), allows({ policy }, '1.2.3.4', 443), allows({ policy }, '8.8.8.8')]).toEqual([true, false, true, false]);
  expect([allows({}, '8.8.8.8'), allows({}, '169.254.169.254'), allows({ ec2MetadataAccess: true }, '169.254.169.254')]).toEqual([true, false, true]);
  expect([allows({ blockAllOutbound: true, policy }, '10.1.1.1'), allows({ policy: {} }, '8.8.8.8')]).toEqual([false, true]);
});

test.each([
  ['{', /no JSON/], ['[]', /the file is not an object/], ['{"stack": 1}', /stack is not an object/], ['{"stack": {}, "x": 1}', /x is no setting beside/], ['{"mtuu": 1}', /mtuu is no setting/],
  ['{"mtu": 100}', /mtu is a number from 576/], ['{"mtu": "1500"}', /mtu is a number/], ['{"subnet": "10.0.0.0"}', /subnet is a network/], ['{"subnet": "10.0.0.0/30"}', /subnet is a network/],
  ['{"gatewayIP": "10.0.0.1"}', /gateway 10.0.0.1 is not in 192.168.127.0\/24/], ['{"gatewayIP": 1}', /gatewayIP is not a string/], ['{"gatewayMacAddress": "x"}', /not a MAC/], ['{"dns": {}}', /dns is not a list/],
  ['{"dns": [{"records": [{"regexp": "(", "ip": "10.0.0.1"}]}]}', /dns error parsing regexp/], ['{"forwards": {"x": "y"}}', /forwards has/], ['{"forwards": {":80": ":80"}}', /forwards has/],
  ['{"nat": {"x": "127.0.0.1"}}', /nat "x" is not/], ['{"dhcpStaticLeases": {"192.168.127.255": "02:00:00:00:00:01"}}', /192.168.127.255, is everyone on the network/], ['{"blockAllOutbound": 1}', /true or false/],
  ['{"policy": {"otherwise": "x"}}', /otherwise/], ['{"policy": {"rules": [{}]}}', /policy.rules.allow is true or false/], ['{"policy": {"rules": [{"allow": true, "cidr": "x"}]}}', /cidr/],
  ['{"gatewayIP": "240.0.0.1"}', /gatewayIP "240.0.0.1" is reserved/], ['{"deviceIP": "127.0.0.1"}', /deviceIP "127.0.0.1" is the computer's own loopback/], ['{"deviceIP": "192.168.127.254"}', /192.168.127.254, is an alias/],
  ['{"subnet": "240.0.0.0/24"}', /subnet "240.0.0.0\/24" is reserved/], ['{"subnet": "127.0.0.0/8"}', /subnet "127.0.0.0\/8" is the computer/], ['{"subnet": "0.0.0.0/8"}', /is no host/], ['{"subnet": "224.0.0.0/24"}', /is a group/],
  ['{"dhcpStaticLeases": {"240.0.0.3": "02:00:00:00:00:01"}}', /"240.0.0.3" is reserved/], ['{"dhcpStaticLeases": {"192.168.127.1": "02:00:00:00:00:01"}}', /192.168.127.1, is the gateway/],
  ['{"nat": {"240.0.0.254": "127.0.0.1"}}', /nat "240.0.0.254" is reserved/], ['{"nat": {"192.168.127.254": "240.0.0.1"}}', /leads to 240.0.0.1, which is reserved/], ['{"nat": {"192.168.127.1": "127.0.0.1"}}', /alias 192.168.127.1 is the gateway/],
  ['{"gatewayVirtualIPs": ["255.255.255.255"]}', /is everyone on the link/], ['{"dns": [{"name": "x.", "records": [{"name": "a", "ip": "240.0.0.1"}]}]}', /240.0.0.1 is reserved/], ['{"dns": [{"name": "x.", "defaultIP": "224.0.0.1"}]}', /224.0.0.1 is a group/],
  ['{"forwards": {":80": "240.0.0.3:80"}}', /forwards lead to 240.0.0.3, which is reserved/], ['{"forwards": {":80": "10.0.0.3:80"}}', /forwards lead to 10.0.0.3, which is not in 192.168.127.0\/24/],
  ['{"policy": {"rules": [{"allow": true, "port": 1}]}}', /no member "port"/], ['{"policy": {"rules": [{"allow": true, "ports": "9-1"}]}}', /ports/], ['{"policy": {"rules": [{"allow": true, "protocol": "x"}]}}', /protocol/],
])('what is wrong is named: %s', (text, message) => {
  expect(() => parseNetworkFile(text)).toThrow(expect.objectContaining({ code: 'RELAY_CONFIG', message: expect.stringMatching(message) }));
});
