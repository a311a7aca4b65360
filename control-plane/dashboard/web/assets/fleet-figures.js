/**
 * What the fleet page says about each box: words and shares, computed from the fleet view alone.
 *
 * Decisions only: nothing here reads a clock or the page. Ages are arguments.
 */
import {
  formatBps,
  formatBytes,
  formatDuration,
  formatEta,
  formatShare,
  plural,
} from './format.js';

/** @typedef {import('../../fleet-view.ts').ApplianceView} ApplianceView */
/** @typedef {import('../../fleet-view.ts').SiteView} SiteView */
/** @typedef {import('../../fleet-view.ts').FleetView} FleetView */
/** @typedef {'ok' | 'warn' | 'bad' | 'idle'} Tone */

/** Heartbeats come each second: after three missed ones a figure is no longer "now". */
export const STALE_AFTER_MS = 3500;
/** The reason split of a box is taken over this long, from its counters. */
export const SPLIT_WINDOW_MS = 10_000;

export const REASONS = /** @type {const} */ (['home', 'content', 'health', 'other']);
export const SOURCE_KINDS = /** @type {const} */ (['peer', 'tier', 'origin']);

/**
 * The state of a box in words, why, and how much it matters.
 * @param {ApplianceView} box
 * @returns {{ word: string, tone: Tone, why: string }}
 */
export function standingOf(box) {
  const reasons = [...new Set([...box.reasons, ...(box.heartbeat?.health.reasons ?? [])])];
  const why = reasons.join('; ');
  switch (box.standing) {
    case 'gone-hard':
      return { word: 'Gone', tone: 'bad', why: why || 'its connection was closed or refused' };
    case 'gone-silent':
      return box.heartbeat === null && box.heartbeatAgeMs === null
        ? { word: 'Never heard', tone: 'bad', why: why || 'no heartbeat yet' }
        : { word: 'Silent', tone: 'bad', why: why || 'its heartbeats stopped' };
    case 'down':
      return { word: 'Down', tone: 'bad', why: why || 'it reports that it cannot serve' };
    case 'draining':
      return { word: 'Draining', tone: 'warn', why: why || 'new viewers go elsewhere' };
    default:
      return servingWord(box, why);
  }
}

/**
 * @param {ApplianceView} box
 * @param {string} why
 * @returns {{ word: string, tone: Tone, why: string }}
 */
function servingWord(box, why) {
  if (box.heartbeat?.health.status === 'degraded') return { word: 'Degraded', tone: 'warn', why };
  if (box.heartbeat?.state === 'starting') return { word: 'Starting', tone: 'warn', why };
  if (box.heartbeat?.state === 'filling') {
    return { word: 'Filling', tone: 'ok', why: why || 'being turned up: it serves what it holds' };
  }
  return { word: 'Serving', tone: 'ok', why };
}

/** True for a box that somebody should look at. @param {ApplianceView} box */
export function needsALook(box) {
  return (
    standingOf(box).tone !== 'ok' ||
    (box.heartbeat !== null &&
      (box.heartbeat.fill.problem !== null || box.heartbeat.counters.chunksCorrupt > 0))
  );
}

/** True while its manifest is not on its disks. @param {ApplianceView} box */
export function isFilling(box) {
  return box.heartbeat !== null && box.heartbeat.fill.filesHeld < box.heartbeat.fill.filesWanted;
}

/**
 * How far the fill is, what it does or waits for, and how long it takes at the present rate.
 * @param {ApplianceView} box
 * @param {SiteView['fillWindow']} fillWindow
 * @param {number} nowMs the control plane's clock
 * @returns {{ share: number | null, files: string, doing: string, tone: Tone }}
 */
