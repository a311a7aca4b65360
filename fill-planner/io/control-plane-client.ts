/**
 * The control plane as the planner sees it: one input to read, one set of plans to hand in.
 */
import { callJsonOk } from '#base/io/http-client.ts';
import type { Outcome } from '#base/outcome.ts';
import type { FastTrackEntry } from '#control-plane/contract.ts';

const INPUT_DEADLINE_MS = 120_000;
const POST_DEADLINE_MS = 120_000;
const INPUT_BYTES_MAX = 2 * 1024 ** 3 - 1; // one string of the engine; larger fleets plan from rollups on disk

export interface ControlPlaneClient {
  plannerInput(planDate: string): Promise<Outcome<unknown>>;
  postPlans(signedPlanSet: string): Promise<Outcome<unknown>>;
  postFastTrack(entries: readonly FastTrackEntry[]): Promise<Outcome<unknown>>;
}

export function controlPlaneClient(baseUrl: string, token: string): ControlPlaneClient {
  const base = baseUrl.replace(/\/+$/, '');
  return {
    plannerInput: (planDate) =>
      callJsonOk({
        method: 'GET',
        url: `${base}/v1/planner/input?planDate=${encodeURIComponent(planDate)}`,
        bearer: token,
        deadlineMs: INPUT_DEADLINE_MS,
        answerBytesMax: INPUT_BYTES_MAX,
      }),
    postPlans: (signedPlanSet) =>
      callJsonOk({
        method: 'POST',
        url: `${base}/v1/plans`,
        bearer: token,
        body: { planSet: signedPlanSet },
        deadlineMs: POST_DEADLINE_MS,
      }),
    postFastTrack: (entries) =>
      callJsonOk({
        method: 'POST',
        url: `${base}/v1/fast-track`,
        bearer: token,
        body: { entries },
        deadlineMs: POST_DEADLINE_MS,
      }),
  };
}
