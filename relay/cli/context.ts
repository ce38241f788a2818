/** What a command gets of the process it runs in; made by main.ts, the only reader of argv and env. */
export interface CliContext {
  env: Readonly<Record<string, string | undefined>>;
  /** folder of the project, where dist/ is */
  root: string;
  version: string;
  /** one line for programs and people, on stdout */
  print(line: string): void;
  /** one line for people, on stderr */
  warn(line: string): void;
  /** resolves when SIGINT or SIGTERM has come; a second one ends the process at once */
  stopped(): Promise<void>;
  /** SIGUSR1 */
  onStatsWanted(handler: () => void): void;
  /** Exceptions that nobody catches, and promises that fail with nobody waiting: our own bugs, which must not end the process for everyone. */
  onStray(handler: (error: unknown) => void): void;
}

/** Exit status for a command line that is wrong; all other failures are 1. */
export const STATUS_USAGE = 2;
