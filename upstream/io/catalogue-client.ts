/**
 * What upstream says to the control plane's catalogue, and asks it.
 *
 * Errors: Failures that name the control plane's address and what to do
 */
import { Type, type Static } from 'typebox';
import { request } from 'undici';
import { checker } from '#base/config.ts';
import { callJson, networkFailure, type JsonAnswer } from '#base/io/http-client.ts';
import { peekPayload } from '#base/jws.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import {
  checkTitleListing,
  LISTING_BYTES_MAX,
  listingPath,
  TITLE_ID_PATTERN,
  type TitleId,
  type TitleListing,
} from '../contract.ts';

const DEADLINE_MS = 10_000;
/** base64url and a header around the JSON. */
const SIGNED_LISTING_BYTES_MAX = Math.ceil((LISTING_BYTES_MAX * 4) / 3) + 4096;

export type Registration = 'taken' | 'conflict';

const TitleVersionsSchema = Type.Object({
  titles: Type.Array(
    Type.Object({
      titleId: Type.String({ pattern: TITLE_ID_PATTERN }),
      version: Type.Integer({ minimum: 1 }),
    }),
  ),
});
const checkTitleVersions = checker(TitleVersionsSchema);
export type TitleVersion = Static<typeof TitleVersionsSchema>['titles'][number];

export class CatalogueClient {
  readonly #url: string;
  readonly #token: string | null;

  constructor(controlPlaneUrl: string, token: string | null) {
    this.#url = controlPlaneUrl.replace(/\/+$/, '');
    this.#token = token;
  }

  /** The listing as the catalogue has it now, or null. */
  async listing(titleId: TitleId): Promise<Outcome<TitleListing | null>> {
    const answer = await this.#call('GET', `/v1/titles/${titleId}`);
    if (!answer.ok) return answer;
    if (answer.value.status === 404 || isDenied(answer.value.body)) return success(null);
    if (answer.value.status !== 200) return failed(this.#refusal('read title', answer.value));
    const checked = checkTitleListing(answer.value.body);
    if (checked.ok) return checked;
    return failed({
      code: 'catalogue-answer',
      source: 'upstream',
      retry: 'never',
      detail: `${this.#url} answered with something that is no title listing: ${checked.failure.slice(0, 3).join('; ')}`,
    });
  }

  /** Every title of the catalogue with its version. */
  async titles(): Promise<Outcome<readonly TitleVersion[]>> {
    const answer = await this.#call('GET', '/v1/titles');
    if (!answer.ok) return answer;
    if (answer.value.status !== 200) return failed(this.#refusal('list titles', answer.value));
    const checked = checkTitleVersions(answer.value.body);
    return success(checked.ok ? checked.value.titles : []);
  }

  /** `conflict`: somebody else published this title meanwhile. */
  async register(listing: TitleListing): Promise<Outcome<Registration>> {
    const answer = await this.#call('POST', '/v1/titles', listing);
    if (!answer.ok) return answer;
    const { status } = answer.value;
    if (status === 200 || status === 201) return success('taken');
    if (status === 409) return success('conflict');
    return failed(this.#refusal(`register title ${listing.titleId}`, answer.value));
  }

  /** The listing as the control plane signed it. Only its claim is looked at here; who serves or uses it verifies it. */
  async signedListing(titleId: TitleId): Promise<Outcome<{ text: string; version: number }>> {
    const url = `${this.#url}${listingPath(titleId)}`;
    try {
      const answer = await request(url, {
        headers: this.#token === null ? {} : { authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(DEADLINE_MS),
      });
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > SIGNED_LISTING_BYTES_MAX) {
          answer.body.destroy();
          break;
        }
        parts.push(part);
      }
      const text = Buffer.concat(parts).toString('utf8').trim();
      const version = answer.statusCode === 200 ? claimedVersion(text, titleId) : null;
      if (version !== null && bytes <= SIGNED_LISTING_BYTES_MAX) return success({ text, version });
      return failed({
        code: 'listing-unsigned',
        source: 'upstream',
        retry: 'same-source',
        detail: `GET ${url}: ${answer.statusCode}, no signed listing of ${titleId}`,
      });
    } catch (thrown) {
      return failed(this.#explain(networkFailure(`GET ${url}`, thrown)));
    }
  }

  async #call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Outcome<JsonAnswer>> {
    const outcome = await callJson({
      method,
      url: `${this.#url}${path}`,
      deadlineMs: DEADLINE_MS,
      answerBytesMax: LISTING_BYTES_MAX,
      ...(body === undefined ? {} : { body }),
      ...(this.#token === null ? {} : { bearer: this.#token }),
    });
    return outcome.ok ? outcome : failed(this.#explain(outcome.failure));
  }

  #explain(failure: Failure): Failure {
    return {
      ...failure,
      code: 'control-plane-unreachable',
      detail: `the control plane does not answer (${failure.detail}); is it running at ${this.#url}?`,
    };
  }

  #refusal(what: string, answer: JsonAnswer): Failure {
    const { status, body } = answer;
    const words =
      typeof body === 'object' && body !== null && 'message' in body
        ? String(body.message)
        : JSON.stringify(body ?? '').slice(0, 300);
    const todo =
      status === 401 || status === 403
        ? '; the token must be one that the control plane knows with the role "publish"'
        : '';
    return {
      code: `catalogue-${status}`,
      source: 'upstream',
      retry: status >= 500 ? 'same-source' : 'never',
      detail: `the control plane at ${this.#url} would not ${what}: ${status} ${words}${todo}`,
    };
  }
}

/** The version that a signed listing of this title claims; null where the text is none. */
export function claimedVersion(signed: string, titleId: TitleId): number | null {
  const checked = checkTitleListing(peekPayload(signed));
  return checked.ok && checked.value.titleId === titleId ? checked.value.version : null;
}

/** A title that was taken down is to the callers here as if it were not in the catalogue. */
function isDenied(body: unknown): boolean {
  return (
    typeof body === 'object' && body !== null && 'error' in body && body.error === 'title-denied'
  );
}
