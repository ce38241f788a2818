/**
 * Every command with its flags, once: parseArgs reads these tables, `--help` and shell completion are made from them.
 * README says the same in more words.
 */

/** What a shell may offer for a word. */
export type Completes = 'file' | 'directory' | 'image' | readonly string[];

/** A flag as parseArgs takes it, and what people are told of it. */
export interface Flag {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** its value in `--help`; only where type is `string` */
  readonly value?: string;
  /** lines of `--help`, without a full stop */
  readonly about: string;
  readonly completes?: Completes;
}

export type FlagTable = Readonly<Record<string, Flag>>;

export interface CommandTable {
  /** behind `portside NAME` */
  usage: string;
  /** in the list of all commands */
  summary: string;
  /** paragraphs in front of the flags, and behind them */
  before?: string;
  after?: string;
  flags: FlagTable;
  /** words that are no flags; words behind the first belong to somebody else where it is `image` */
  words?: Completes;
}

const PUBLISH = '[IP:]HOST:GUEST[/tcp|/udp]';
const REPEATED = 'May be repeated';

const IMAGES_FLAG = { type: 'string', value: 'DIR', about: 'the built images (default: dist/images)', completes: 'directory' } as const;
const PCAP_FLAG = { type: 'string', value: 'FILE', about: 'write every frame to FILE, for Wireshark (pcapng; an interface per link)', completes: 'file' } as const;
const LOG_FORMAT_FLAG = { type: 'string', value: 'text|json', about: 'lines for people (default) or a JSON object per event, on stderr', completes: ['text', 'json'] } as const;
const ALLOW_ORIGIN_FLAG = { type: 'string', multiple: true, value: 'ORIGIN', about: `let pages of this origin use the relay ('*': any, and programs without one). ${REPEATED}` } as const;
const ALLOW_HOST_FLAG = { type: 'string', multiple: true, value: 'NAME', about: `answer to this host name too. ${REPEATED}` } as const;

export const SERVE_FLAGS = {
  'port': { type: 'string', value: 'N', about: 'port (default: $PORT, or 8080; 0: any free one)' },
  'host': { type: 'string', value: 'ADDR', about: 'listen on this address instead of localhost; read SECURITY.md first' },
  'publish': { type: 'string', short: 'p', multiple: true, value: PUBLISH, about: `lead a port of this computer into the container opened last; IP: 127.0.0.1. ${REPEATED}` },
  'image': { type: 'string', multiple: true, value: 'FILE|URL', about: `offer an image made elsewhere too. ${REPEATED}`, completes: 'file' },
  'allow-origin': ALLOW_ORIGIN_FLAG,
  'allow-host': ALLOW_HOST_FLAG,
  'tls-cert': { type: 'string', value: 'FILE', about: 'serve https and wss with this certificate (PEM, its chain behind it)', completes: 'file' },
  'tls-key': { type: 'string', value: 'FILE', about: 'and this private key (PEM)', completes: 'file' },
  'mtu': { type: 'string', value: 'N', about: "MTU of the containers' network, 576 to 65520 (default: 1500, or what a page asks for)" },
  'web': { type: 'string', value: 'DIR', about: 'the built page (default: dist/web)', completes: 'directory' },
  'images': IMAGES_FLAG,
  'convert': { type: 'string', value: 'on|off', about: 'make images of the archives of containers that the page is given (default: on, while the relay is for this computer only)', completes: ['on', 'off'] },
  'converted': { type: 'string', value: 'DIR', about: 'and keep them there (default: dist/converted)', completes: 'directory' },
  'pcap': PCAP_FLAG,
  'verbose': { type: 'boolean', about: 'log links, sessions and what is dropped' },
  'log-format': LOG_FORMAT_FLAG,
} as const satisfies FlagTable;

