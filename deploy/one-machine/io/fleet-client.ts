/**
 * The few calls that `up` and its check make to the running services.
 */
import { callJsonOk } from '#base/io/http-client.ts';
import type { FillKindBytes } from '../check-report.ts';
import { checkPlannerInput, type PlannerInput } from '#fill-planner/contract.ts';
import { checkPlayAnswer, type PlayAnswer, type PlayRequest } from '#steering/contract.ts';
import type { Site } from '#control-plane/contract.ts';
import { checkTitleListing, type TitleListing } from '#upstream/contract.ts';
import { urlOf, type ApplianceLayout, type Layout } from '../layout.ts';

const DEADLINE_MS = 10_000;

/** The parts of a box's /status that `up` reads. */
export interface BoxStatus {
  readonly manifestVersion: number;
  readonly filesWanted: number;
  readonly filesHeld: number;
  readonly bytesWanted: number;
  readonly bytesHeld: number;
  readonly problem: string | null;
  readonly fillBytes: FillKindBytes;
  readonly missBytes: FillKindBytes;
  readonly viewerBytes: number;
}

export interface OriginStatus {
  readonly serveBytes: number;
  readonly fillBytes: number;
}

export class FleetClient {
  readonly #layout: Layout;
  readonly #tokens: Readonly<Record<string, string>>;

  constructor(layout: Layout, tokens: Readonly<Record<string, string>>) {
    this.#layout = layout;
    this.#tokens = tokens;
  }

  async registerSite(site: Site): Promise<void> {
    await this.#controlPlane('POST', '/v1/sites', 'operator', site);
  }

  async enrolmentToken(box: ApplianceLayout): Promise<string> {
    const { applianceId, siteId, clusterId } = box;
    const answer = await this.#controlPlane('POST', '/v1/enrolment-tokens', 'operator', {
      applianceId,
      siteId,
      clusterId,
    });
    return (answer as { token: string }).token;
  }

  async titles(): Promise<readonly { titleId: string; kind: string; name: string }[]> {
    const answer = await this.#controlPlane('GET', '/v1/titles', 'operator');
    return (answer as { titles: { titleId: string; kind: string; name: string }[] }).titles;
  }

  async listing(titleId: string): Promise<TitleListing> {
    const answer = await this.#controlPlane('GET', `/v1/titles/${titleId}`, 'operator');
    const checked = checkTitleListing(answer);
    if (!checked.ok) throw new Error(`listing of ${titleId}: ${checked.failure.join('; ')}`);
    return checked.value;
  }

  async plannerInput(planDate: string): Promise<PlannerInput> {
    const answer = await this.#controlPlane(
      'GET',
      `/v1/planner/input?planDate=${planDate}`,
      'planner',
    );
    const checked = checkPlannerInput(answer);
    if (!checked.ok) throw new Error(`planner input: ${checked.failure.join('; ')}`);
    return checked.value;
  }

  async play(request: PlayRequest): Promise<PlayAnswer> {
    const outcome = await callJsonOk({
      method: 'POST',
      url: `${urlOf(this.#layout.steering)}/v1/play`,
      body: request,
      bearer: this.#tokens['playback'],
      deadlineMs: DEADLINE_MS,
    });
    if (!outcome.ok) throw new Error(outcome.failure.detail);
    const checked = checkPlayAnswer(outcome.value);
    if (!checked.ok) throw new Error(`steering's answer: ${checked.failure.join('; ')}`);
    return checked.value;
  }

  /** null while the box does not answer or has not sent a heartbeat. */
  async boxStatus(box: ApplianceLayout): Promise<BoxStatus | null> {
    const outcome = await callJsonOk({
      method: 'GET',
      url: `${urlOf(box.admin)}/status`,
      deadlineMs: DEADLINE_MS,
    });
    if (!outcome.ok) return null;
    const { heartbeat } = outcome.value as {
      heartbeat: null | {
        fill: {
          manifestVersion: number;
          filesWanted: number;
          filesHeld: number;
          bytesWanted: number;
          bytesHeld: number;
          problem: string | null;
        };
        counters: { fillBytes: FillKindBytes; missBytes: FillKindBytes; viewerBytes: number };
      };
    };
    if (heartbeat === null) return null;
    const { fill, counters } = heartbeat;
    return { ...fill, ...counters };
  }

  async originStatus(): Promise<OriginStatus> {
    const outcome = await callJsonOk({
      method: 'GET',
      url: `${urlOf(this.#layout.origin.admin)}/status`,
      deadlineMs: DEADLINE_MS,
    });
    if (!outcome.ok) throw new Error(`origin: ${outcome.failure.detail}`);
    return outcome.value as OriginStatus;
  }

  async #controlPlane(
    method: 'GET' | 'POST',
    path: string,
    token: string,
    body?: unknown,
  ): Promise<unknown> {
    const outcome = await callJsonOk({
      method,
      url: `${urlOf(this.#layout.controlPlane)}${path}`,
      bearer: this.#tokens[token],
      deadlineMs: DEADLINE_MS,
      ...(body === undefined ? {} : { body }),
    });
    if (!outcome.ok) throw new Error(outcome.failure.detail);
    return outcome.value;
  }
}
