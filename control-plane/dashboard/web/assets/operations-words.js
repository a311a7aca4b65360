/**
 * What releases, takedowns, a rollout, an inventory, steering nodes and external CDNs say in words, with their tone. Pure.
 */
import {
  formatBps,
  formatBytes,
  formatCount,
  formatDuration,
  formatShare,
  plural,
  UNKNOWN,
} from './format.js';

/** @typedef {import('../../operations-view.ts').ReleaseView} ReleaseView */
/** @typedef {import('../../operations-view.ts').TakedownView} TakedownView */
/** @typedef {import('../../operations-view.ts').RolloutView} RolloutView */
/** @typedef {import('../../operations-view.ts').InventoryView} InventoryView */
/** @typedef {import('../../operations-view.ts').SteeringNodeView} SteeringNodeView */
/** @typedef {import('../../operations-view.ts').ExternalView} ExternalView */
/** @typedef {{ word: string, tone: 'ok' | 'warn' | 'bad' | 'idle' }} Verdict */

const DAY_MS = 24 * 3600 * 1000; // a release is to be everywhere so long before its time

/** A title that is not live is late within a day of its release, and not yet due before.
 * @param {ReleaseView} release
 * @param {number} nowMs
 * @returns {Verdict} */
export function releaseVerdict({ liveness, releaseAtMs }, nowMs) {
  if (liveness === null) return { word: 'Not looked at', tone: 'idle' };
  if (liveness.clustersWanted === 0) return { word: 'No cluster', tone: 'idle' };
  if (liveness.isLive) return { word: 'Live', tone: 'ok' };
  const isOut = releaseAtMs <= nowMs;
  if (isOut) return { word: 'Out, not live', tone: 'bad' };
  return releaseAtMs - nowMs < DAY_MS
    ? { word: 'Late', tone: 'bad' }
    : { word: 'Not yet live', tone: 'warn' };
}

/** @param {ReleaseView} release
 * @param {number} nowMs */
export function releaseTime({ releaseAtMs }, nowMs) {
  return releaseAtMs > nowMs
    ? `in ${formatDuration(releaseAtMs - nowMs)}`
    : `${formatDuration(nowMs - releaseAtMs)} ago`;
}

/** @param {ReleaseView} release */
export function copiesWords({ liveness }) {
  if (liveness === null) return 'too many files to look at here: nightfill liveness TITLE';
  const { clustersLive, clustersWanted, copies } = liveness;
  if (clustersWanted === 0) return 'no cluster may show it';
  return `${clustersLive} of ${plural(clustersWanted, 'cluster')} live, ${copies.held} of ${plural(copies.planned, 'file')} in enough copies`;
}

/** Who holds a title up, a cluster a line.
 * @param {ReleaseView} release
 * @returns {readonly string[]} */
export function blockingWords({ liveness }) {
  if (liveness === null) return [];
  const lines = liveness.blocking.map(({ clusterId, why, boxes }) => {
    const answers = boxes.map(({ applianceId, answer }) => `${applianceId}: ${answer}`).join('; ');
    return `${clusterId}: ${why ?? 'not live'}${answers === '' ? '' : ` (${answers})`}`;
  });
  const { blockingLeftOut } = liveness;
  return blockingLeftOut === 0
    ? lines
    : [...lines, `and ${plural(blockingLeftOut, 'more cluster')}`];
}

/** @param {TakedownView} takedown
 * @returns {Verdict} */
export function takedownVerdict({ liftedAtMs, summary }) {
  if (liftedAtMs !== null) return { word: 'Lifted', tone: 'idle' };
  if (summary.waiting > 0) return { word: 'Waiting', tone: 'bad' };
  if (summary.unreachable > 0) return { word: 'Some unreachable', tone: 'warn' };
  return { word: 'In force', tone: 'ok' };
}

/** @param {TakedownView} takedown */
export function takedownWords({ summary, lastAcknowledgedAfterMs }) {
  const { deleted, acknowledged, waiting, unreachable } = summary;
  const stopped = deleted + acknowledged;
  const last =
    lastAcknowledgedAfterMs === null
      ? ''
      : `, the last after ${secondsOf(lastAcknowledgedAfterMs)}`;
  const open = [
    waiting > 0 ? `${waiting} not yet` : '',
    unreachable > 0 ? `${unreachable} unreachable` : '',
  ].filter((word) => word !== '');
  return [`${boxesOf(stopped)} stopped${last}`, `${deleted} deleted`, ...open].join(', ');
}

/** What one box did about it.
 * @param {TakedownView['boxes'][number]} box */
export function takedownBoxWords({ acknowledgedAfterMs, deletedAfterMs, files, bytes, isProved }) {
  if (acknowledgedAfterMs === null) return 'gets the list when it connects';
  const stopped = `stopped after ${secondsOf(acknowledgedAfterMs)}`;
  if (deletedAfterMs === null) return stopped;
  const proof = isProved ? ', proof signed' : '';
  if (files === 0) return `${stopped}, it held nothing of it${proof}`;
  const what = `${plural(files ?? 0, 'file')}, ${formatBytes(bytes ?? 0)}`;
  return `${stopped}, ${what} deleted after ${secondsOf(deletedAfterMs)}${proof}`;
}

/** @param {RolloutView} rollout
 * @returns {Verdict} */
