/*
 * Connections that a resumed guest still believes in.
 *
 * The network on which a saved container goes on knows none of its connections. One that sends is told so by a reset; one that waits for its
 * peer would wait for ever. So the agent names them once it has an address again, and each gets a SYN that seems to come from its
 * peer: RFC 5961 §4.2 has it answered by an ACK of what was received last, and the network answers that ACK, which belongs to nothing, by a
 * reset with exactly this number (RFC 9293 §3.10.7.1), which is taken. A connection that is alive ignores all this but for one ACK.
 */
#ifndef ORPHAN_H
#define ORPHAN_H

/** `LOCAL REMOTE` as /proc/net/tcp and tcp6 write them: words of 8 hexadecimal digits in the guest's byte order, a colon, the port. Anything
 *  else is ignored. */
void orphan_reset(const char *line);

#endif
