/**
 * The box's calls to the control plane: an access token by its own key (RFC 7523), then the pulls.
 *
 * Errors: a Failure for everything, with the control plane's own words; nothing here is needed to serve
 */
import { randomUUID } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { Agent, request } from 'undici';
import {
  checkRouteAnswer,
  checkViewRecordAnswer,
  type PathQuality,
  type RouteBatch,
  type ViewRecordBatch,
} from '#appliance/contract.ts';
import { callJsonOk, networkFailure } from '#base/io/http-client.ts';
import { signCompact, type SigningKey } from '#base/jws.ts';
import { failed, success, type Failure, type Outcome } from '#base/outcome.ts';
import {
  ASSERTION_AUDIENCE,
  ASSERTION_GRANT_TYPE,
  ASSERTION_LIFE_SECONDS_MAX,
  checkAccessTokenAnswer,
  checkFillSources,
  JWS_TYPE,
  signPossession,
  MANIFEST_BODY_BYTES_MAX,
  type ApplianceId,
  type FillSources,
  type SourcesRequest,
} from '#control-plane/contract.ts';
import { LISTING_BYTES_MAX, listingPath, type TitleId } from '#upstream/contract.ts';

const CALL_MS_MAX = 5000;
const MANIFEST_MS_MAX = 120_000;
const MANIFEST_HEADER_BYTES_MAX = 64 * 1024;
const POSSESSION_RENEW_MS = 25_000; // half of its life at the source, and a little
const POSSESSIONS_MAX = 1000; // sources
const TOKEN_SLACK_MS = 60_000; // a new one is asked for this long before the old one ends

export interface ControlPlaneClientOptions {
  readonly url: string;
  readonly applianceId: ApplianceId;
  readonly key: SigningKey;
  readonly nowMs: () => number; // trusted
  readonly monotonicMs: () => number;
}

