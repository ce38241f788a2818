/*
 * Zones that the gateway answers for: gvproxy's model of a zone, a list of names and regular expressions with an address each.
 *
 * The first zone in whose name a question ends decides. Its records are tried in order, by the part of the name before the zone;
 * a record added later to the same zone comes first. Whether anybody else knows the name (a guest) is for the caller to
 * ask, then `defaultIp` counts, and after it the name does not exist. A zone with the empty name is the root: every question ends
 * in it. A question for the zone's own name is none of its records, and goes on as if there were no zone.
 *
 * The operator's regular expressions are trusted; what a guest asks is at most NAME_MAX characters of a parsed name.
 */
import { RelayError } from '../../relay-error.ts';
import type { Ipv4 } from '../wire/addr.ts';

export interface DnsRecord {
  /** lower case, relative to the zone; empty: only `regexp` counts */
  readonly name: string;
  readonly regexp: RegExp | null;
  readonly ip: Ipv4;
}

export interface DnsZone {
  /** lower case, without a final dot */
  readonly name: string;
  readonly records: readonly DnsRecord[];
  /** of names that no record has; null: they do not exist */
  readonly defaultIp: Ipv4 | null;
}

const ZONES_MAX = 256;
const RECORDS_MAX = 4096;
const NAME_MAX = 253;
const REGEXP_MAX = 1000;

export class DnsZones {
  readonly #zones: DnsZone[] = [];
  #records = 0;

  /** `names` are gathered into zones by what follows their first label. */
  constructor(names: ReadonlyMap<string, Ipv4>, zones: readonly DnsZone[]) {
    for (const [name, ip] of names) {
      const dot = name.indexOf('.');
      const zone = dot < 0 ? '' : name.slice(dot + 1);
      const known = this.#zones.find((other) => other.name === zone);
      const records = [...known?.records ?? [], { name: dot < 0 ? name : name.slice(0, dot), regexp: null, ip }];
      if (known === undefined) this.#zones.push({ name: zone, records, defaultIp: null });
      else this.#zones[this.#zones.indexOf(known)] = { ...known, records };
      this.#records++;
    }
    for (const zone of zones) this.add(zone);
  }

  all(): readonly DnsZone[] {
    return this.#zones;
  }

  /** A zone of a name that is there already gets the new records in front of its own, and the new `defaultIp`. */
  add(zone: DnsZone): void {
    const at = this.#zones.findIndex((other) => other.name === zone.name);
    if (at < 0 && this.#zones.length >= ZONES_MAX) throw new RelayError('RELAY_LIMIT', `no more than ${ZONES_MAX} DNS zones`);
    if (this.#records + zone.records.length > RECORDS_MAX) throw new RelayError('RELAY_LIMIT', `no more than ${RECORDS_MAX} DNS records`);
    this.#records += zone.records.length;
    if (at < 0) this.#zones.push(zone);
    else this.#zones[at] = { ...zone, records: [...zone.records, ...this.#zones[at].records] };
  }

  /** The zone that decides about `name`, and the address that a record of it gives. Null when no zone does. */
  find(name: string): { zone: DnsZone; ip: Ipv4 | null } | null {
    if (name === '' || name.length > NAME_MAX) return null;
    for (const zone of this.#zones) {
      if (zone.name !== '' && !name.endsWith(`.${zone.name}`)) continue;
      const rest = zone.name === '' ? name : name.slice(0, -zone.name.length - 1);
      const record = zone.records.find((one) => (one.name !== '' && one.name === rest) || one.regexp?.test(rest) === true);
      return { zone, ip: record?.ip ?? null };
    }
    return null;
  }
}

/** `name` as zones and records keep it, or null: too long, or not of a name's characters. */
export function zoneName(name: string): string | null {
  const bare = name.endsWith('.') ? name.slice(0, -1) : name;
  return bare.length <= NAME_MAX && /^[!-~]*$/.test(bare) && !bare.startsWith('.') ? bare.toLowerCase() : null;
}

/** A regular expression as Go writes it, as far as JavaScript has the same: `(?i)` in front is its flag. Null when it can't be read. */
export function zoneRegexp(source: string): RegExp | null {
  if (source.length > REGEXP_MAX) return null;
  try {
    // Names are lower case here, so the flag changes nothing but what the operator may write in capitals.
    return source.startsWith('(?i)') ? new RegExp(source.slice(4), 'iu') : new RegExp(source, 'u');
  } catch {
    return null;
  }
}

/** The source that zoneRegexp was given. */
export function regexpSource(regexp: RegExp): string {
  return regexp.ignoreCase ? `(?i)${regexp.source}` : regexp.source;
}
