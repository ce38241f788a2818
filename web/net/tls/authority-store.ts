/*
 * The authority of a network of several tabs, in IndexedDB: guests trust it, and whichever tab is the gateway must have its key. The key is
 * kept as an object of the browser's, which nobody can take bytes out of.
 */
import { makeAuthority, type StoredAuthority } from './authority.ts';

const DATABASE = 'portside-net';
const STORE = 'authorities';
/** one that ends sooner is made anew */
const LEFT_MS = 7 * 86_400_000;

/** Where nothing can be kept it is new, and each tab has its own. */
export async function sharedAuthority(network: string, nowMs: number): Promise<StoredAuthority> {
  const made = await makeAuthority(nowMs);
  try {
    const database = await open();
    try {
      return await settle(database, network, made, nowMs);
    } finally {
      database.close();
    }
  } catch {
    return made;
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => { request.result.createObjectStore(STORE); };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error('no database'));
  });
}

/** In one transaction: of two tabs that make one at the same time, one takes the other's. */
function settle(database: IDBDatabase, network: string, made: StoredAuthority, nowMs: number): Promise<StoredAuthority> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, 'readwrite');
    const store = transaction.objectStore(STORE);
    let chosen = made;
    const known = store.get(network) as IDBRequest<StoredAuthority | undefined>;
    known.onsuccess = () => {
      if (known.result !== undefined && known.result.untilMs - nowMs > LEFT_MS) chosen = known.result;
      else store.put(made, network);
    };
    transaction.oncomplete = () => resolve(chosen);
    transaction.onabort = () => reject(transaction.error ?? new Error('not stored'));
  });
}
