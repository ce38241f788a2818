/** From the address that a guest names to the one that the host dials: aliases stand for the host itself, handles for IPv6 addresses. */
import type { FlowIp, Ipv6Handle, Ipv6Table } from '../stack/ipv6-table.ts';
import { isV6 } from '../stack/ipv6-table.ts';
import type { Ipv4 } from '../wire/addr.ts';
import { IPV4_LOOPBACK } from '../wire/addr.ts';
import type { IpAddress, Ipv6 } from '../wire/addr6.ts';
import { IPV6_LOOPBACK, isSameIpv6 } from '../wire/addr6.ts';

export class HostAliases {
  readonly #addresses: Ipv6Table;
  readonly #v4: ReadonlyMap<Ipv4, Ipv4>;
  readonly #v6: readonly (readonly [Ipv6, Ipv6])[];

  constructor(addresses: Ipv6Table, v4: ReadonlyMap<Ipv4, Ipv4>, v6: readonly (readonly [Ipv6, Ipv6])[]) {
    this.#addresses = addresses;
    this.#v4 = v4;
    this.#v6 = v6;
  }

  isAlias(ip: FlowIp): boolean {
    return isV6(ip) ? this.#hostAddress6(ip) !== null : this.#v4.has(ip);
  }

  hostAddress(ip: FlowIp): IpAddress {
    return isV6(ip) ? this.#hostAddress6(ip) ?? this.#addresses.addressOf(ip) : this.#v4.get(ip) ?? ip;
  }

  /**
   * Where else a service may listen that is not found at `hostAddress`: the alias's name leads to IPv6 first, while many servers on a
   * developer's machine listen on 127.0.0.1 alone, and not every client tries a second address.
   */
  secondAddress(ip: FlowIp): IpAddress | null {
    const host = isV6(ip) ? this.#hostAddress6(ip) : null;
    return host !== null && isSameIpv6(host, IPV6_LOOPBACK) ? IPV4_LOOPBACK : null;
  }

  #hostAddress6(handle: Ipv6Handle): Ipv6 | null {
    const ip = this.#addresses.addressOf(handle);
    return this.#v6.find(([alias]) => isSameIpv6(alias, ip))?.[1] ?? null;
  }
}
