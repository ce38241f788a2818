/** Owners in the order in which they were last heard: to touch one and to find the one that is idle for longest costs the same for any number. */

export interface Idler {
  older: Idler | null;
  newer: Idler | null;
}

export class IdleList<T extends Idler> {
  #oldest: T | null = null;
  #newest: T | null = null;

  get oldest(): T | null {
    return this.#oldest;
  }

  /** One that is in no list. */
  add(owner: T): void {
    owner.older = this.#newest;
    owner.newer = null;
    if (this.#newest === null) this.#oldest = owner;
    else this.#newest.newer = owner;
    this.#newest = owner;
  }

  /** One that is in this list was heard now. */
  touch(owner: T): void {
    if (owner === this.#newest) return;
    this.remove(owner);
    this.add(owner);
  }

  /** One that is in this list. */
  remove(owner: T): void {
    const { older, newer } = owner as { older: T | null; newer: T | null };
    if (older === null) this.#oldest = newer;
    else older.newer = newer;
    if (newer === null) this.#newest = older;
    else newer.older = older;
    owner.older = null;
    owner.newer = null;
  }
}