export const RUN_FLAGS = {
  'net': { type: 'boolean', about: 'with a network' },
  'publish': { type: 'string', short: 'p', multiple: true, value: PUBLISH, about: `lead a port of this computer into the container (implies --net). ${REPEATED}` },
  'pcap': { type: 'string', value: 'FILE', about: 'write every frame to FILE, for Wireshark (implies --net)', completes: 'file' },
  'mac': { type: 'string', value: 'MAC', about: "the container's MAC address" },
  'hostname': { type: 'string', value: 'NAME', about: 'its host name' },
  'mtu': { type: 'string', value: 'N', about: 'MTU of its network, 576 to 65520 (default: 1500; implies --net)' },
  'memory': { type: 'string', value: 'SIZE', about: "its memory, 128 to 2048 (MiB) or 1G and the like (default: the image's)" },
  'no-translate': { type: 'boolean', about: 'interpret all of its code: slower, for comparing, and for when translated code is at fault' },
  'env': { type: 'string', short: 'e', multiple: true, value: 'K=V', about: `a variable for the command (K alone: its value here). ${REPEATED}` },
  'dir': { type: 'string', multiple: true, value: 'HOST[::GUEST][:ro]', about: `share directory HOST of this computer as GUEST in the container (default: the same path); ro: for reading only. ${REPEATED}`, completes: 'directory' },
  'mapdir': { type: 'string', multiple: true, value: 'GUEST::HOST[:ro]', about: 'the same, the other way round' },
  'tty': { type: 'boolean', short: 't', about: 'a terminal for the command, whatever stdin and stdout are (default: where both are one)' },
  'no-tty': { type: 'boolean', short: 'T', about: 'no terminal: stdin, stdout and stderr byte for byte (default: where stdin or stdout is none)' },
  'interactive': { type: 'boolean', short: 'i', about: "stdin is the command's even where it is a terminal and stdout is none (-it, out of habit: -t)" },
  'stop-timeout': { type: 'string', value: 'SECONDS', about: 'how long a command may take to end after SIGTERM, SIGINT or SIGHUP (default: 10; -1: as long as it likes)' },
  'rm': { type: 'boolean', about: 'nothing: a container leaves nothing behind anyway' },
  'runtime': { type: 'string', value: 'NAME|PATH', about: 'run it in wasmtime, wazero or wasmedge in place of the built-in runtime', completes: ['wasmtime', 'wazero', 'wasmedge'] },
  'runtime-flag': { type: 'string', multiple: true, value: 'FLAG', about: `hand FLAG on to that runtime (--runtime-flag=-interpreter). ${REPEATED}` },
  'wasi-addr': { type: 'string', value: 'HOST:PORT', about: 'where that runtime listens for the network (default: a free port of 127.0.0.1)' },
  'wasmtime-cli-13': { type: 'boolean', about: "wasmtime is 13 or older, and doesn't say so by --version" },
  'save': { type: 'string', value: 'FILE', about: 'keep the container, memory and disk, in FILE when it is ended from outside: by Ctrl-] pressed three times, SIGTERM, SIGHUP, SIGINT', completes: 'file' },
  'resume': { type: 'string', value: 'FILE', about: 'go on with what was kept; IMAGE must be the very same', completes: 'file' },
  'images': IMAGES_FLAG,
  'verbose': { type: 'boolean', about: 'log what the network drops' },
} as const satisfies FlagTable;

export const CONVERT_FLAGS = {
  'name': { type: 'string', value: 'NAME', about: "of the image, and the container's host name (default: from the output's name)" },
  'memory': { type: 'string', value: 'MIB', about: 'of the container unless a start says otherwise, 128 to 2048 (default: 512)' },
  'platform': { type: 'string', value: 'OS/ARCH', about: 'which image of several to take (default: linux/riscv64, the only one that runs)' },
  'creds': { type: 'string', value: 'USER:PASSWORD', about: 'for the registry (default: $PORTSIDE_CREDS)' },
  'plain-http': { type: 'boolean', about: 'use HTTP for a registry elsewhere, too' },
  'max-size': { type: 'string', value: 'MIB', about: 'most that the layers may unpack to (default: 2048)' },
  'max-entries': { type: 'string', value: 'N', about: 'most files that they may have (default: 400000)' },
  'json': { type: 'boolean', about: 'what was made, as JSON' },
  'quiet': { type: 'boolean', short: 'q', about: 'no progress' },
} as const satisfies FlagTable;

