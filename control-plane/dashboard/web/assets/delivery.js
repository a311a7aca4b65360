/**
 * What was delivered to this player: which box sent which segment, what failed, and where playing went on.
 *
 * A record and its words; it loads nothing and reads no clock. Times `...AtMs` are performance.now() of the page.
 *
 * Invariants: (1) a switch is written when the first byte came from another box, never on a promise
 *             (2) `afterMs` runs from the start of the first request that failed to that first byte
 *             (3) both lists are bounded
 */
import { formatBytes, formatMilliseconds } from './format.js';

const REQUESTS_KEPT_MAX = 2000;
const SWITCHES_KEPT_MAX = 200;

/**
 * @typedef {object} Segment
 * @property {number} n the n-th request, from 1
 * @property {string} applianceId the box (or "origin") of the playlist that named the URL
 * @property {'video' | 'audio'} kind
 * @property {boolean} isInit
 * @property {string} fileId
 * @property {number} startSeconds media time
 * @property {number} durationSeconds
 * @property {number} rangeStart
 * @property {number} bytes
 * @property {number} startedAtMs
 * @property {number} firstByteAtMs
 * @property {number} endedAtMs
 * @property {string} quality "480p", or "" for audio
 * @property {string | null} cacheStatus the Cache-Status header, where the box shows it
 */
/**
 * @typedef {object} Failure
 * @property {number} n
 * @property {string} applianceId
 * @property {'video' | 'audio'} kind
 * @property {number} startSeconds
 * @property {number} startedAtMs
 * @property {number} endedAtMs
 * @property {string} why
 */
/**
 * @typedef {{ kind: 'failover', failed: { applianceId: string, why: string }[], to: string, afterMs: number, atMs: number }
 *   | { kind: 'steered', from: string, to: string, atMs: number }
 *   | { kind: 'started', to: string, afterMs: number, atMs: number }} Switch
 */

export class Delivery {
  /** @type {Segment[]} */
  segments = [];
  /** @type {Failure[]} */
  failures = [];
  /** @type {Switch[]} */
  switches = [];
  /** @type {Map<string, number>} */
  bytesByBox = new Map();
  #openedAtMs;
  #requests = 0;
  /** @type {{ startedAtMs: number, failed: { applianceId: string, why: string }[] } | null} */
  #pending = null;
  /** @type {string | null} */
  #serving = null;

  /** @param {number} openedAtMs when the viewer chose the title */
  constructor(openedAtMs) {
    this.#openedAtMs = openedAtMs;
  }

  /** The box of the newest segment that arrived. */
  get servedBy() {
    return this.#serving;
  }

  /** A request failed, and no byte came from anywhere since. */
  get isFailing() {
    return this.#pending !== null;
  }

