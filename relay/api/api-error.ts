/** What the caller of an API did wrong, or can't have: a status, and a sentence for people. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}
