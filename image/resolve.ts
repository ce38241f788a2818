/*
 * The closure of a set of packages over one package index: what apt would install into an empty root without recommends.
 *
 * All of an index belongs to one release, so version constraints hold by construction and are not looked at; of several
 * versions of a package the newest counts. Among alternatives (`a | b`) the first that is chosen already wins, else the first
 * that exists. A virtual package is provided by what is chosen already, else by the first provider in order of names.
 */
import { compareVersions, parseStanzas, type Stanza } from './control-file.ts';
import { ImageBuildError } from './image-error.ts';

export class PackageIndex {
  readonly #byName = new Map<string, Stanza>();
  readonly #providers = new Map<string, string[]>();

  constructor(text: string) {
    for (const stanza of parseStanzas(text)) {
      const name = stanza.get('package');
      const old = name === undefined ? undefined : this.#byName.get(name);
      if (name === undefined || (old !== undefined && compareVersions(old.get('version') ?? '', stanza.get('version') ?? '') >= 0)) continue;
      this.#byName.set(name, stanza);
      for (const [virtual] of alternatives(stanza.get('provides') ?? '')) {
        this.#providers.set(virtual, [...new Set([...(this.#providers.get(virtual) ?? []), name])].sort());
      }
    }
  }

  get size(): number { return this.#byName.size; }

  get(name: string): Stanza {
    const stanza = this.#byName.get(name);
    if (stanza === undefined) throw new ImageBuildError(`the package index has no package ${name}`);
    return stanza;
  }

  /** Names of all packages marked Essential, which everything may use without saying so (Debian policy §3.8). */
  essential(): string[] {
    return [...this.#byName].filter(([, stanza]) => stanza.get('essential') === 'yes').map(([name]) => name).sort();
  }

  /** `wanted` and all that they depend on, in order of names. */
  closure(wanted: string[]): string[] {
    const chosen = new Set<string>();
    // What is asked for by name settles every choice, whenever its turn comes.
    const settled = { has: (name: string): boolean => chosen.has(name) || wanted.includes(name) };
    const todo = wanted.toReversed();
    while (todo.length > 0) {
      const name = todo.pop()!;
      if (chosen.has(name)) continue;
      const stanza = this.get(name);
      chosen.add(name);
      for (const field of ['pre-depends', 'depends']) {
        for (const choices of alternatives(stanza.get(field) ?? '')) todo.push(this.#choose(choices, settled, name));
      }
    }
    return [...chosen].sort();
  }

  #choose(choices: string[], chosen: { has(name: string): boolean }, dependent: string): string {
    for (const choice of choices) {
      const there = [choice, ...(this.#providers.get(choice) ?? [])].find((name) => chosen.has(name));
      if (there !== undefined) return there;
    }
    for (const choice of choices) {
      const there = [choice, ...(this.#providers.get(choice) ?? [])].find((name) => this.#byName.has(name));
      if (there !== undefined) return there;
    }
    throw new ImageBuildError(`${dependent} needs ${choices.join(' or ')}, which the package index does not have`);
  }
}

/** `a (>= 1) | b:any, c` → [[a, b], [c]] */
function alternatives(relations: string): string[][] {
  return relations.split(',').map((choices) => choices.split('|').map((choice) => /^\s*([a-z0-9][a-z0-9+.-]*)/.exec(choice)?.[1] ?? '').filter((name) => name !== ''))
    .filter((choices) => choices.length > 0);
}
