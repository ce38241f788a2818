/*
 * Egress policy: which host-side destinations a guest may reach. First rule that matches decides; `otherwise` when
 * none does. Asked once per flow with the address after alias translation, so a rule sees what would really be dialled.
 */
import type { Cidr, Ipv4 } from '../wire/addr.ts';
import { inCidr } from '../wire/addr.ts';

export type PolicyProtocol = 'tcp' | 'udp' | 'icmp';

export interface PolicyRule {
  readonly allow: boolean;
  /** absent: any address */
  readonly cidr?: Cidr;
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

export function isAllowed(policy: Policy, protocol: PolicyProtocol, ip: Ipv4, port: number): boolean {
  for (const rule of policy.rules) {
    if (rule.protocol !== undefined && rule.protocol !== protocol) continue;
    if (rule.cidr !== undefined && !inCidr(ip, rule.cidr)) continue;
    if (rule.ports !== undefined && (port < rule.ports.first || port > rule.ports.last)) continue;
    return rule.allow;
  }
  return policy.otherwise === 'allow';
}
