/*
 * Egress policy: which host-side destinations a guest may reach. First rule that matches decides; `otherwise` when
 * none does. Asked once per flow with the address after alias translation, so a rule sees what would really be dialled.
 */
import type { Cidr } from '../wire/addr.ts';
import type { Cidr6, IpAddress } from '../wire/addr6.ts';
import { isInNetwork } from '../wire/addr6.ts';

export type PolicyProtocol = 'tcp' | 'udp' | 'icmp';

export interface PolicyRule {
  readonly allow: boolean;
  /** of one family, which it is silent about the other of; absent: any address */
  readonly cidr?: Cidr | Cidr6;
  /** absent: any port */
  readonly ports?: { readonly first: number; readonly last: number };
  /** absent: any protocol */
  readonly protocol?: PolicyProtocol;
}

export interface Policy {
  readonly rules: readonly PolicyRule[];
  readonly otherwise: 'allow' | 'deny';
}

export const ALLOW_ALL: Policy = { rules: [], otherwise: 'allow' };

export function isAllowed(policy: Policy, protocol: PolicyProtocol, ip: IpAddress, port: number): boolean {
  for (const rule of policy.rules) {
    if (rule.protocol !== undefined && rule.protocol !== protocol) continue;
    if (rule.cidr !== undefined && !isInNetwork(ip, rule.cidr)) continue;
    if (rule.ports !== undefined && (port < rule.ports.first || port > rule.ports.last)) continue;
    return rule.allow;
  }
  return policy.otherwise === 'allow';
}