/** gvproxy's ways to be spoken to; cli/services.ts reads them. */
export const SERVICES_FLAGS = {
  'services': { type: 'string', multiple: true, value: 'SPEC', about: `gvproxy's HTTP API on unix:PATH or tcp:127.0.0.1:PORT. ${REPEATED}` },
  'config': { type: 'string', value: 'FILE', about: "the network's configuration: JSON, with gvproxy's names", completes: 'file' },
  'notification': { type: 'string', value: 'PATH', about: 'tell the UNIX socket PATH who comes and goes, as gvproxy does', completes: 'file' },
  'log-format': LOG_FORMAT_FLAG,
} as const satisfies FlagTable;

export const LISTEN_FLAGS = {
  'publish': { type: 'string', short: 'p', multiple: true, value: '[IP:]HOST:[GUESTIP:]GUEST[/tcp|/udp]', about: `lead a port of this computer to a guest (GUESTIP: 192.168.127.3). ${REPEATED}` },
  'mtu': { type: 'string', value: 'N', about: 'MTU of the network, 576 to 65520 (default: 1500)' },
  'pcap': PCAP_FLAG,
  ...SERVICES_FLAGS,
  'verbose': { type: 'boolean', about: 'log links, leases and what is dropped' },
} as const satisfies FlagTable;

/** the same, the other way round */
export const CONNECT_FLAGS = LISTEN_FLAGS;

export const IMAGES_FLAGS = {
  'json': { type: 'boolean', about: 'as JSON, sizes in bytes' },
  'images': IMAGES_FLAG,
} as const satisfies FlagTable;

export const DOCTOR_FLAGS = {
  'json': { type: 'boolean', about: 'as JSON: ok, and the checks with name, state, found, advice' },
  'port': { type: 'string', value: 'N', about: 'the port that is to be free (default: $PORT, or 8080)' },
  'web': { type: 'string', value: 'DIR', about: 'the built page (default: dist/web)', completes: 'directory' },
  'images': IMAGES_FLAG,
} as const satisfies FlagTable;

/** container2wasm's names, and what keeps it safe */
export const C2W_NET_TABLE = {
  usage: '[flags] ADDR | --listen-ws [flags] ADDR | --invoke [flags] IMAGE [image flags] [command [arguments...]]',
  summary: "container2wasm's network command, on Portside's relay",
  before: `The network of containers made by container2wasm or by Portside. Flags take one dash or two.
  c2w-net ADDR                 for a WASI runtime that listens on ADDR for its container; ends when it hangs up
  c2w-net --listen-ws ADDR     for pages: a WebSocket server; all pages are on one network
  c2w-net --invoke IMAGE ...   runs IMAGE in this terminal, with a network. The status is the command's`,
  flags: {
    'listen-ws': { type: 'boolean', about: 'be a WebSocket server on ADDR' },
    'enable-tls': { type: 'boolean', about: 'wss in place of ws, with --ws-cert and --ws-key' },
    'ws-cert': { type: 'string', value: 'FILE', about: 'certificate, PEM', completes: 'file' },
    'ws-key': { type: 'string', value: 'FILE', about: 'its private key, PEM', completes: 'file' },
    'allow-origin': ALLOW_ORIGIN_FLAG,
    'allow-host': ALLOW_HOST_FLAG,
    'invoke': { type: 'boolean', about: 'run the image' },
    'p': { type: 'string', multiple: true, value: '[IP:]HOST:GUEST', about: `lead a port of this computer into the container; IP: 127.0.0.1 (0.0.0.0: for other computers too). ${REPEATED}` },
    'mac': { type: 'string', value: 'MAC', about: "the container's MAC address, which 192.168.127.3 is kept for" },
    'wasi-addr': { type: 'string', value: 'ADDR', about: 'where --runtime listens (default: a free port of 127.0.0.1)' },
    'runtime': { type: 'string', value: 'NAME|PATH', about: 'let --invoke run the image in wasmtime, wazero or wasmedge (default: the built-in runtime)', completes: ['wasmtime', 'wazero', 'wasmedge'] },
    'wasmtime-cli-13': { type: 'boolean', about: 'that wasmtime is 13 or older, and takes older flags' },
    'debug': { type: 'boolean', about: 'log links, leases and what is dropped' },
    'help': { type: 'boolean', short: 'h', about: 'this' },
  },
} as const satisfies CommandTable;

