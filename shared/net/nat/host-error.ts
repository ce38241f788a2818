/** From a host socket's errno to what the guest gets to see. */
import { ICMP_ADMIN_PROHIBITED, ICMP_HOST_UNREACHABLE, ICMP_NET_UNREACHABLE } from '../wire/icmp.ts';

const EXHAUSTED: ReadonlySet<string | null> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EAGAIN', 'EADDRNOTAVAIL']);

/** The host lacks descriptors, memory or ports: its own trouble, which passes. */
export function isExhausted(error: string | null): boolean {
  return EXHAUSTED.has(error);
}

export type DialVerdict =
  /** RST */
  | { readonly kind: 'refuse' }
  /** ICMP destination unreachable */
  | { readonly kind: 'unreachable'; readonly code: number }
  /** nothing: the guest's own timer has decided, or will */
  | { readonly kind: 'silence' };

export function judgeDialError(error: string | null): DialVerdict {
  switch (error) {
    case 'ENETUNREACH':
    case 'ENETDOWN':
      return { kind: 'unreachable', code: ICMP_NET_UNREACHABLE };
    case 'EHOSTUNREACH':
    case 'EHOSTDOWN':
      return { kind: 'unreachable', code: ICMP_HOST_UNREACHABLE };
    case 'EACCES':
    case 'EPERM':
      return { kind: 'unreachable', code: ICMP_ADMIN_PROHIBITED };
    case 'ETIMEDOUT':
      return { kind: 'silence' };
    default:
      // ECONNREFUSED, and what is our host's trouble (EMFILE, EADDRNOTAVAIL): the guest should not wait for it.
      return { kind: 'refuse' };
  }
}
