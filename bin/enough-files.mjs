// Before anything is loaded, which takes descriptors by itself: whether this process may open enough of them. Plain JavaScript, as its callers are.
import { readFileSync } from 'node:fs';

/** DESCRIPTORS_LEAST of relay/config.ts */
const LEAST = 64;

/** Ends the process when there are too few. Where nothing says how many there are, it goes on. */
export function checkFiles() {
  let limit = Number.POSITIVE_INFINITY;
  try {
    limit = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? limit);
  } catch (error) {
    if (error.code === 'EMFILE') limit = 0;
  }
  if (limit >= LEAST) return;
  process.stderr.write(`portside: this process may open too few files: raise the limit first, for instance by \`ulimit -n 1024\` (${LEAST} at least)\n`);
  process.exit(1);
}
