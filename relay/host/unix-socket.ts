/** UNIX sockets that a process left behind: their file stays when it ends badly, and keeps the next one from listening. */
import { rmSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';

/** A socket that nobody listens on any more is removed; a live one, or a file that is none, is left to fail. */
export async function removeStaleSocket(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
  if (!isAlive) rmSync(path, { force: true });
}
