/*
 * What v86 needs to boot Linux: SeaBIOS, a kernel and an initramfs, from Debian's i386 packages (v86.lock.json) as the
 * images are from riscv64 ones. Debian 12 is the last release with an i386 kernel.
 */
import { readFileSync } from 'node:fs';
import { writeCpio } from '../../image/cpio.ts';
import { readDeb } from '../../image/deb.ts';
import { decompress } from '../../image/decompress.ts';
import { fetchSignedIndex, pin } from '../../image/lock.ts';
import { downloadPackages, PackagesGone, readLock, readPackage, type LockedPackage } from '../../image/packages.ts';
import type { TarEntry } from '../../image/tar.ts';
import { makeInode, Tree } from '../../image/tree.ts';

export interface Pc {
  bios: Uint8Array;
  vgaBios: Uint8Array;
  kernel: Uint8Array;
  initramfs: Uint8Array;
}

interface PcLock {
  suite: string;
  architecture: string;
  packages: Record<string, LockedPackage>;
}

const KERNEL = /^linux-image-[\d.]+-\d+-686$/;
/** the two cards that v86 has, behind what they need, in the order to load them; stripModule is for 64 bits only */
const MODULES = [
  'virtio', 'virtio_ring', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci', 'failover', 'net_failover', 'virtio_net', '8390', 'ne2k-pci',
];

/**
 * The guest's whole life: a lease, a file from `$url` (of the kernel's command line), and it back as text, for busybox's wget
 * posts nothing behind a NUL.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r module; do insmod "/modules/$module.ko" || echo "$module is not loaded"; done < /modules/order
ip link set eth0 up
udhcpc -i eth0 -n -q -f -s /etc/dhcp || echo 'no lease'
echo "address: $(ip -4 -o addr show dev eth0 | awk '{print $4}')"
echo "card: $(basename "$(readlink /sys/class/net/eth0/device/driver)")"
wget -q -O /file "$url"
echo "sha256: $(sha256sum < /file)"
base64 /file > /text
echo "sent: $(sha256sum < /text) $(wc -c < /text)"
echo "answer: $(wget -q -O - --post-file=/text "$url")"
echo 'the end'
exec sleep 1000
`;

const DHCP = `#!/bin/busybox sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/\${mask:-24}" dev eth0
ip route add default via "\${router%% *}"
`;

export async function buildPc(): Promise<Pc> {
  const packages = await fetchPackages(JSON.parse(readFileSync(new URL('v86.lock.json', import.meta.url), 'utf8')) as PcLock);
  const files = async (pattern: RegExp): Promise<TarEntry[]> => {
    const name = Object.keys(packages).find((key) => pattern.test(key))!;
    return (await readDeb(await readPackage(packages[name]))).entries;
  };
  const seabios = await files(/^seabios$/);
  const linux = await files(KERNEL);
  return {
    bios: find(seabios, /\/bios\.bin$/).data,
    vgaBios: find(seabios, /\/vgabios-stdvga\.bin$/).data,
    kernel: find(linux, /^boot\/vmlinuz-/).data,
    initramfs: writeCpio(await initramfs(find(await files(/^busybox-static$/), /bin\/busybox$/).data, linux)),
  };
}

/** The locked packages, or what the mirror has in their place by now, from its signed index. */
async function fetchPackages({ suite, architecture, packages }: PcLock): Promise<PcLock['packages']> {
  const download = async (wanted: PcLock['packages']): Promise<PcLock['packages']> => {
    await downloadPackages({ ...(await readLock()), packages: wanted }, Object.keys(wanted), () => undefined);
    return wanted;
  };
  try {
    return await download(packages);
  } catch (error) {
    if (!(error instanceof PackagesGone)) throw error;
    const index = await fetchSignedIndex(suite, architecture);
    const kernel = /linux-image-[\d.]+-\d+-686/.exec(index.get('linux-image-686').get('depends') ?? '')?.[0] ?? '';
    const names = Object.keys(packages).map((name) => (KERNEL.test(name) ? kernel : name));
    return download(Object.fromEntries(names.map((name) => [name, pin(index, name)])));
  }
}

async function initramfs(busybox: Uint8Array, linux: TarEntry[]): Promise<Tree> {
  const tree = new Tree(0);
  for (const dir of ['bin', 'dev', 'etc', 'proc', 'sys']) tree.mkdir(dir);
  tree.put('dev/console', makeInode('char', 0o600, { major: 5, minor: 1 }));
  tree.write('bin/busybox', busybox, 0o755);
  for (const name of MODULES) tree.write(`modules/${name}.ko`, await decompress(find(linux, new RegExp(`/${name}\\.ko(\\.xz)?$`)).data));
  tree.write('modules/order', MODULES.map((name) => `${name}\n`).join(''));
  tree.write('etc/dhcp', DHCP, 0o755);
  tree.write('init', INIT, 0o755);
  return tree;
}

function find(entries: TarEntry[], pattern: RegExp): TarEntry {
  const entry = entries.find(({ path }) => pattern.test(path));
  if (entry === undefined) throw new Error(`the package has no file ${String(pattern)}`);
  return entry;
}
