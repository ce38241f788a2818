/** Between a terminal of a container and what shows it: the contract of `StartOptions.terminal` and `Container.openTerminal`. */

/** What a terminal's keys go to: a `Container` (its first terminal), or what `openTerminal` returns. */
export interface TerminalLine {
  /** What a terminal sends, as it is. False when it was refused: nothing runs, or 4 MiB are waiting. */
  send(data: string | Uint8Array): boolean;
  /** in characters */
  resize(cols: number, rows: number): void;
}

/** What shows a terminal: a `<portside-terminal>`, or something of your own. */
export interface TerminalScreen {
  /** in characters */
  size(): { cols: number; rows: number };
  /**
   * Becomes blank, and sends keys and sizes to `line` from now on. Returns where output goes, as `StartOptions.onOutput`; what comes there after
   * the next `connect` is answered, and not shown.
   */
  connect(line: TerminalLine): (bytes: Uint8Array, done: () => void) => void;
  /** The size that the terminal of this line has and can't change; null: it follows. Called before the first output, and of no use for the next line. */
  fix?(size: { cols: number; rows: number } | null): void;
}
