/**
 * A night's plans reach the fleet in stages: the canary sites, then a share of all boxes, then the rest.
 *
 *   canary --held, misses as before--> share --held, misses as before--> done
 *      \---------- misses rose -----------'-----> rolled-back: boxes get what they had, as a new version
 *
 * Shape:      (stage, misses before and since, config, now) -> wait | widen | roll back with the reason
 * Invariants: (1) a stage lasts at least `holdMinutes`, however good it looks; misses that rose end it at once
 *             (2) nothing watched is no evidence: the stage goes on to its end, and then further
 */
import { createHash } from 'node:crypto';
import { MINUTE_MS } from '#base/units.ts';
import type { ApplianceId, SiteId } from './contract.ts';

export interface RolloutConfig {
  readonly canarySites: readonly SiteId[];
  readonly share: number; // of the boxes, in the second stage
  readonly holdMinutes: number;
  readonly missRiseMax: number;
}

export type RolloutStage = 'canary' | 'share';

export interface MissFigures {
  readonly viewerBytes: number;
  readonly missBytes: number; // fetched on demand for these viewers
}

export type RolloutVerdict =
  | { readonly verdict: 'wait' }
  | { readonly verdict: 'widen' }
  | { readonly verdict: 'roll-back'; readonly why: string };

/** Less than this was watched since: one film's start says nothing. */
const EVIDENCE_BYTES_MIN = 100_000_000;

export function stageOf(
  box: { readonly applianceId: ApplianceId; readonly siteId: SiteId },
  config: RolloutConfig,
): RolloutStage | 'rest' {
  if (config.canarySites.includes(box.siteId)) return 'canary';
  const hash = createHash('sha256').update(box.applianceId).digest().readUInt32BE(0);
  return hash / 2 ** 32 < config.share ? 'share' : 'rest';
}

export function judgeRollout(
  before: MissFigures,
  since: MissFigures,
  startedAtMs: number,
  config: RolloutConfig,
  nowMs: number,
): RolloutVerdict {
  const was = before.viewerBytes === 0 ? 0 : before.missBytes / before.viewerBytes;
  if (since.viewerBytes >= EVIDENCE_BYTES_MIN) {
    const is = since.missBytes / since.viewerBytes;
    if (is > was + config.missRiseMax) {
      const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
      const why = `content misses rose from ${percent(was)} to ${percent(is)} of what viewers took`;
      return { verdict: 'roll-back', why };
    }
  }
  return nowMs - startedAtMs >= config.holdMinutes * MINUTE_MS
    ? { verdict: 'widen' }
    : { verdict: 'wait' };
}