/** in the order of `portside help` */
export const COMMAND_TABLES: Readonly<Record<string, CommandTable>> = {
  serve: {
    usage: '[flags]',
    summary: 'serve page, images and relay (npm start builds first)',
    before: 'Page, images and relay from one process, on localhost.',
    flags: SERVE_FLAGS,
  },
  run: {
    usage: '[flags] IMAGE [image flags] [command [arguments...]]',
    summary: 'run a container in this terminal',
    before: "A container in this terminal. IMAGE is a name from `portside images`, or a path to a wasm file. The status is the command's.",
    flags: RUN_FLAGS,
    after: 'Image flags, after IMAGE: --entrypoint E, --no-stdin, --tty, --no-tty, --mac M, --hostname H, --memory M. `--` ends them.',
    words: 'image',
  },
  convert: {
    usage: '[flags] SOURCE [out.wasm|out-dir/]',
    summary: 'make an image from a container image',
    before: `A container image becomes a wasm, without Docker. SOURCE is one of
  docker-archive:FILE[:REF]    what docker save, podman save and skopeo write
  oci:DIR[:TAG]                a folder in OCI layout
  oci-archive:FILE[:TAG]       the same in a tar
  rootfs:FILE                  the files of a root in a tar, without a configuration
  FILE                         one of these tars: what is in it tells
  [docker://]HOST[:PORT]/NAME[:TAG|@DIGEST]
                               an image of a registry: over HTTPS, on localhost over HTTP
out.wasm (the default) has its disk inside; out-dir/ gets a wasm and a disk of which only what is used is read
(portside serve --images out-dir shows it).`,
    flags: CONVERT_FLAGS,
    words: 'file',
  },
  listen: {
    usage: '[flags] tcp:[HOST]:PORT|unix:PATH',
    summary: 'a network for QEMU and others, on a TCP or UNIX socket',
    before: `One network; every connection to the socket is a network card on it.

  QEMU: -netdev stream,id=n,addr.type=unix,addr.path=PATH,server=off -device virtio-net-pci,netdev=n,mac=MAC
  Whoever reaches the socket is on the network: HOST is 127.0.0.1 unless you say otherwise. Guests get 192.168.127.3, .4 and on, by DHCP.`,
    flags: LISTEN_FLAGS,
    after: "SIGUSR1 prints the network's counters as one line of JSON.",
  },
  connect: {
    usage: '[flags] HOST:PORT|unix:PATH',
    summary: 'a network for a runtime that listens for one',
    before: `A network for a container that another WASI runtime runs with a listening socket, and for whatever else listens for QEMU's framing.
Goes on trying until somebody listens there, and again when the connection ends; flows, leases and forwards outlive that.

  wasmtime run -S preview2=n -S tcplisten=127.0.0.1:1234 IMAGE.wasm --net=socket
  wazero run -listen 127.0.0.1:1234 IMAGE.wasm --net=socket
  (where directories come first, --net=socket=listenfd=N says which descriptor the socket is: \`portside run --runtime\` does all of this)`,
    flags: CONNECT_FLAGS,
    after: "SIGUSR1 prints the network's counters as one line of JSON.",
  },
  images: {
    usage: '[flags]',
    summary: 'list what is built: name, sizes, path',
    before: "Name, sizes and path of what is built. * marks the page's default.",
    flags: IMAGES_FLAGS,
  },
  doctor: {
    usage: '[flags]',
    summary: 'what this computer can do, and what is missing',
    before: 'What this computer can do, and what to do where something is missing. The status is 1 when `npm start` would fail.',
    flags: DOCTOR_FLAGS,
  },
  completion: {
    usage: 'bash|zsh|fish',
    summary: 'a script that teaches your shell our commands and flags',
    before: `A script for your shell, for portside and c2w-net both:
  eval "$(portside completion bash)"
  source <(portside completion zsh)
  portside completion fish | source`,
    flags: {},
    words: ['bash', 'zsh', 'fish'],
  },
};
