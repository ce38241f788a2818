/* Which processor an image's programs are for: labels of images are wrong at times, and a root has none. */
import { ImageBuildError } from '../image-error.ts';
import type { Tree } from '../tree.ts';
import type { ImageConfig } from './image-config.ts';
import { wrongPlatform } from './oci.ts';

const EM_RISCV = 243;
/** e_machine by the names that container platforms have */
const MACHINES: Record<number, string> = { 3: '386', 8: 'mips', 21: 'ppc64le', 22: 's390x', 40: 'arm', 62: 'amd64', 183: 'arm64', 243: 'riscv64', 258: 'loong64' };
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Refuses an image whose program is for another processor. Scripts and what is not there are judged by the shell beside them. */
export function checkPrograms(tree: Tree, config: ImageConfig, label: string): void {
  const [command] = [...config.entrypoint, ...config.cmd];
  const path = config.env.findLast(([name]) => name === 'PATH')?.[1] ?? DEFAULT_PATH;
  const names = command === undefined ? [] : command.includes('/') ? [command.startsWith('/') ? command : `${config.workdir}/${command}`] : path.split(':').map((dir) => `${dir}/${command}`);
  for (const name of [...names, 'bin/sh', 'bin/busybox', 'usr/bin/env']) {
    const inode = tree.lookup(name);
    const machine = inode?.kind === 'file' ? elfMachine(inode.data) : null;
    if (machine === null) continue;
    if (machine === EM_RISCV) return;
    throw new ImageBuildError(wrongPlatform(label, [`linux/${MACHINES[machine] ?? `machine-${machine}`}`], { os: 'linux', architecture: 'riscv64', variant: null }, false));
  }
}

/** e_machine of a 64-bit little-endian ELF, or of any other; null where it is none. */
function elfMachine(data: Uint8Array): number | null {
  if (data.length < 20 || data[0] !== 0x7f || data[1] !== 0x45 || data[2] !== 0x4c || data[3] !== 0x46) return null;
  const machine = data[5] === 2 ? (data[18] << 8) | data[19] : data[18] | (data[19] << 8);
  // 32-bit RISC-V has the same number.
  return machine === EM_RISCV && data[4] !== 2 ? 0 : machine;
}
