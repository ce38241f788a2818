/*
 * Linux's numbers for what can go wrong with files: what the guest is told.
 */
#ifndef LINUX_ERRNO_H
#define LINUX_ERRNO_H

#define E_PERM 1
#define E_NOENT 2
#define E_INTR 4
#define E_IO 5
#define E_NXIO 6
#define E_BADF 9
#define E_AGAIN 11
#define E_NOMEM 12
#define E_ACCES 13
#define E_BUSY 16
#define E_EXIST 17
#define E_XDEV 18
#define E_NOTDIR 20
#define E_ISDIR 21
#define E_INVAL 22
#define E_NFILE 23
#define E_MFILE 24
#define E_TXTBSY 26
#define E_FBIG 27
#define E_NOSPC 28
#define E_SPIPE 29
#define E_ROFS 30
#define E_MLINK 31
#define E_NAMETOOLONG 36
#define E_NOTEMPTY 39
#define E_LOOP 40
#define E_OVERFLOW 75
#define E_OPNOTSUPP 95
#define E_STALE 116
#define E_DQUOT 122

#endif
