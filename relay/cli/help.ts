/** `portside help [command]`, made from the tables of the commands. */
import { COMMAND_TABLES, type CommandTable, type Flag } from './command-tables.ts';

/** column at which a flag's text begins, less what stands in front of it */
const FLAG_WIDTH = 21;
const OVERVIEW_WIDTH = 25;

/** The text for a command, or for all; null for one that there is not. */
export function helpText(topic: string | undefined): string | null {
  if (topic === undefined || topic === 'help') return overview();
  return Object.hasOwn(COMMAND_TABLES, topic) ? commandHelp(`portside ${topic}`, COMMAND_TABLES[topic]) : null;
}

export function commandHelp(name: string, { usage, before, flags, after }: CommandTable): string {
  const lines = Object.entries(flags).map(([flag, about]) => flagHelp(flag, about));
  return [`${name} ${usage}`, before, lines.join('\n'), after].filter((part) => part !== undefined && part !== '').join('\n\n');
}

function overview(): string {
  const rows = Object.entries(COMMAND_TABLES).map(([name, { summary }]) => [`portside ${name}`, summary]);
  rows.push(['portside help [command]', 'flags of a command'], ['portside --version', '']);
  const lines = rows.map(([left, right]) => `  ${left.padEnd(OVERVIEW_WIDTH)}${right}`.trimEnd());
  return `Linux containers in a browser tab, or in this terminal, on a real network.\n\n${lines.join('\n')}`;
}

function flagHelp(name: string, { short, value, about }: Flag): string {
  const left = `${name.length === 1 ? '-' : '--'}${name}${short === undefined ? '' : `, -${short}`}${value === undefined ? '' : ` ${value}`}`;
  return left.length < FLAG_WIDTH ? `  ${left.padEnd(FLAG_WIDTH)}${about}` : `  ${left}\n  ${' '.repeat(FLAG_WIDTH)}${about}`;
}