export function fillOf(box, fillWindow, nowMs) {
  const fill = box.heartbeat?.fill;
  if (fill === undefined) return { share: null, files: 'nothing heard', doing: '', tone: 'idle' };
  if (fill.manifestVersion === 0) {
    return { share: null, files: 'no manifest yet', doing: 'waits for its plan', tone: 'idle' };
  }
  const share = fill.bytesWanted === 0 ? 1 : fill.bytesHeld / fill.bytesWanted;
  const files = `${fill.filesHeld} of ${plural(fill.filesWanted, 'file')}`;
  const missing = Math.max(0, fill.bytesWanted - fill.bytesHeld);
  const problem = fill.problem === null ? '' : fill.problem;
  if (fill.filesHeld >= fill.filesWanted && missing === 0) {
    return { share: 1, files, doing: problem || 'complete', tone: problem ? 'warn' : 'ok' };
  }
  if (fill.waitingFor !== null) {
    const what = waitingWords(fill.waitingFor, fillWindow, nowMs);
    const doing = `waits for ${what}${problem ? '' : curveWords(box)}`;
    const tone = WAITS_AS_MEANT.has(fill.waitingFor) ? 'idle' : 'warn';
    return { share, files, doing: problem ? `${doing}: ${problem}` : doing, tone };
  }
  if (problem) return { share, files, doing: problem, tone: 'warn' };
  if (fill.rateBps <= 0) {
    return { share, files, doing: `${formatBytes(missing)} to go, nothing moves`, tone: 'warn' };
  }
  const etaMs = ((missing * 8) / fill.rateBps) * 1000;
  return {
    share,
    files,
    doing: `${formatEta(etaMs)} left at ${formatBps(fill.rateBps)}${kindWords(fill)}${curveWords(box)}`,
    tone: 'ok',
  };
}

/**
 * Of a box that is turned up: what it will be able to serve of its planned demand, if it goes on as it does.
 * @param {ApplianceView} box
 */
function curveWords({ heartbeat }) {
  const curve = heartbeat?.state === 'filling' ? heartbeat.fill.curve : undefined;
  if (curve === undefined) return '';
  const { day1, day3, day7, fullAfterDays } = curve;
  const steps = /** @type {const} */ ([
    [1, day1],
    [3, day3],
    [7, day7],
  ]).filter(([days]) => days < fullAfterDays);
  const shares = steps.map(([days, share]) => `day ${days} ${formatShare(share)}`);
  const full = `full after ${formatEta(fullAfterDays * 86_400_000)}`;
  return `; of its demand: ${[...shares, full].join(', ')}`;
}

/** What nobody needs to look at: the plan, or the operator, wants it so. */
const WAITS_AS_MEANT = new Set(['window', 'turn', 'pause', 'budget']);
const FROM_WORDS = { peer: 'its site', tier: 'other sites', origin: 'the origin' };

/**
 * Where the bytes come from just now, and whom the box does not ask.
 * @param {import('#appliance/contract.ts').Heartbeat['fill']} fill
 */
function kindWords(fill) {
  const { bpsByKind, leftOut } = fill;
  const from =
    bpsByKind === undefined
      ? []
      : SOURCE_KINDS.filter((kind) => bpsByKind[kind] > 0).map(
          (kind) => `${formatBps(bpsByKind[kind])} from ${FROM_WORDS[kind]}`,
        );
  const words = from.length < 2 ? from.map((text) => text.replace(/^.* from/, 'from')) : from;
  const out = leftOut === undefined ? '' : `; left out: ${leftOut.join(', ')}`;
  return `${words.length === 0 ? '' : `, ${words.join(', ')}`}${out}`;
}

/**
 * @param {import('#appliance/contract.ts').Heartbeat['fill']['waitingFor']} what
 * @param {SiteView['fillWindow']} fillWindow
 * @param {number} nowMs
 */
function waitingWords(what, fillWindow, nowMs) {
  if (what === 'manifest') return 'a manifest';
  if (what === 'source') return 'a source that has the files';
  if (what === 'space') return 'space on its disks';
  if (what === 'turn') return 'another box, which fetches them first';
  if (what === 'pause') return 'its operator, who paused it';
  if (what === 'budget') return 'its operator’s caps on the link';
  if (what === 'load') return 'viewers to need less of it';
  const opensIn = fillWindow.opensAtMs === null ? null : fillWindow.opensAtMs - nowMs;
  return opensIn !== null && opensIn > 0
    ? `its window, in ${formatDuration(opensIn)}`
    : 'its fill window';
}

