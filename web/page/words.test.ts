import { describe, expect, it } from 'vitest';
import { splitWords } from './words.ts';

describe('splitWords', () => {
  const cases: [string, string[]][] = [
    ['', []],
    ['  \t ', []],
    ['ls -l /', ['ls', '-l', '/']],
    ['  ls   -l  ', ['ls', '-l']],
    [`sh -c 'echo "a b"; exit 3'`, ['sh', '-c', 'echo "a b"; exit 3']],
    [`sh -c "echo 'a b'"`, ['sh', '-c', "echo 'a b'"]],
    [String.raw`printf "\$HOME \"q\" \\ \n"`, ['printf', String.raw`$HOME "q" \ \n`]],
    [String.raw`a\ b c\'d`, ['a b', "c'd"]],
    [`'' "" x`, ['', '', 'x']],
    [`a'b'"c"d`, ['abcd']],
    [String.raw`'\n'`, [String.raw`\n`]],
    ['echo $HOME `id` * #x', ['echo', '$HOME', '`id`', '*', '#x']],
    ['écho "日本 語"', ['écho', '日本 語']],
  ];
  for (const [line, argv] of cases) {
    it(`splits ${JSON.stringify(line)}`, () => expect(splitWords(line)).toEqual({ argv }));
  }

  it('names what is unfinished', () => {
    expect(splitWords(`echo 'a`)).toEqual({ problem: 'a single quote is never closed' });
    expect(splitWords(`echo "a\\"`)).toEqual({ problem: 'a double quote is never closed' });
    expect(splitWords('echo \\')).toEqual({ problem: 'it ends in a lone backslash' });
  });
});
