/* deb822: stanzas of `Field: value` lines, as in package indices, control files and apt's .sources (deb822(5)). */

/** Fields of one stanza by their name in lower case; continuation lines stay, joined by newlines, without their first space. */
export type Stanza = Map<string, string>;

export function* parseStanzas(text: string): Generator<Stanza> {
  let stanza: Stanza = new Map();
  let field = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    if (line.trim() === '') {
      if (stanza.size > 0) yield stanza;
      stanza = new Map();
      field = '';
    } else if (line[0] === ' ' || line[0] === '\t') {
      if (field !== '') stanza.set(field, `${stanza.get(field)}\n${line.slice(1)}`);
    } else {
      const colon = line.indexOf(':');
      if (colon <= 0) continue;
      field = line.slice(0, colon).toLowerCase();
      stanza.set(field, line.slice(colon + 1).trim());
    }
  }
  if (stanza.size > 0) yield stanza;
}

/** Order of two Debian versions (deb-version(7)): negative when `a` is older. */
export function compareVersions(a: string, b: string): number {
  const split = (version: string): [epoch: number, upstream: string, revision: string] => {
    const colon = version.indexOf(':');
    const rest = version.slice(colon + 1);
    const dash = rest.lastIndexOf('-');
    return [colon < 0 ? 0 : Number(version.slice(0, colon)), dash < 0 ? rest : rest.slice(0, dash), dash < 0 ? '' : rest.slice(dash + 1)];
  };
  const [epochA, upstreamA, revisionA] = split(a);
  const [epochB, upstreamB, revisionB] = split(b);
  return epochA - epochB || compareParts(upstreamA, upstreamB) || compareParts(revisionA, revisionB);
}

/** Runs of non-digits by character (`~` before the end, the end before letters, letters before the rest), runs of digits by value. */
function compareParts(a: string, b: string): number {
  const rank = (char: string | undefined): number => {
    if (char === '~') return -1;
    if (char === undefined || /\d/.test(char)) return 0;
    return /[A-Za-z]/.test(char) ? char.charCodeAt(0) : char.charCodeAt(0) + 256;
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    while ((i < a.length && !/\d/.test(a[i])) || (j < b.length && !/\d/.test(b[j]))) {
      const order = rank(a[i]) - rank(b[j]);
      if (order !== 0) return order;
      i++;
      j++;
    }
    const digitsA = /^\d*/.exec(a.slice(i))![0];
    const digitsB = /^\d*/.exec(b.slice(j))![0];
    const order = Number(digitsA) - Number(digitsB);
    if (order !== 0) return order;
    i += digitsA.length;
    j += digitsB.length;
  }
  return 0;
}
