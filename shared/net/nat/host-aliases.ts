/** From the address that a guest names to the one that the host dials: aliases stand for the host itself, handles for IPv6 addresses. */
import type { Ipv6Table } from '../stack/ipv6-table.ts';
import type { Ipv4 } from '../wire/addr.ts';
import { isV6 } from '../wire/addr.ts';
import type { IpAddress, Ipv6 } from '../wire/addr6.ts';
import { isSameIpv6 } from '../wire/addr6.ts';

export class HostAliases {
  readonly #addresses: Ipv6Table;
  readonly #v4: ReadonlyMap<Ipv4, Ipv4>;
  readonly #v6: readonly (readonly [Ipv6, Ipv6])[];

  constructor(addresses: Ipv6Table, v4: ReadonlyMap<Ipv4, Ipv4>, v6: readonly (readonly [Ipv6, Ipv6])[]) {
    this.#addresses = addresses;
    this.#v4 = v4;
    this.#v6 = v6;
  }

  isAlias(ip: Ipv4): boolean {
    return isV6(ip) ? this.#hostAddress6(ip) !== null : this.#v4.has(ip);
  }

  hostAddress(ip: Ipv4): IpAddress {
    return isV6(ip) ? this.#hostAddress6(ip) ?? this.#addresses.addressOf(ip) : this.#v4.get(ip) ?? ip;
  }

  #hostAddress6(handle: Ipv4): Ipv6 | null {
    const ip = this.#addresses.addressOf(handle);
    return this.#v6.find(([alias]) => isSameIpv6(alias, ip))?.[1] ?? null;
  }
}
