# The last step into the container, as a program of its own: what a shell can't do (join namespaces and have a child in them, give up
# capabilities, be another user with all of that user's groups), and what busybox does otherwise (its `nsenter` takes `ls` for its own
# applet before it looks into PATH).
#
#   enter command TTY PROGRAM [ARG...]     PID 1 of the container becomes the command
#   enter terminal TTY PROGRAM [ARG...]    a child in the namespaces of descriptors 5 to 9 (pid, uts, ipc, cgroup, mnt) does; waits for it
#
# Of the descriptors 0 to 2 those that are closed become TTY, by one open for reading and writing; where there is none any more, 4 is
# taken. It is the controlling terminal of a session of its own. TTY '' is none. From 3 on all are closed.
#
# Working directory and ids are data behind the code (image/enter.ts). The program is found as execvp(3) finds it. Exit status
# as container engines give it: 125 when the container can't be entered, 126 when the program can't be run, 127 when there is none.
#
# Assembled by image/assemble.ts, which knows the instructions below and no others; GNU as takes the file, too.
#
#   s0 argv of the program   s1 environment   s2 its name   s3 rest of PATH   s4 -errno that decides
#   s5 whether it is a terminal's   s6 TTY   s7 s8 descriptors

_start:
    ld t0, 0(sp)
    addi s0, sp, 32
    slli t0, t0, 3
    add s1, sp, t0
    addi s1, s1, 16
    ld s2, 0(s0)
    beqz s2, cannot_enter
    ld t0, 16(sp)
    ld s6, 24(sp)
    lbu s5, 0(t0)
    addi s5, s5, -99
    bnez s5, join

    # mount(MS_REC | MS_PRIVATE): what is mounted outside from now on stays there. unshare(CLONE_NEWCGROUP)
    li a0, 0
    la a1, slash
    li a2, 0
    li a3, 68
    slli a3, a3, 12
    li a4, 0
    li a7, 40
    ecall
    bnez a0, cannot_enter
    li a0, 32
    slli a0, a0, 20
    li a7, 97
    ecall
    bnez a0, cannot_enter
    j inside

    # setns; clone(SIGCHLD), because a PID namespace is for children; wait4
join:
    li s7, 5
    li s8, 10
join_one:
    mv a0, s7
    li a1, 0
    li a7, 268
    ecall
    bnez a0, cannot_enter
    addi s7, s7, 1
    bne s7, s8, join_one
    li a0, 17
    li a1, 0
    li a2, 0
    li a3, 0
    li a4, 0
    li a7, 220
    ecall
    beqz a0, inside
    li t0, -2048
    bgeu a0, t0, cannot_enter
    la a1, buffer
    li a2, 0
    li a3, 0
    li a7, 260
    ecall
    li a0, 0
    li a7, 93
    ecall

    # setsid; openat(AT_FDCWD, O_RDWR)
inside:
    li a7, 157
    ecall
    lbu t0, 0(s6)
    beqz t0, no_terminal
    li a0, -100
    mv a1, s6
    li a2, 2
    li a3, 0
    li a7, 56
    ecall
    mv s7, a0
    li t0, -2048
    bgeu t0, s7, terminal
    li s7, 4
    # fcntl(F_GETFD) tells which are closed: dup3
terminal:
    li s8, 0
standard:
    mv a0, s8
    li a1, 1
    li a7, 25
    ecall
    li t0, -2048
    bgeu t0, a0, standard_next
    mv a0, s7
    mv a1, s8
    li a2, 0
    li a7, 24
    ecall
standard_next:
    addi s8, s8, 1
    li t0, 3
    bne s8, t0, standard
    # ioctl(TIOCSCTTY)
    mv a0, s7
    li a1, 1344
    slli a1, a1, 4
    addi a1, a1, 14
    li a2, 0
    li a7, 29
    ecall
