/* How much memory a container is given, as people write it: MiB, or a number with M or G. */

export const MEMORY_MIN_MIB = 128;
export const MEMORY_MAX_MIB = 2048;
/** what is wrong with any other, a clause */
export const MEMORY_ADVICE = `${MEMORY_MIN_MIB} to ${MEMORY_MAX_MIB} (MiB), or a number with M or G such as 1G; what is between steps of 128 MiB is rounded up`;

/** 512, 512M, 512MiB, 2G; in MiB. Null: nothing that a container can be given. */
export function parseMemory(text: string): number | null {
  const found = /^(\d{1,6})(?:([mg])(?:i?b)?)?$/i.exec(text.trim());
  if (found === null) return null;
  const mib = Number(found[1]) * (found[2]?.toLowerCase() === 'g' ? 1024 : 1);
  return mib >= MEMORY_MIN_MIB && mib <= MEMORY_MAX_MIB ? mib : null;
}