  /** @param {Omit<Segment, 'n'>} arrived */
  arrived(arrived) {
    const segment = { n: ++this.#requests, ...arrived };
    keep(this.segments, segment, REQUESTS_KEPT_MAX);
    const { applianceId, startedAtMs, firstByteAtMs } = segment;
    this.bytesByBox.set(applianceId, (this.bytesByBox.get(applianceId) ?? 0) + segment.bytes);
    const pending = this.#pending;
    const atMs = segment.endedAtMs;
    if (this.#serving === null) {
      const afterMs = firstByteAtMs - this.#openedAtMs;
      this.#write({ kind: 'started', to: applianceId, afterMs, atMs });
      this.#pending = null;
    } else if (pending !== null && startedAtMs >= pending.startedAtMs) {
      const { failed } = pending;
      const afterMs = firstByteAtMs - pending.startedAtMs;
      this.#write({ kind: 'failover', failed, to: applianceId, afterMs, atMs });
      this.#pending = null;
    } else if (pending === null && applianceId !== this.#serving && !this.#isLate(segment)) {
      this.#write({ kind: 'steered', from: this.#serving, to: applianceId, atMs });
    } else if (applianceId !== this.#serving) {
      return; // asked of the former box before the switch, and arrived after it
    }
    this.#serving = applianceId;
  }

  /** @param {Omit<Failure, 'n'>} failure */
  failed(failure) {
    keep(this.failures, { n: ++this.#requests, ...failure }, REQUESTS_KEPT_MAX);
    const { applianceId, why, startedAtMs } = failure;
    this.#pending ??= { startedAtMs, failed: [] };
    // Video and audio of one box fail together: that is one failure to the reader.
    const { failed } = this.#pending;
    if (failed.every((entry) => entry.applianceId !== applianceId))
      failed.push({ applianceId, why });
  }

  /** Started before the last switch was over. @param {Segment} segment */
  #isLate(segment) {
    const last = this.switches.at(-1);
    return last !== undefined && segment.startedAtMs < last.atMs;
  }

  /** @param {Switch} entry */
  #write(entry) {
    keep(this.switches, entry, SWITCHES_KEPT_MAX);
  }
}

/**
 * One line for a person, in parts: plain text, and the ids between them.
 * @param {Switch} entry
 * @returns {(string | { box: string })[]}
 */
export function switchWords(entry) {
  if (entry.kind === 'started') {
    return ['started on ', { box: entry.to }, ` after ${formatMilliseconds(entry.afterMs)}`];
  }
  if (entry.kind === 'steered') {
    return ['steering moved this session from ', { box: entry.from }, ' to ', { box: entry.to }];
  }
  /** @type {(string | { box: string })[]} */
  const parts = [];
  for (const { applianceId, why } of entry.failed) parts.push({ box: applianceId }, ` ${why}, `);
  const isSame = entry.failed.every(({ applianceId }) => applianceId === entry.to);
  const after = ` after ${formatMilliseconds(entry.afterMs)}`;
  return [...parts, isSame ? 'answered again on ' : 'continued on ', { box: entry.to }, after];
}

/**
 * Why a request failed, as far as a browser is told.
 * @param {{ isTimeout: boolean, status: number, receivedBytes: number, refused: string | null }} what
 */
export function failureWords({ isTimeout, status, receivedBytes, refused }) {
  if (isTimeout) {
    return receivedBytes > 0 ? `stopped after ${formatBytes(receivedBytes)}` : 'did not answer';
  }
  if (status === 0) {
    return receivedBytes > 0
      ? `broke off after ${formatBytes(receivedBytes)}`
      : 'refused or cut the connection';
  }
  if (status === 403) return `refused the token (403${refused === null ? '' : `, ${refused}`})`;
  if (status === 404) return 'lacks the file (404)';
  return `answered ${status}`;
}

/**
 * The order after a failure: what failed lately goes to the end, the rest keeps its rank.
 * @param {readonly string[]} ranked
 * @param {ReadonlySet<string>} failedLately
 */
export function rankAfter(ranked, failedLately) {
  const well = ranked.filter((id) => !failedLately.has(id));
  return [...well, ...ranked.filter((id) => failedLately.has(id))];
}

/**
 * What the viewer's token says of the choice: its home cluster, and why this box. The token is a JWT in the path;
 * it is only read here, boxes verify it.
 * @param {string} url
 * @returns {{ home: string, reason: string } | null}
 */
export function claimsOf(url) {
  const payload = /;URISigningPackage=[\w-]+\.([\w-]+)\./.exec(url)?.[1];
  if (payload === undefined) return null;
  try {
    const text = atob(payload.replaceAll('-', '+').replaceAll('_', '/'));
    const { home, reason } = JSON.parse(text);
    return typeof home === 'string' && typeof reason === 'string' ? { home, reason } : null;
  } catch {
    return null; // another kind of token: nothing to tell
  }
}

/**
 * @template Entry
 * @param {Entry[]} list
 * @param {Entry} entry
 * @param {number} max
 */
function keep(list, entry, max) {
  list.push(entry);
  if (list.length > max) list.shift();
}

/**
 * Which playlist belongs to which pathway, the variants' first: variants say it, audio groups are named by the variants.
 *
 * @param {readonly { attrs: Record<string, string>, url: string | readonly string[] }[]} levels  as parsed, or as hls.js keeps them
 * @param {readonly { groupId: string, url: string }[]} audioTracks
 * @returns {Map<string, string>} playlist URL -> pathway
 */
export function playlistPathways(levels, audioTracks) {
  const ofPlaylist = new Map();
  const ofGroup = new Map();
  for (const { attrs, url } of levels) {
    const pathway = attrs['PATHWAY-ID'] ?? '.';
    for (const one of [url].flat()) ofPlaylist.set(one, pathway);
    if (attrs.AUDIO !== undefined) ofGroup.set(attrs.AUDIO, pathway);
  }
  for (const { groupId, url } of audioTracks) {
    const pathway = ofGroup.get(groupId);
    if (url && pathway !== undefined) ofPlaylist.set(url, pathway);
  }
  return ofPlaylist;
}
