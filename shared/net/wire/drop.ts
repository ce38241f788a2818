/** Every reason for which a frame from a peer dies. Closed, so that each is counted by name and none is a surprise. */
export const DROP_REASONS = [
  'ethernet-truncated', 'ethernet-not-for-us', 'ethernet-unknown-type', 'ethernet-bad-source', 'ethernet-oversized',
  'arp-truncated', 'arp-unsupported', 'arp-bad-sender',
  'ipv4-truncated', 'ipv4-bad-version', 'ipv4-bad-header-length', 'ipv4-bad-length', 'ipv4-bad-checksum', 'ipv4-bad-source',
  'ipv4-bad-destination', 'ipv4-unknown-protocol', 'ipv4-ttl-exceeded', 'ipv4-bad-fragment', 'ipv4-fragment-overlap', 'ipv4-fragment-cap',
  'ipv4-fragment-timeout',
  'icmp-truncated', 'icmp-bad-checksum', 'icmp-unsupported', 'icmp-unrelated', 'icmp-ping-cap', 'icmp-denied',
  'ipv6-truncated', 'ipv6-bad-version', 'ipv6-bad-extension', 'ipv6-bad-source', 'ipv6-bad-destination', 'ipv6-unknown-protocol',
  'ipv6-hops-exceeded', 'ipv6-bad-fragment', 'ipv6-fragment-overlap', 'ipv6-fragment-cap', 'ipv6-fragment-timeout', 'ipv6-address-cap',
  'ipv6-neighbor-cap', 'icmpv6-truncated', 'icmpv6-bad-checksum', 'icmpv6-unsupported', 'icmpv6-unrelated', 'ndp-malformed',
  'udp-truncated', 'udp-bad-length', 'udp-bad-checksum', 'udp-no-listener', 'udp-denied', 'udp-filtered',
  'tcp-truncated', 'tcp-bad-offset', 'tcp-bad-checksum', 'tcp-bad-options', 'tcp-bad-flags', 'tcp-no-connection', 'tcp-flow-cap',
  'tcp-out-of-window', 'tcp-reassembly-cap', 'tcp-low-ttl',
  'dhcp-truncated', 'dhcp-malformed', 'dhcp-unsupported', 'dhcp-pool-empty',
  'dns-malformed', 'dns-cap',
  'switch-port-full', 'switch-table-full', 'to-guest-queue-full', 'to-guest-no-neighbor', 'link-closed',
] as const;

export type Drop = (typeof DROP_REASONS)[number];