no_terminal:
    # close_range(3, all)
    li a0, 3
    li a1, -1
    li a2, 0
    li a7, 436
    ecall

    # SIGINT and SIGQUIT as they are by default (24 bytes of zeros): a shell that starts something in the background leaves them ignored
    la a1, buffer
    li a0, 2
    li a2, 0
    li a3, 8
    li a7, 134
    ecall
    li a0, 3
    ecall

    # prctl(PR_CAPBSET_DROP): CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_BOOT
    li a0, 24
    li a1, 16
    li a7, 167
    ecall
    bnez a0, cannot_enter
    li a0, 24
    li a1, 17
    ecall
    li a0, 24
    li a1, 22
    ecall

    # chdir, setgroups, setgid, setuid: the last of them takes the right to the others. A further terminal may find its folder gone
    la a0, workdir
    li a7, 49
    ecall
    beqz a0, identity
    beqz s5, cannot_enter
identity:
    la a0, group_count
    lwu a0, 0(a0)
    la a1, groups
    li a7, 159
    ecall
    bnez a0, cannot_enter
    la a0, gid
    lwu a0, 0(a0)
    li a7, 144
    ecall
    bnez a0, cannot_enter
    la a0, uid
    lwu a0, 0(a0)
    li a7, 146
    ecall
    bnez a0, cannot_enter

    # a name with a slash is a path
    mv t0, s2
    li t2, 47
name_byte:
    lbu t1, 0(t0)
    beqz t1, search
    addi t0, t0, 1
    bne t1, t2, name_byte
    mv a0, s2
    mv a1, s0
    mv a2, s1
    li a7, 221
    ecall
    mv s4, a0
    j cannot_run

search:
    mv t0, s1
variable:
    ld t1, 0(t0)
    addi t0, t0, 8
    beqz t1, no_path
    la t2, path_key
key_byte:
    lbu t3, 0(t2)
    beqz t3, path
    lbu t4, 0(t1)
    addi t1, t1, 1
    addi t2, t2, 1
    beq t3, t4, key_byte
    j variable
no_path:
    la t1, default_path
path:
    mv s3, t1
    li s4, -2

    # one folder of PATH, a slash (none behind an empty one, which is here), the name; what is too long for a path is refused by execve
directory:
    la t0, buffer
    la t5, buffer_end
    li t2, 58
    mv t3, t0
directory_byte:
    lbu t1, 0(s3)
    beqz t1, directory_end
    beq t1, t2, directory_end
    addi s3, s3, 1
    bgeu t0, t5, directory_byte
    sb t1, 0(t0)
    addi t0, t0, 1
    j directory_byte
directory_end:
    beq t0, t3, append
    li t1, 47
    sb t1, 0(t0)
    addi t0, t0, 1
append:
    mv t4, s2
append_byte:
    lbu t1, 0(t4)
    addi t4, t4, 1
    bgeu t0, t5, full
    sb t1, 0(t0)
    addi t0, t0, 1
    bnez t1, append_byte
full:
    sb zero, 0(t5)
    la a0, buffer
    mv a1, s0
    mv a2, s1
    li a7, 221
    ecall
    # ENOENT and ENOTDIR say nothing about the other folders
    li t1, -2
    beq a0, t1, next
    li t1, -20
    beq a0, t1, next
    mv s4, a0
next:
    lbu t1, 0(s3)
    beqz t1, cannot_run
    addi s3, s3, 1
    j directory

cannot_run:
    la a1, prefix
    li a0, 2
    li a2, 10
    li a7, 64
    ecall
    mv a1, s2
    mv t0, s2
length_byte:
    lbu t1, 0(t0)
    addi t0, t0, 1
    bnez t1, length_byte
    addi t0, t0, -1
    sub a2, t0, s2
    li a0, 2
    ecall
    li s3, 127
    la a1, not_found
    li a2, 12
    li t1, -2
    beq s4, t1, say
    li s3, 126
    la a1, not_runnable
    li a2, 15
say:
    li a0, 2
    li a7, 64
    ecall
    mv a0, s3
    li a7, 93
    ecall
cannot_enter:
    la a1, no_entry
    li a2, 61
    li s3, 125
    j say

prefix:       .ascii "portside: "
not_found:    .ascii ": not found\n"
not_runnable: .ascii ": can't be run\n"
no_entry:     .ascii "portside: the root or the working directory can't be entered\n"
slash:        .asciz "/"
path_key:     .asciz "PATH="
default_path: .asciz "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
