/** UNIX sockets that a process left behind: their file stays when it ends badly, and keeps the next one from listening. */
import { rmSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';

/** A socket that nobody listens on any more is removed; a live one, or a file that is none, is left to fail. */
export async function removeStaleSocket(path: string): Promise<void> {
  if (!isSocket(path)) return;
  const isAlive = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path, () => {
      probe.destroy();
      resolve(true);
    });
    // Anything but a refusal (no descriptor for the probe, no right to ask) says nothing about who listens.
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'));
  });
  if (!isAlive) rmSync(path, { force: true });
}

/** What can't be looked at fails when it is listened on, with a message. */
function isSocket(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
  } catch {
    return false;
  }
}