/**
 * @param {SiteView['fillWindow']} fillWindow
 * @param {number} nowMs
 */
export function windowWords(fillWindow, nowMs) {
  if (fillWindow.hours >= 24) return 'may fill at any time';
  const hours = `fills ${fillWindow.startLocal} to ${endOf(fillWindow)} ${fillWindow.timeZone}`;
  if (fillWindow.open) {
    if (fillWindow.closesAtMs === null) return `${hours}: open`;
    return `${hours}: open, closes in ${formatDuration(fillWindow.closesAtMs - nowMs)}`;
  }
  if (fillWindow.opensAtMs === null) return `${hours}: closed`;
  return `${hours}: opens in ${formatDuration(fillWindow.opensAtMs - nowMs)}`;
}

/** @param {SiteView['fillWindow']} fillWindow */
function endOf(fillWindow) {
  const [hour, minute] = fillWindow.startLocal.split(':').map(Number);
  const end = (hour * 60 + minute + Math.round(fillWindow.hours * 60)) % (24 * 60);
  return `${String(Math.floor(end / 60)).padStart(2, '0')}:${String(end % 60).padStart(2, '0')}`;
}

/**
 * Shares of the parts of a record, in the order of `names`; null where there is nothing to share.
 * @template {string} Name
 * @param {Readonly<Record<Name, number>>} parts
 * @param {readonly Name[]} names
 * @returns {{ name: Name, value: number, share: number }[] | null}
 */
export function split(parts, names) {
  const total = names.reduce((sum, name) => sum + parts[name], 0);
  if (total <= 0) return null;
  return names.map((name) => ({ name, value: parts[name], share: parts[name] / total }));
}

/**
 * Remembers each box's counters for SPLIT_WINDOW_MS, so that the reason split is that of now and not of a month.
 * A box that restarted (another bootId) starts anew.
 */
export class ReasonWindow {
  /** @type {Map<string, { bootId: string, samples: { atMs: number, bytes: Readonly<Record<typeof REASONS[number], number>> }[] }>} */
  #boxes = new Map();

  /**
   * @param {ApplianceView} box
   * @param {number} atMs
   * @returns {ReturnType<typeof split>} of the bytes sent in the window; null while none were
   */
  take(box, atMs) {
    if (box.heartbeat === null) return null;
    const bytes = box.heartbeat.counters.viewerBytesByReason;
    let seen = this.#boxes.get(box.applianceId);
    if (seen === undefined || seen.bootId !== box.heartbeat.bootId) {
      seen = { bootId: box.heartbeat.bootId, samples: [] };
      this.#boxes.set(box.applianceId, seen);
    }
    const { samples } = seen;
    if (samples.at(-1)?.atMs !== atMs) samples.push({ atMs, bytes });
    while (samples.length > 2 && samples[1].atMs <= atMs - SPLIT_WINDOW_MS) samples.shift();
    const first = samples[0].bytes;
    const moved = { home: 0, content: 0, health: 0, other: 0 };
    for (const reason of REASONS) moved[reason] = Math.max(0, bytes[reason] - first[reason]);
    return split(moved, REASONS);
  }
}

/** "86 % home, 10 % content": the shares that can be seen.
 * @param {NonNullable<ReturnType<typeof split>>} parts */
export function splitWords(parts) {
  return parts
    .filter(({ share }) => share >= 0.01)
    .map(({ name, share }) => `${Math.round(share * 100)}\u00a0% ${name}`)
    .join(', ');
}

/**
 * The fleet in one line, with the boxes that need somebody first.
 * @param {FleetView} view
 */
export function fleetWords(view) {
  const boxes = view.sites.flatMap((site) => site.appliances);
  const serving = boxes.filter((box) => box.standing === 'serving').length;
  return { boxes: boxes.length, serving, look: boxes.filter(needsALook).length };
}

/** Load against what the box could serve. @param {ApplianceView} box */
export function headroomWords(box) {
  const load = box.heartbeat?.load;
  if (load === undefined || load.servingBps <= 0) return '';
  return `${formatShare(box.viewerBps / load.servingBps)} of ${formatBps(load.servingBps)}`;
}
