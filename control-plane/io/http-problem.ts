/**
 * A refusal as it goes over HTTP: a status, a stable word, and a sentence for the person who was refused.
 */
export class HttpProblem extends Error {
  readonly status: number;
  readonly error: string; // stable, kebab-case
  readonly headers: Readonly<Record<string, string>>;

  /** `message` says what is refused, why, where, and what to do. */
  constructor(
    status: number,
    error: string,
    message: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'HttpProblem';
    this.status = status;
    this.error = error;
    this.headers = headers;
  }
}
