/** `--pcap FILE` of the commands: the capture lasts as long as what runs in it. */
import { Capture } from '../host/capture.ts';
import type { CliContext } from './context.ts';

/** Runs `fn`; then closes the file, and says so when something is missing in it. */
export async function withCapture<T>(path: string | null, context: Pick<CliContext, 'warn'>, fn: (capture: Capture | null) => Promise<T>): Promise<T> {
  if (path === null) return fn(null);
  const capture = await Capture.open(path);
  try {
    return await fn(capture);
  } finally {
    const complaint = await capture.close();
    if (complaint !== null) context.warn(`--pcap: ${complaint}`);
  }
}