export function rolloutVerdict({ isStaged, name }) {
  switch (name) {
    case 'canary':
      return { word: 'Canary sites', tone: 'warn' };
    case 'share':
      return { word: 'Share of the fleet', tone: 'warn' };
    case 'done':
      return { word: 'Everywhere', tone: 'ok' };
    case 'rolled-back':
      return { word: 'Rolled back', tone: 'bad' };
    default:
      return isStaged
        ? { word: 'No plan yet', tone: 'idle' }
        : { word: 'Not staged', tone: 'idle' };
  }
}

/** @param {RolloutView} rollout
 * @param {number} nowMs */
export function rolloutWords(rollout, nowMs) {
  const { boxes, isStaged, name, sinceMs, untilMs, why } = rollout;
  if (name === 'rolled-back') return why ?? '';
  if (name === 'idle') {
    return isStaged
      ? 'the next plans go to the canary sites first'
      : 'every box gets its plan at once: rollout.canarySites names none';
  }
  const since = sinceMs === null ? '' : `for ${formatDuration(nowMs - sinceMs)}`;
  if (name === 'done') return `in use by all boxes ${since}`;
  const left = untilMs === null ? 0 : untilMs - nowMs;
  const next = left > 0 ? `, wider in ${formatDuration(left)}` : ', wider any moment';
  return `${boxesOf(boxes ?? 0)} ${since}${next}`;
}

/** @param {RolloutView} rollout */
export function missWords({ missShareBefore, missShareSince, missRiseMax, name }) {
  if (name !== 'canary' && name !== 'share') return '';
  const now =
    missShareSince === null ? 'nothing watched since' : `${formatShare(missShareSince)} now`;
  const before = missShareBefore === null ? UNKNOWN : formatShare(missShareBefore);
  return `content misses: ${now}, ${before} before; taken back above +${formatShare(missRiseMax)}`;
}

/** @param {InventoryView} box
 * @returns {Verdict} */
export function inventoryVerdict({ heldShare, isShort, manifestVersion, versionInUse }) {
  if (manifestVersion === 0 && versionInUse === 0) return { word: 'No manifest', tone: 'idle' };
  if (isShort) return { word: 'Short', tone: 'bad' };
  if (versionInUse < manifestVersion) return { word: 'Older manifest', tone: 'warn' };
  return heldShare < 1 ? { word: 'Filling', tone: 'warn' } : { word: 'Complete', tone: 'ok' };
}

/** @param {SteeringNodeView} node
 * @returns {Verdict} */
export function nodeVerdict({ against, isLive }) {
  if (!isLive) return { word: 'Silent', tone: 'bad' };
  return against > 0 ? { word: 'Doubts', tone: 'warn' } : { word: 'Live', tone: 'ok' };
}

/** @param {SteeringNodeView} node */
export function nodeWords({ against, boxes, isLive }) {
  if (!isLive) return 'counts in no quorum: is it up, and does it reach the control plane?';
  if (boxes === 0) return 'no box is in doubt';
  return against === 0
    ? `reaches all of ${boxesOf(boxes)} that another node doubts`
    : `fails to reach ${against} of ${boxesOf(boxes)} in doubt`;
}

/** What it says of each box in doubt, a box and family a line.
 * @param {SteeringNodeView} node */
export function nodeLines({ isLive, verdicts, verdictsLeftOut }) {
  /** @type {{ name: string, words: string, tone?: string }[]} */
  const lines = verdicts.map(({ applianceId, family, name }) => ({
    name: applianceId,
    words: `${name} over IPv${family}`,
    tone: name === 'unreachable' ? 'bad' : name === 'suspect' ? 'warn' : 'ok',
  }));
  if (verdictsLeftOut > 0) lines.push({ name: '', words: `and ${verdictsLeftOut} more` });
  if (lines.length > 0) return lines;
  return [{ name: '', words: isLive ? 'it was asked of no box' : 'what it said is void' }];
}

/** How many nodes it takes to find a box unreachable.
 * @param {number | null} live */
export function quorumWords(live) {
  if (live === null) return 'The control plane has just started: who lives is known in 5 s.';
  if (live === 0) return 'No steering node is heard: nobody is told what changes.';
  if (live === 1) return 'One node: it judges boxes alone.';
  return `A box that times out is out when ${Math.floor(live / 2) + 1} of ${live} nodes voted, most against it.`;
}

/** @param {ExternalView} external */
export function externalWords({ budgetPerDay, costPerGb, tokens }) {
  const budget = budgetPerDay === null ? 'no budget' : `at most ${budgetPerDay} a day`;
  const scheme = tokens === 'hmac' ? 'HMAC URLs' : 'our tokens';
  return `${costPerGb} a GB, ${budget}; ${scheme}`;
}

/** A region a line.
 * @param {ExternalView} external */
export function externalLines({ regions, regionsLeftOut }) {
  const lines = regions.map(({ capBps, commitBps, countries }) => ({
    name: countries.includes('*') ? 'anywhere' : countries.join(' '),
    words: `${commitBps === 0 ? 'no commit' : `commit ${formatBps(commitBps)}`}, cap ${formatBps(capBps)}`,
  }));
  if (regionsLeftOut > 0) lines.push({ name: '', words: `and ${regionsLeftOut} more` });
  return lines.length > 0 ? lines : [{ name: '', words: 'no region: nobody is sent there' }];
}

/** @param {number} count */
function boxesOf(count) {
  return `${formatCount(count)} ${count === 1 ? 'box' : 'boxes'}`;
}

/** @param {number} afterMs */
function secondsOf(afterMs) {
  return afterMs < 60_000 ? `${(afterMs / 1000).toFixed(2)}\u00a0s` : formatDuration(afterMs);
}
