/**
 * Asks steering where a viewer may play a title from.
 *
 * Errors: `not-available` and `unknown-title` are steering's own refusals, in its words; `steering-gone` is everything else
 */
import { callJson } from '#base/io/http-client.ts';
import { failed, type Failure, type Outcome } from '#base/outcome.ts';
import { checkPlayAnswer, type PlayAnswer, type PlayRequest } from '#steering/contract.ts';

const DEADLINE_MS = 3000;
const ANSWER_BYTES_MAX = 4 * 1024 * 1024; // 64 files x 4 URLs of 2.5 KiB, and room

export class SteeringClient {
  readonly #url: string;
  readonly #token: string;

  constructor(steeringUrl: string, token: string) {
    this.#url = steeringUrl;
    this.#token = token;
  }

  async play(ask: PlayRequest): Promise<Outcome<PlayAnswer>> {
    const outcome = await callJson({
      method: 'POST',
      url: `${this.#url}/v1/play`,
      body: ask,
      bearer: this.#token,
      deadlineMs: DEADLINE_MS,
      answerBytesMax: ANSWER_BYTES_MAX,
    });
    if (!outcome.ok) return failed(gone(`it does not answer (${outcome.failure.detail})`));
    const { status, body } = outcome.value;
    if (status === 403) return failed(refused('not-available', body));
    if (status === 404) return failed(refused('unknown-title', body));
    if (status !== 200) return failed(gone(`it answered ${status}: ${wordsOf(body)}`));
    const checked = checkPlayAnswer(body);
    if (!checked.ok) {
      return failed(gone(`its answer is not valid: ${checked.failure.slice(0, 3).join('; ')}`));
    }
    if (checked.value.files.length === 0) return failed(gone('its answer names no file'));
    return checked;
  }
}

function gone(why: string): Failure {
  return {
    code: 'steering-gone',
    source: 'upstream',
    retry: 'same-source',
    detail: `steering gave no ranked URLs: ${why}. Players may ask again`,
  };
}

function refused(code: string, body: unknown): Failure {
  return { code, source: 'downstream', retry: 'never', detail: wordsOf(body) };
}

function wordsOf(body: unknown): string {
  const { message, problems } = (typeof body === 'object' && body !== null ? body : {}) as {
    message?: unknown;
    problems?: unknown;
  };
  const more = Array.isArray(problems) && problems.length > 0 ? ` (${problems.join('; ')})` : '';
  return `${typeof message === 'string' ? message : JSON.stringify(body)}${more}`.slice(0, 1000);
}
