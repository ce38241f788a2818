/* The command line of Portside: picks the command, and is the only reader of process.*. bin/portside.mjs starts it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { RelayError } from '../shared/relay-error.ts';
import { STATUS_USAGE, type CliContext } from './cli/context.ts';
import { helpText } from './cli/help.ts';

type Command = (args: string[], context: CliContext) => Promise<number>;

/** Loaded when asked for: `help` and `images` need neither network nor runner. */
const COMMANDS: Record<string, () => Promise<Command>> = {
  serve: async () => (await import('./cli/serve.ts')).serve,
  run: async () => (await import('./cli/run.ts')).run,
  convert: async () => (await import('./cli/convert.ts')).convert,
  listen: async () => (await import('./cli/listen.ts')).listen,
  connect: async () => (await import('./cli/connect.ts')).connect,
  doctor: async () => (await import('./cli/doctor.ts')).doctor,
  completion: async () => (await import('./cli/completion.ts')).completion,
  images: async () => (await import('./cli/images.ts')).images,
};

/** Runs the command that argv names, or `c2w-net`. Resolves with the exit status: 1 for our own bugs too, which are told with their stack. */
export async function main(program: 'portside' | 'c2w-net' = 'portside'): Promise<number> {
  const [name, ...args] = process.argv.slice(2);
  const context = makeContext();
  if (program === 'c2w-net') {
    const { c2wNet } = await import('./cli/c2w-net.ts');
    return perform(() => c2wNet(process.argv.slice(2), context), { name: program, hint: 'c2w-net --help' }, context);
  }
  if (name === undefined) {
    context.warn(helpText(undefined)!);
    return STATUS_USAGE;
  }
  if (name === '--version' || name === '-V' || name === 'version') return say(context, context.version);
  if (name === 'help' || name === '--help' || name === '-h') return help(args[0], context);
  if (!Object.hasOwn(COMMANDS, name)) return unknown(name, context);
  // After IMAGE, `run` hands --help on to the image.
  const asksForHelp = name === 'run' ? args[0] === '--help' || args[0] === '-h' : args.includes('--help') || args.includes('-h');
  if (asksForHelp) return help(name, context);
  return perform(async () => (await COMMANDS[name]())(args, context), { name: `portside ${name}`, hint: `portside help ${name}` }, context);
}

/** What a command rejects with as a line for people. */
async function perform(command: () => Promise<number>, { name, hint }: { name: string; hint: string }, context: CliContext): Promise<number> {
  try {
    return await command();
  } catch (error) {
    if (!(error instanceof RelayError)) {
      context.warn(`${name}: bug: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
      return 1;
    }
    context.warn(`${name}: ${error.message}`);
    if (error.code !== 'RELAY_BAD_FLAG') return 1;
    context.warn(`Try: ${hint}`);
    return STATUS_USAGE;
  }
}

function makeContext(): CliContext {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string };
  return {
    env: process.env,
    root,
    version,
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`${line}\n`),
    stopped: () => new Promise((resolve) => {
      const onSignal = (): void => {
        resolve();
        process.once('SIGINT', () => process.exit(130));
        process.once('SIGTERM', () => process.exit(143));
      };
      process.once('SIGINT', onSignal);
      process.once('SIGTERM', onSignal);
    }),
    onStatsWanted: (handler) => void process.on('SIGUSR1', handler),
    onStray: (handler) => {
      const hear = (error: unknown): void => {
        // Who read our output has gone, and would not read of it either.
        if ((error as NodeJS.ErrnoException | undefined)?.code !== 'EPIPE') handler(error);
      };
      process.on('unhandledRejection', hear);
      process.on('uncaughtException', hear);
    },
  };
}

function say(context: CliContext, text: string): number {
  context.print(text);
  return 0;
}

function help(topic: string | undefined, context: CliContext): number {
  const text = helpText(topic);
  return text === null ? unknown(topic!, context) : say(context, text);
}

function unknown(name: string, context: CliContext): number {
  const near = Object.keys(COMMANDS).find((command) => command.startsWith(name.slice(0, 2)));
  context.warn(`portside: no command "${name}"${near === undefined ? '' : `; did you mean ${near}?`} Try: portside help`);
  return STATUS_USAGE;
}
