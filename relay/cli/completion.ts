/**
 * `portside completion bash|zsh|fish`: a script for that shell, made from the tables that parseArgs reads. Names of images are asked for
 * when they are wanted: `portside images --json`.
 */
import { RelayError } from '../../shared/relay-error.ts';
import { C2W_NET_TABLE, COMMAND_TABLES, type CommandTable, type Completes, type Flag } from './command-tables.ts';
import type { CliContext } from './context.ts';

const SHELLS = { bash: bashScript, zsh: zshScript, fish: fishScript };

export async function completion(args: string[], context: CliContext): Promise<number> {
  const [shell, ...more] = args;
  if (shell === undefined || more.length > 0 || !Object.hasOwn(SHELLS, shell)) throw new RelayError('RELAY_BAD_FLAG', `name a shell: ${Object.keys(SHELLS).join(', ')}`);
  context.print(SHELLS[shell as keyof typeof SHELLS]());
  return 0;
}

const IMAGE_NAMES = `portside images --json 2>/dev/null | sed -n 's/^ *"name": "\\(.*\\)",$/\\1/p'`;
const COMMANDS = [...Object.keys(COMMAND_TABLES), 'help'];

/** A flag as it is typed: `--name`, `-n`. */
function spellings(name: string, { short }: Pick<Flag, 'short'>): string[] {
  return [name.length === 1 ? `-${name}` : `--${name}`, ...(short === undefined ? [] : [`-${short}`])];
}

// ---- bash: one function, a case per command ----

function bashScript(): string {
  return `# bash completion of portside and c2w-net: eval "$(portside completion bash)"
_portside() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command=\${COMP_WORDS[1]}
  COMPREPLY=()
  if [ "\${COMP_WORDS[0]##*/}" = c2w-net ]; then command=c2w-net
  elif [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '${COMMANDS.join(' ')} --version' -- "$current"))
    return
  fi
  case $command in
${Object.entries(COMMAND_TABLES).map(([name, table]) => bashCase(name, table)).join('\n')}
${bashCase('c2w-net', C2W_NET_TABLE)}
    help) COMPREPLY=($(compgen -W '${COMMANDS.join(' ')}' -- "$current")) ;;
  esac
}
complete -o default -F _portside portside c2w-net`;
}

function bashCase(name: string, { flags, words }: CommandTable): string {
  const all = Object.entries(flags).flatMap(([flag, about]) => spellings(flag, about));
  const values = Object.entries(flags).filter(([, { type }]) => type === 'string')
    .map(([flag, about]) => `        ${spellings(flag, about).join('|')}) ${bashValue(about.completes)}; return ;;`);
  return [
    `    ${name})`,
    ...(values.length === 0 ? [] : ['      case $previous in', ...values, '      esac']),
    `      if [[ $current == -* ]]; then COMPREPLY=($(compgen -W '${all.join(' ')}' -- "$current"))`,
    `      else ${bashValue(words)}; fi ;;`,
  ].join('\n');
}

function bashValue(completes: Completes | undefined): string {
  switch (completes) {
    // No words of ours: by `-o default` bash offers files, and quotes their names as it should.
    case undefined: return 'compopt +o default';
    case 'file': return ':';
    case 'directory': return 'compopt -o dirnames';
    case 'image': return `COMPREPLY=($(compgen -W "$(${IMAGE_NAMES})" -- "$current"))`;
    default: return `COMPREPLY=($(compgen -W '${completes.join(' ')}' -- "$current"))`;
  }
}

// ---- zsh: _arguments per command ----

function zshScript(): string {
  return `#compdef portside c2w-net
# zsh completion of portside and c2w-net: source <(portside completion zsh), after compinit
_portside_images() { local -a names; names=(\${(f)"$(${IMAGE_NAMES})"}); compadd -a names; _files -g '*.wasm' }
_portside() {
  if [[ $service == c2w-net ]]; then
${zshArguments(C2W_NET_TABLE, '    ')}
    return
  fi
  if (( CURRENT == 2 )); then
    local -a commands; commands=(
${Object.entries(COMMAND_TABLES).map(([name, { summary }]) => `      ${zshQuote(`${name}:${summary}`)}`).join('\n')}
      'help:flags of a command'
    )
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words; (( CURRENT-- ))
  case $command in
${Object.entries(COMMAND_TABLES).map(([name, table]) => `    ${name})\n${zshArguments(table, '      ')} ;;`).join('\n')}
    help) compadd ${COMMANDS.join(' ')} ;;
  esac
}
compdef _portside portside c2w-net`;
}

function zshArguments({ flags, words }: CommandTable, indent: string): string {
  const specs = Object.entries(flags).flatMap(([name, about]) => spellings(name, about).map((spelling) => zshQuote(zshFlag(spelling, about))));
  const rest = zshAction(words);
  return `${indent}_arguments ${[...specs, ...(rest === null ? [] : [zshQuote(`*:${words === 'image' ? 'image' : 'file'}:${rest}`)])].join(` \\\n${indent}  `)}`;
}

function zshFlag(spelling: string, { type, multiple, value, about, completes }: Flag): string {
  const text = about.replace(/[[\]:\\]/g, '\\$&');
  const name = (value ?? '').replace(/[:\\]/g, '\\$&');
  return `${multiple === true ? '*' : ''}${spelling}[${text}]${type === 'string' ? `:${name}:${zshAction(completes) ?? ''}` : ''}`;
}

function zshAction(completes: Completes | undefined): string | null {
  switch (completes) {
    case undefined: return null;
    case 'file': return '_files';
    case 'directory': return '_files -/';
    case 'image': return '_portside_images';
    default: return `(${completes.join(' ')})`;
  }
}

function zshQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// ---- fish: a line per flag ----

function fishScript(): string {
  const lines = ['# fish completion of portside and c2w-net: portside completion fish | source'];
  for (const [name, { summary }] of Object.entries(COMMAND_TABLES)) lines.push(`complete -c portside -n __fish_use_subcommand -f -a ${name} -d ${fishQuote(summary)}`);
  lines.push(`complete -c portside -n __fish_use_subcommand -f -a help -d 'flags of a command'`);
  for (const [name, table] of Object.entries(COMMAND_TABLES)) lines.push(...fishLines(`complete -c portside -n ${fishQuote(`__fish_seen_subcommand_from ${name}`)}`, table));
  lines.push(...fishLines('complete -c c2w-net', C2W_NET_TABLE));
  return lines.join('\n');
}

function fishLines(start: string, { flags, words }: CommandTable): string[] {
  const lines = Object.entries(flags).map(([name, { type, short, about, completes }]) => {
    const long = name.length === 1 ? `-s ${name}` : `-l ${name}`;
    return `${start} ${long}${short === undefined ? '' : ` -s ${short}`}${type === 'string' ? ` -r${fishValue(completes)}` : ''} -d ${fishQuote(about)}`;
  });
  return words === 'image' || typeof words === 'object' ? [...lines, `${start}${fishValue(words)}`] : lines;
}

function fishValue(completes: Completes | undefined): string {
  switch (completes) {
    case undefined: return ' -f';
    case 'file': return ' -F';
    case 'directory': return ` -f -a '(__fish_complete_directories)'`;
    case 'image': return ` -a ${fishQuote(`(${IMAGE_NAMES})`)}`;
    default: return ` -f -a ${fishQuote(completes.join(' '))}`;
  }
}

/** In single quotes fish knows two escapes. */
function fishQuote(text: string): string {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}
