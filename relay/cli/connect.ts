/** `portside connect`: a network for a runtime that listens for one, until a signal comes. */
import { connect as openConnection } from '../connect.ts';
import { CONNECT_FLAGS } from './command-tables.ts';
import type { CliContext } from './context.ts';
import { attend, parseNetwork } from './listen.ts';

export async function connect(args: string[], context: CliContext): Promise<number> {
  const command = parseNetwork(args, CONNECT_FLAGS, 'name where it listens: HOST:PORT or unix:PATH');
  return attend(command, context, (options, log) => openConnection(command.spec, { ...options, say: (line) => log.info(line) }));
}
