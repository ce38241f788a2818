/** `portside help [command]`. README says the same in more words. */

const OVERVIEW = `Linux containers in a browser tab, or in this terminal, on a real network.

  portside serve [flags]                     serve page, images and relay (npm start builds first)
  portside run [flags] IMAGE [command...]    run a container in this terminal
  portside convert SOURCE OUT                make an image from a container image
  portside listen [flags] SPEC               a network for QEMU and others, on a TCP or UNIX socket
  portside images [--json]                   list what is built: name, sizes, path
  portside help [command]                    flags of a command
  portside --version`;

const TOPICS: Record<string, string> = {
  serve: `portside serve: page, images and relay from one process, on localhost.

  --port N             port (default: $PORT, or 8080; 0: any free one)
  --host ADDR          listen on this address instead of localhost; read SECURITY.md first
  -p [IP:]HOST:GUEST[/tcp|/udp]
                       lead a port of this computer into the container opened last; IP: 127.0.0.1. May be repeated
  --image FILE|URL     offer an image made elsewhere too. May be repeated
  --allow-origin ORIGIN
                       let pages of this origin use the relay ('*': any, and programs without one). May be repeated
  --allow-host NAME    answer to this host name too. May be repeated
  --mtu N              MTU of the containers' network, 576 to 65520 (default: 1500, or what a page asks for)
  --web DIR            the built page (default: dist/web)
  --images DIR         the built images (default: dist/images)
  --pcap FILE          write every frame to FILE, for Wireshark (pcapng; an interface per link)
  --verbose            log links, sessions and what is dropped
  --log-format text|json
                       lines for people (default) or a JSON object per event, on stderr`,
  run: `portside run [flags] IMAGE [image flags] [command [arguments...]]: a container in this terminal.

  IMAGE is a name from \`portside images\`, or a path to a wasm file. The status is the command's.

  --net                with a network
  -p [IP:]HOST:GUEST[/tcp|/udp]
                       lead a port of this computer into the container (implies --net). May be repeated
  --pcap FILE          write every frame to FILE, for Wireshark (implies --net)
  --mac MAC            the container's MAC address
  --hostname NAME      its host name
  --mtu N              MTU of its network, 576 to 65520 (default: 1500; implies --net)
  --memory SIZE        its memory, 128 to 2048 (MiB) or 1G and the like (default: the image's)
  --env K=V, -e K=V    a variable for the command (K alone: its value here). May be repeated

Image flags, after IMAGE: --entrypoint E, --no-stdin, --mac M, --hostname H, --memory M. \`--\` ends them.`,
  convert: `portside convert [flags] SOURCE [out.wasm|out-dir/]: a container image becomes a wasm, without Docker.

SOURCE is one of
  docker-archive:FILE[:REF]    what docker save, podman save and skopeo write
  oci:DIR[:TAG]                a folder in OCI layout
  oci-archive:FILE[:TAG]       the same in a tar
  rootfs.tar                   the files of a root, without a configuration (rootfs:FILE for any name)
  [docker://]HOST[:PORT]/NAME[:TAG|@DIGEST]
                               an image of a registry: over HTTPS, on localhost over HTTP
out.wasm (the default) has its disk inside; out-dir/ gets a wasm and a disk of which only what is used is read
(portside serve --images out-dir shows it).

  --name NAME          of the image, and the container's host name (default: from the output's name)
  --memory MIB         of the container unless a start says otherwise, 128 to 2048 (default: 512)
  --platform OS/ARCH   which image of several to take (default: linux/riscv64, the only one that runs)
  --creds USER:PASSWORD
                       for the registry (default: $PORTSIDE_CREDS)
  --plain-http         use HTTP for a registry elsewhere, too
  --max-size MIB       most that the layers may unpack to (default: 2048)
  --max-entries N      most files that they may have (default: 400000)
  --json               what was made, as JSON
  --quiet, -q          no progress`,
  listen: `portside listen [flags] tcp:[HOST]:PORT | unix:PATH: one network; every connection to the socket is a network card on it.

  QEMU: -netdev stream,id=n,addr.type=unix,addr.path=PATH,server=off -device virtio-net-pci,netdev=n,mac=MAC
  Whoever reaches the socket is on the network: HOST is 127.0.0.1 unless you say otherwise. Guests get 192.168.127.3, .4 and on, by DHCP.

  -p [IP:]HOST:[GUESTIP:]GUEST[/tcp|/udp]
                       lead a port of this computer to a guest (GUESTIP: 192.168.127.3). May be repeated
  --mtu N              MTU of the network, 576 to 65520 (default: 1500)
  --pcap FILE          write every frame to FILE, for Wireshark (pcapng; an interface per link)
  --services SPEC      gvproxy's HTTP API on unix:PATH or tcp:127.0.0.1:PORT. May be repeated
  --config FILE        the network's configuration: JSON, with gvproxy's names
  --notification PATH  tell the UNIX socket PATH who comes and goes, as gvproxy does
  --log-format text|json
                       lines for people (default) or a JSON object per event, on stderr
  --verbose            log links, leases and what is dropped

SIGUSR1 prints the network's counters as one line of JSON.`,
  images: `portside images [--json] [--images DIR]: name, sizes and path of what is built. * marks the page's default.`,
};

/** The text for a command, or for all; null for one that there is not. */
export function helpText(topic: string | undefined): string | null {
  return topic === undefined || topic === 'help' ? OVERVIEW : (TOPICS[topic] ?? null);
}
