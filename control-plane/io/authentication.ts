/**
 * Who calls: a service by its token, a box by its access token, a person by the pages' password.
 *
 * Errors: HttpProblem 401 (unknown), 403 (known, but not allowed), 429 (too often)
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import type { Clock } from '#base/clock.ts';
import type { ControlPlaneConfig } from '../config.ts';
import type { ServiceRole } from '../contract.ts';
import type { Box, Fleet } from '../fleet.ts';
import { TokenBucket } from '../token-bucket.ts';
import { openAccessToken, serviceOf, type ControlPlaneKeys } from '../trust.ts';
import { HttpProblem } from './http-problem.ts';

const ADDRESSES_KEPT = 10_000;
const OPEN_CALLS_BURST_SECONDS = 5; // of what an address may do in a second, saved up

export class Authentication {
  readonly #config: ControlPlaneConfig;
  readonly #keys: ControlPlaneKeys;
  readonly #fleet: Fleet;
  readonly #clock: Clock;
  readonly #isRevoked: (applianceId: string) => boolean;
  readonly #boxes = new WeakMap<FastifyRequest, Box>(); // verified once per request
  readonly #budgets = new LRUCache<string, TokenBucket>({ max: ADDRESSES_KEPT });

  constructor(
    config: ControlPlaneConfig,
    keys: ControlPlaneKeys,
    fleet: Fleet,
    clock: Clock,
    isRevoked: (applianceId: string) => boolean,
  ) {
    this.#config = config;
    this.#keys = keys;
    this.#fleet = fleet;
    this.#clock = clock;
    this.#isRevoked = isRevoked;
  }

  /** The name of the calling service, which must have `role`. */
  service(request: FastifyRequest, role: ServiceRole): string {
    const service = serviceOf(bearerOf(request), this.#config.serviceTokens);
    if (service === null) {
      throw unauthorised(
        `${request.url} asks for a service token with the role "${role}"; this one is not among serviceTokens of the control plane's configuration`,
      );
    }
    if (service.role !== role) {
      throw new HttpProblem(
        403,
        'role-missing',
        `${service.name} has the role "${service.role}", ${request.url} asks for "${role}"`,
      );
    }
    return service.name;
  }

  /** The name of the calling service, which must have one of these roles. */
  serviceOfAny(request: FastifyRequest, roles: readonly ServiceRole[]): string {
    const found = serviceOf(bearerOf(request), this.#config.serviceTokens);
    const role = found !== null && roles.includes(found.role) ? found.role : roles[0];
    return this.service(request, role);
  }

  /** The calling box: enrolled, and with the key that it has now. */
  async box(request: FastifyRequest): Promise<Box> {
    const verified = this.#boxes.get(request);
    if (verified !== undefined) return verified;
    const nowSeconds = Math.floor(this.#clock.wallMs() / 1000);
    const opened = await openAccessToken(bearerOf(request), this.#keys.ring, nowSeconds);
    if (!opened.ok) {
      throw unauthorised(
        `the access token is refused (${opened.failure}): ask POST /v1/token for a new one`,
      );
    }
    const box = this.#fleet.box(opened.value.sub);
    if (box === undefined || box.record.thumbprint !== opened.value.jkt) {
      throw unauthorised(
        `appliance ${opened.value.sub} is not enrolled with this key: it was removed, ask the operator for a new enrolment token`,
      );
    }
    this.refuseRevoked(box.record.applianceId);
    this.#boxes.set(request, box);
    return box;
  }

  refuseRevoked(applianceId: string): void {
    if (!this.#isRevoked(applianceId)) return;
    throw new HttpProblem(
      403,
      'appliance-revoked',
      `appliance ${applianceId} is revoked: its operator can allow it again with "nightfill appliance allow ${applianceId}"`,
    );
  }

  /** Calls that anybody may try are counted per address. */
  limitAddress(request: FastifyRequest): void {
    const nowMs = this.#clock.monotonicMs();
    let budget = this.#budgets.get(request.ip);
    if (budget === undefined) {
      const perSecond = this.#config.openCallsPerSecond;
      budget = new TokenBucket(OPEN_CALLS_BURST_SECONDS * perSecond, perSecond, nowMs);
      this.#budgets.set(request.ip, budget);
    }
    if (budget.take(nowMs)) return;
    throw new HttpProblem(
      429,
      'too-many-requests',
      `more than ${this.#config.openCallsPerSecond} calls a second from ${request.ip}: wait a second`,
      { 'retry-after': '1' },
    );
  }

  /** The pages are open on loopback; elsewhere the configuration demands a password, and so do we. */
  person(request: FastifyRequest): void {
    const wanted = this.#config.pagesAuthentication;
    if (wanted === undefined) return;
    const [scheme, credentials] = (request.headers.authorization ?? '').split(' ');
    if (scheme?.toLowerCase() === 'basic' && credentials !== undefined) {
      const text = Buffer.from(credentials, 'base64').toString('utf8');
      const colon = text.indexOf(':');
      const presented = createHash('sha256')
        .update(text.slice(colon + 1))
        .digest();
      const expected = Buffer.from(wanted.passwordSha256, 'base64url');
      const passwordFits =
        presented.length === expected.length && timingSafeEqual(presented, expected);
      if (passwordFits && text.slice(0, colon) === wanted.user) return;
    }
    throw new HttpProblem(
      401,
      'password-needed',
      'the pages of this control plane ask for a password',
      {
        'www-authenticate': 'Basic realm="Nightfill", charset="UTF-8"',
      },
    );
  }
}

function bearerOf(request: FastifyRequest): string {
  const match = /^Bearer ([A-Za-z0-9._~+/=-]{1,4096})$/.exec(request.headers.authorization ?? '');
  if (match === null) {
    throw unauthorised(`${request.url} asks for "Authorization: Bearer <token>"`);
  }
  return match[1];
}

function unauthorised(message: string): HttpProblem {
  return new HttpProblem(401, 'not-authorised', message, { 'www-authenticate': 'Bearer' });
}
