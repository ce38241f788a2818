/*
 * virtio-9p (virtio 1.2 §5.9 names the device, 9P2000.L the messages): directories of the host for the guest.
 *
 * Theory of operation
 *
 * One device per directory, each with a mount tag, in the slots from SLOT_SHARE on. They appear when the machine starts, behind the snapshot:
 * until then their slots are empty, which Linux's virtio_mmio takes for "no device"; the agent binds it to them again when the control
 * channel names them (PS_MOUNT_N). A request is served while the driver's notification lasts: nothing is ever under way, so Tflush has
 * nothing to do. Data of Tread and Twrite moves between the host and the guest's pages without a copy.
 *
 * Files are the host's, so are times, sizes, links and the end that is appended to. Permission bits are where the host tells them; else,
 * and for owners always, what the guest sets holds for as long as the machine runs (p9_owners.h). Whatever nobody has set belongs to the owner
 * that the mount names (aname, "UID:GID"), 0755 and 0644. Not served, with the answer that a program understands: extended attributes
 * (EOPNOTSUPP), device nodes and FIFOs (EPERM). Locks are granted: one kernel is the only client, and keeps them among its programs by itself.
 * Free space is not known: a tebibyte.
 *
 * The guest is hostile: fids that are not there, lengths beyond the message, names with "/" or ".." are errors to it, numbers of fids and
 * descriptors have caps (p9_tree.h). Only names of a single component reach a path, so what a path can reach is the host's directory and
 * below; symbolic links are the guest's to follow, and the host's sandbox holds if it lies about what is a directory.
 *
 * A machine that was saved finds other descriptors when it goes on: the directory is the one of the same name, if there is one, and what was open
 * is opened again by its path. What is not there any more, a file that was removed while it was open for instance, is EBADF from then on.
 */
#ifndef VIRTIO_9P_H
#define VIRTIO_9P_H

#include "base.h"

/** Offers directory `fd` of the host as share `index`, tag "share0" and so on. */
void p9_init(u32 index, i32 fd);
/** Goes on with share `index` after a save, in directory `fd`; negative: nobody offers it now. */
void p9_resume(u32 index, i32 fd);
/** NUL-terminated. */
const char *p9_tag(u32 index);

#endif
