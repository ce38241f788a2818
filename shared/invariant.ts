/** Throws when `cond` is false. For our own bugs only: never for what a peer sent. */
export function invariant(cond: boolean, msg: string): asserts cond {
  if (!cond) throw new Error(`invariant: ${msg}`);
}