export class ControlPlaneClient {
  readonly #options: ControlPlaneClientOptions;
  readonly #agent = new Agent({ connections: 4, connect: { timeout: 2000 } });
  #token: { readonly text: string; readonly untilMs: number } | null = null;
  #asking: Promise<Outcome<string>> | null = null;
  readonly #possessions = new LRUCache<string, { text: Promise<string>; atMs: number }>({
    max: POSSESSIONS_MAX,
  });

  constructor(options: ControlPlaneClientOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#options.url;
  }

  /** That this box holds the key of its grant, for one source: one signature per source and half minute. */
  possession(sourceId: string): Promise<string> {
    const { applianceId, key, nowMs, monotonicMs } = this.#options;
    const now = monotonicMs();
    const known = this.#possessions.get(sourceId);
    if (known !== undefined && now - known.atMs < POSSESSION_RENEW_MS) return known.text;
    const text = signPossession(key, applianceId, sourceId, Math.floor(nowMs() / 1000));
    this.#possessions.set(sourceId, { text, atMs: now });
    return text;
  }

  /** A document by this box's own key. */
  sign(type: string, payload: unknown): Promise<string> {
    return signCompact(this.#options.key, type, payload);
  }

  /** An access token that is good for a while longer. One request at a time. */
  accessToken(): Promise<Outcome<string>> {
    if (this.#token !== null && this.#options.monotonicMs() < this.#token.untilMs) {
      return Promise.resolve(success(this.#token.text));
    }
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** The token was refused: the next call asks for another one. */
  forgetToken(): void {
    this.#token = null;
  }

  async sources(body: SourcesRequest): Promise<Outcome<FillSources>> {
    const answer = await this.#call('POST', '/v1/sources', body);
    if (!answer.ok) return answer;
    const checked = checkFillSources(answer.value);
    return checked.ok ? checked : failed(malformed('/v1/sources', checked.failure));
  }

  async grant(): Promise<Outcome<string>> {
    const answer = await this.#call('GET', '/v1/grant');
    if (!answer.ok) return answer;
    const { value } = answer;
    if (typeof value === 'object' && value !== null && 'grant' in value) {
      if (typeof value.grant === 'string') return success(value.grant);
    }
    return failed(malformed('/v1/grant', ['no grant in it']));
  }

  async postViews(batch: ViewRecordBatch): Promise<Outcome<{ readonly acknowledged: number }>> {
    const answer = await this.#call('POST', '/v1/view-records', batch);
    if (!answer.ok) return answer;
    const checked = checkViewRecordAnswer(answer.value);
    return checked.ok ? checked : failed(malformed('/v1/view-records', checked.failure));
  }

  /** A minute of path quality: sent once, lost where the control plane is away. */
  async postPathQuality(quality: PathQuality): Promise<Outcome<null>> {
    const answer = await this.#call('POST', '/v1/path-quality', quality);
    return answer.ok ? success(null) : answer;
  }

  async postRoutes(
    batch: RouteBatch,
  ): Promise<Outcome<{ readonly version: number; readonly resync: boolean }>> {
    const answer = await this.#call('POST', '/v1/routes', batch);
    if (!answer.ok) return answer;
    const checked = checkRouteAnswer(answer.value);
    return checked.ok ? checked : failed(malformed('/v1/routes', checked.failure));
  }

  /** The manifest as served, unverified; 'current' where `version` is it; 'none' while there is no plan. */
  async manifest(
    version: number,
    mayBeDelta: boolean,
  ): Promise<Outcome<Buffer | 'current' | 'none'>> {
    const token = await this.accessToken();
    if (!token.ok) return token;
    const path = mayBeDelta ? `/v1/manifest?base=${version}` : '/v1/manifest';
    return this.#bytes(path, MANIFEST_BODY_BYTES_MAX + MANIFEST_HEADER_BYTES_MAX, {
      authorization: `Bearer ${token.value}`,
      'if-none-match': `"${version}"`,
    });
  }

  /** The title's listing as the control plane signed it. */
  async listing(titleId: TitleId): Promise<Outcome<string>> {
    const bytes = await this.#bytes(listingPath(titleId), LISTING_BYTES_MAX * 2, {});
    if (!bytes.ok) return bytes;
    if (typeof bytes.value !== 'string') return success(bytes.value.toString('latin1'));
    return failed({
      code: 'title-unknown',
      source: 'upstream',
      retry: 'never',
      detail: `the control plane knows no title ${titleId}`,
    });
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #call(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Outcome<unknown>> {
    const token = await this.accessToken();
    if (!token.ok) return token;
    const outcome = await callJsonOk({
      method,
      url: `${this.#options.url}${path}`,
      body,
      bearer: token.value,
      deadlineMs: CALL_MS_MAX,
    });
    if (!outcome.ok && outcome.failure.code === 'status-401') this.forgetToken();
    return outcome;
  }

  async #bytes(
    path: string,
    bytesMax: number,
    headers: Record<string, string>,
  ): Promise<Outcome<Buffer | 'current' | 'none'>> {
    const url = `${this.#options.url}${path}`;
    try {
      const answer = await request(url, {
        dispatcher: this.#agent,
        headers,
        headersTimeout: CALL_MS_MAX,
        bodyTimeout: CALL_MS_MAX,
        signal: AbortSignal.timeout(MANIFEST_MS_MAX),
      });
      const { statusCode } = answer;
      if (statusCode !== 200) {
        answer.body.on('error', () => {}).destroy();
        if (statusCode === 304) return success('current');
        if (statusCode === 404) return success('none');
        if (statusCode === 401) this.forgetToken();
        return failed(statusFailure(url, statusCode));
      }
      const parts: Buffer[] = [];
      let bytes = 0;
      for await (const part of answer.body as AsyncIterable<Buffer>) {
        bytes += part.length;
        if (bytes > bytesMax) return failed(tooLarge(url, bytesMax));
        parts.push(part);
      }
      return success(Buffer.concat(parts));
    } catch (thrown) {
      return failed(networkFailure(`GET ${url}`, thrown));
    }
  }

  async #ask(): Promise<Outcome<string>> {
    const { applianceId, key, nowMs, url, monotonicMs } = this.#options;
    const iat = Math.floor(nowMs() / 1000);
    const assertion = await signCompact(key, JWS_TYPE.assertion, {
      iss: applianceId,
      sub: applianceId,
      aud: ASSERTION_AUDIENCE,
      jti: randomUUID(),
      iat,
      exp: iat + ASSERTION_LIFE_SECONDS_MAX,
    });
    const answer = await callJsonOk({
      method: 'POST',
      url: `${url}/v1/token`,
      body: { grant_type: ASSERTION_GRANT_TYPE, assertion },
      deadlineMs: CALL_MS_MAX,
    });
    if (!answer.ok) return answer;
    const checked = checkAccessTokenAnswer(answer.value);
    if (!checked.ok) return failed(malformed('/v1/token', checked.failure));
    const lifeMs = Math.max(1000, checked.value.expires_in * 1000 - TOKEN_SLACK_MS);
    this.#token = { text: checked.value.access_token, untilMs: monotonicMs() + lifeMs };
    return success(checked.value.access_token);
  }
}

function malformed(path: string, problems: readonly string[]): Failure {
  return {
    code: 'answer-malformed',
    source: 'upstream',
    retry: 'same-source',
    detail: `${path}: ${problems.slice(0, 3).join('; ')}`,
  };
}

function statusFailure(url: string, status: number): Failure {
  return {
    code: `status-${status}`,
    source: 'upstream',
    retry: 'same-source',
    detail: `GET ${url}: ${status}`,
  };
}

function tooLarge(url: string, bytesMax: number): Failure {
  return {
    code: 'answer-too-large',
    source: 'upstream',
    retry: 'never',
    detail: `GET ${url}: more than ${bytesMax} bytes`,
  };
}
