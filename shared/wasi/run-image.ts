/*
 * One run of an image on the WASI host, whoever made it.
 *
 * c2w's images have one word each for the network in `--net=`, `socket` or (before 2024) `qemu`. The other word they take without
 * a complaint, tell their guest that there is a network and never connect it: the guest then asks for a lease for ever, and its
 * container does not start. Which word an image knows is written nowhere. So it is started with `socket`, and when it shows that
 * it does not know it (imports.ts, `expectAccept`), once more with `qemu`: nothing is lost, as nothing of the container has run.
 */
import { otherNetArguments } from './arguments.ts';
import { WasiHost, type HostEnd, type HostOptions } from './imports.ts';

type Instance = Parameters<WasiHost['run']>[0];

/** Runs to the end; the thread is blocked for so long, unless it `suspends`. `instantiate` makes an instance over these imports, and may throw. */
export async function runImage(
  options: HostOptions, instantiate: (imports: WasiHost['imports']) => Promise<unknown>,
): Promise<Exclude<HostEnd, { kind: 'no-accept' }>> {
  const run = async (more: Partial<HostOptions>): Promise<HostEnd> => {
    const host = new WasiHost({ ...options, ...more });
    const instance = await instantiate(host.imports) as Instance;
    return options.suspends === true ? host.runSuspending(instance) : host.run(instance);
  };
  const end = await run({ expectAccept: options.foreign });
  if (end.kind !== 'no-accept') return end;
  return await run({ args: otherNetArguments(options.args) }) as Exclude<HostEnd, { kind: 'no-accept' }>;
}
