# The last step into the container, as a program of its own: what a shell can't do (change the root, and be another user with all of
# that user's groups), and what busybox does otherwise (its `nsenter` takes `ls` for its own applet before it looks into PATH).
#
#   enter PROGRAM [ARG...]
#
# Root, working directory and ids are data behind the code (image/enter.ts). The program is found as execvp(3) finds it. Exit status
# as container engines give it: 125 when the container can't be entered, 126 when the program can't be run, 127 when there is none.
#
# Assembled by image/assemble.ts, which knows the instructions below and no others; GNU as takes the file, too.
#
#   s0 argv of the program   s1 environment   s2 its name   s3 rest of PATH   s4 -errno that decides

_start:
    ld t0, 0(sp)
    addi s0, sp, 16
    slli t0, t0, 3
    add s1, sp, t0
    addi s1, s1, 16
    ld s2, 0(s0)
    beqz s2, cannot_enter

    # SIGINT and SIGQUIT as they are by default (24 bytes of zeros): a shell that starts something in the background leaves them ignored
    la a1, buffer
    li a0, 2
    li a2, 0
    li a3, 8
    li a7, 134
    ecall
    li a0, 3
    ecall

    # chroot, chdir, setgroups, setgid, setuid: the last of them takes the right to the others
    la a0, root
    li a7, 51
    ecall
    bnez a0, cannot_enter
    la a0, workdir
    li a7, 49
    ecall
    bnez a0, cannot_enter
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
path_key:     .asciz "PATH="
default_path: .asciz "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
