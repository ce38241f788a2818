/** A caller's or a configuration's mistake, with a stable code that is documented. Never for what a peer sent. */
export class RelayError extends Error {
  readonly code: `RELAY_${string}`;

  constructor(code: `RELAY_${string}`, message: string) {
    super(message);
    this.name = 'RelayError';
    this.code = code;
  }
}
