/* What the default images are made of: everything about one that a person may want to change. */
import { ROOT_IDENTITY } from './enter.ts';
import { DISK_MODULES, NET_MODULES, SHARE_MODULES } from './kernel.ts';
import type { ImageDefaults } from './initramfs.ts';
import type { LockGroup } from './packages.ts';

export interface Recipe {
  title: string;
  description: string;
  memoryMiB: number;
  modules: string[];
  /** packages of a root on a disk beside the image; without it the initramfs is the root */
  root: LockGroup | null;
  defaults: ImageDefaults;
  /** offered first */
  isDefault: boolean;
}

const ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', TERM: 'xterm-256color', LANG: 'C.UTF-8' };

/**
 * Kernel command line of every image. Of Debian's defaults it turns off what costs an emulated CPU time or the snapshot
 * bytes, and guards nothing in a machine of one tenant: zeroing pages twice (init_on_alloc), security modules, audit, memory
 * accounting, NUMA, 2 MiB pages (each zeroed on its first touch), self-tests of ciphers (0.3 s of each start: the snapshot held them unfinished). RCU without waiting for grace periods boots faster.
 * The console is a port that does not exist: on the kernel's console hvc takes the first ^O for itself (SysRq), and `hvc0` is a
 * person's terminal, where ^O saves a file. What the kernel says is in dmesg.
 * The atomic DMA pool is for devices that we have not, and would lie in memory that a start may not have.
 * Addresses are not randomised for the kernel (the device tree holds no seed); for programs they are, at run time.
 */
export const CMDLINE = [
  'console=ttyS0', 'quiet', 'loglevel=3', 'panic=-1', 'init_on_alloc=0', 'transparent_hugepage=never', 'lsm=', 'audit=0',
  'cgroup_disable=memory,pressure', 'numa=off', 'swiotlb=noforce', 'rcupdate.rcu_expedited=1', 'cryptomgr.notests', 'initcall_blacklist=dma_atomic_pool_init',
].join(' ');

export const RECIPES: Record<string, Recipe> = {
  busybox: {
    title: 'BusyBox',
    description: 'The smallest: one program with 270 commands, for quick looks and tests.',
    memoryMiB: 128,
    modules: [...NET_MODULES, ...SHARE_MODULES],
    root: null,
    defaults: { name: 'busybox', entrypoint: [], cmd: ['/bin/sh', '-l'], env: ENV, workdir: '/root', identity: ROOT_IDENTITY, greeting: '', warm: '/bin/sh -lc "ls -l /; cat /etc/passwd"' },
    isDefault: false,
  },
  debian: {
    title: 'Debian 13 (trixie)',
    description: 'bash, coreutils, apt, curl, iproute2, procps, nano, vim-tiny: a Debian to work in. apt-get installs the rest.',
    memoryMiB: 512,
    modules: [...NET_MODULES, ...SHARE_MODULES, ...DISK_MODULES],
    root: 'debian',
    defaults: {
      name: 'debian', entrypoint: [], cmd: ['/bin/bash', '-l'], workdir: '/root', identity: ROOT_IDENTITY, greeting: '', warm: '/bin/bash -lc "ls -l /; cat /etc/os-release; id"',
      // debconf would try (and bemoan the lack of) two prettier front ends first, each for a second.
      env: { ...ENV, DEBIAN_FRONTEND: 'teletype' },
    },
    isDefault: true,
  },
};
