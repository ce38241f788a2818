/** Zones as gvproxy writes them: `{ Name, Records: [{ Name, IP, Regexp }], DefaultIP }`, names with a final dot. */
import { regexpSource, zoneName, zoneRegexp, type DnsRecord, type DnsZone } from '../../shared/net/services/dns-zones.ts';
import { formatIpv4, parseIpv4, specialUse, type Ipv4 } from '../../shared/net/wire/addr.ts';
import { ApiError } from './api-error.ts';
import { field, textField } from './json-body.ts';

export function zoneJson({ name, records, defaultIp }: DnsZone): object {
  return {
    Name: name === '' ? '' : `${name}.`,
    Records: records.map((record) => ({ Name: record.name, IP: formatIpv4(record.ip), Regexp: record.regexp === null ? null : regexpSource(record.regexp) })),
    DefaultIP: defaultIp === null ? '' : formatIpv4(defaultIp),
  };
}

/** Throws ApiError 400 when `value` is no zone. */
export function asZone(value: object): DnsZone {
  const records = field(value, 'Records') ?? [];
  if (!Array.isArray(records)) throw new ApiError(400, 'Records is not a list');
  const defaultIp = textField(value, 'DefaultIP');
  return { name: asName(textField(value, 'Name')), records: records.map(asRecord), defaultIp: defaultIp === '' ? null : asIp(defaultIp) };
}

function asRecord(value: unknown): DnsRecord {
  if (typeof value !== 'object' || value === null) throw new ApiError(400, 'a record is not an object');
  const source = textField(value, 'Regexp');
  const regexp = source === '' ? null : zoneRegexp(source);
  if (source !== '' && regexp === null) throw new ApiError(400, `error parsing regexp: ${source.slice(0, 100)}`);
  return { name: asName(textField(value, 'Name')), regexp, ip: asIp(textField(value, 'IP')) };
}

function asName(text: string): string {
  const name = zoneName(text);
  if (name === null) throw new ApiError(400, `not a DNS name: ${text.slice(0, 100)}`);
  return name;
}

function asIp(text: string): Ipv4 {
  const ip = parseIpv4(text);
  if (ip === null) throw new ApiError(400, `invalid IPv4 address: ${text.slice(0, 100)}`);
  // 0.0.0.0 and loopback are what block lists send names to.
  if (ip >>> 28 >= 14) throw new ApiError(400, `invalid IPv4 address: ${text} is ${specialUse(ip)}`);
  return ip;
}
