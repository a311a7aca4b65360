/**
 * The panels of releases, takedowns, rollout, inventory, quarantined prefixes, steering nodes and external CDNs, each with the age of what
 * it shows.
 */
import { byId, setAttribute, setText } from './dom.js';
import {
  formatAge,
  formatBytes,
  formatBytesOf,
  formatClock,
  formatShare,
  plural,
} from './format.js';
import { askInventory, followOperations } from './operations-feed.js';
import {
  blockingWords,
  copiesWords,
  externalLines,
  externalWords,
  inventoryVerdict,
  missWords,
  nodeLines,
  nodeVerdict,
  nodeWords,
  quorumWords,
  releaseTime,
  releaseVerdict,
  rolloutVerdict,
  rolloutWords,
  takedownBoxWords,
  takedownVerdict,
  takedownWords,
} from './operations-words.js';
import { WorkList } from './work-list.js';

/** @typedef {import('../../operations-view.ts').OperationsView} OperationsView */
/** @typedef {import('./operations-feed.js').OperationsSighting} OperationsSighting */
/** @typedef {import('./operations-feed.js').InventoryAnswer} InventoryAnswer */
/** @typedef {import('./work-list.js').Line} Line */

const TICK_MS = 500;
const OLD_AFTER_MS = 10_000; // three answers missed
const TONES = ['bad', 'warn', 'ok', 'idle']; // a panel is as bad as its worst item
const BOX_TONES = { waiting: 'bad', unreachable: 'warn', acknowledged: 'ok', deleted: 'ok' };

const releases = new WorkList(byId('releases'));
const takedowns = new WorkList(byId('takedowns'));
const inventory = new WorkList(byId('inventory'), driftOf);
const quarantine = new WorkList(byId('quarantine'));
const nodes = new WorkList(byId('nodes'));
const externals = new WorkList(byId('externals'));
/** @type {OperationsSighting | null} */
let latest = null;

followOperations((sighting) => {
  latest = sighting;
  const { view } = sighting;
  showReleases(view);
  showTakedowns(view);
  showRollout(view);
  showInventory(view);
  showQuarantine(view);
  showNodes(view);
  showExternals(view);
  tick();
});
setInterval(tick, TICK_MS);

function tick() {
  if (latest === null) return;
  const ageMs = performance.now() - latest.receivedAt;
  const age = byId('work-age');
  setText(age, `as of ${formatClock(latest.view.atMs)}, ${formatAge(ageMs)}`);
  age.classList.toggle('tone-bad', ageMs > OLD_AFTER_MS);
  byId('work-panels').classList.toggle('old', ageMs > OLD_AFTER_MS);
}

/** @param {OperationsView} view */
function showReleases({ atMs, fastTrack, releases: list, releasesLeftOut }) {
  const verdicts = list.map((release) => releaseVerdict(release, atMs));
  releases.show(
    list.map((release, index) => ({
      key: release.titleId,
      name: release.titleId,
      aside: releaseTime(release, atMs),
      verdict: verdicts[index],
      words: copiesWords(release),
      lines: linesOr(blockingWords(release), 'nobody holds it up'),
    })),
  );
  showPill('releases-pill', verdicts, list.length + releasesLeftOut);
  const fast =
    fastTrack.files === 0
      ? 'Nothing is on the fast track.'
      : `${plural(fastTrack.files, 'file')}, ${formatBytes(fastTrack.bytes)}, on the fast track.`;
  const none = list.length === 0 ? 'No title is released within 30 days. ' : '';
  const more = releasesLeftOut > 0 ? `${plural(releasesLeftOut, 'more title')}. ` : '';
  setText(byId('releases-note'), `${none}${more}${fast}`);
}

/** @param {OperationsView} view */
function showTakedowns({ atMs, takedowns: list }) {
  const verdicts = list.map(takedownVerdict);
  takedowns.show(
    list.map((takedown, index) => ({
      key: String(takedown.id),
      name: `${takedown.kind} ${takedown.value}`,
      aside: formatAge(atMs - takedown.sinceMs),
      verdict: verdicts[index],
      words: takedownWords(takedown),
      lines: [
        { name: '', words: `“${takedown.reason}”, by ${takedown.who}` },
        ...takedown.boxes.map((box) => ({
          name: box.applianceId,
          words: `${box.status}: ${takedownBoxWords(box)}`,
          tone: BOX_TONES[box.status],
        })),
        ...(takedown.boxesLeftOut > 0
          ? [
              {
                name: '',
                words: `${takedown.boxesLeftOut} more: nightfill takedown --show ${takedown.id}`,
              },
            ]
          : []),
      ],
    })),
  );
  const inForce = list.filter(({ liftedAtMs }) => liftedAtMs === null);
  showPill('takedowns-pill', inForce.map(takedownVerdict), inForce.length);
  const none = list.length === 0;
  setText(
    byId('takedowns-note'),
    none ? 'Nothing was ever taken down: nightfill takedown TITLE.' : '',
  );
}

/** @param {OperationsView} view */
function showRollout({ atMs, rollout }) {
  const { tone, word } = rolloutVerdict(rollout);
  setText(byId('rollout-pill'), word);
  setAttribute(byId('rollout-pill'), 'data-tone', tone);
  const run = rollout.run === null ? '' : `Run ${rollout.run.slice(0, 12)}: `;
  setText(byId('rollout-words'), `${run}${rolloutWords(rollout, atMs)}`);
  setText(byId('rollout-misses'), missWords(rollout));
}

/** @param {OperationsView} view */
function showInventory({ inventories, inventoriesLeftOut }) {
  const verdicts = inventories.map(inventoryVerdict);
  inventory.show(
    inventories.map((box, index) => ({
      key: box.applianceId,
      name: box.applianceId,
      aside: `heard ${formatAge(box.heartbeatAgeMs)}`,
      verdict: verdicts[index],
      words:
        `${formatShare(box.heldShare)}, ${box.filesHeld} of ${plural(box.filesWanted, 'file')}, ` +
        `${formatBytesOf(box.bytesHeld, box.bytesWanted)}, ` +
        (box.versionInUse === box.manifestVersion
          ? `manifest ${box.versionInUse}`
          : `manifest ${box.versionInUse} in use, ${box.manifestVersion} is newer`) +
        (box.problem === null ? '' : `: ${box.problem}`),
      lines: [],
    })),
  );
  showPill('inventory-pill', verdicts, inventories.length + inventoriesLeftOut);
  const more = inventoriesLeftOut > 0 ? `${inventoriesLeftOut} more boxes hold more. ` : '';
  setText(
    byId('inventory-note'),
    inventories.length === 0
      ? 'No box was heard yet.'
      : `${more}Open a box for what differs, file by file.`,
  );
}

/**
 * What a box should hold and does not, and the other way round.
 * @param {string} applianceId
 * @returns {Promise<readonly Line[]>}
 */
async function driftOf(applianceId) {
  const answer = await askInventory(applianceId);
  if (answer === null)
    return [{ name: '', words: 'the control plane did not answer: open it again' }];
  const at = formatClock(latest?.view.atMs ?? Date.now());
  return [
    {
      name: '',
      words: `as of ${at}: manifest ${answer.manifestVersion}, in use ${answer.versionInUse}`,
    },
    ...sideLines('missing', answer.missing, 'bad'),
    ...sideLines('extra', answer.extra, 'idle'),
  ];
}

/**
 * @param {'missing' | 'extra'} side
 * @param {InventoryAnswer['missing']} drift
 * @param {string} tone
 * @returns {readonly Line[]}
 */
function sideLines(side, { files, bytes, shown }, tone) {
  const what = side === 'missing' ? 'wanted and not held' : 'held and not wanted';
  if (files === 0) return [{ name: side, words: `nothing is ${what}` }];
  const left = files - shown.length;
  return [
    {
      name: side,
      words: `${plural(files, 'file')}, ${formatBytes(bytes)}, ${what}${left > 0 ? `; the ${shown.length} largest` : ''}`,
    },
    ...shown.map(({ fileId, sizeBytes, titles }) => ({
      name: fileId.slice(0, 12),
      words: `${titles.join(', ') || 'no title'}, ${formatBytes(sizeBytes)}`,
      tone,
    })),
  ];
}

/** @param {OperationsView} view */
function showQuarantine({ quarantined, quarantinedCount }) {
  /** @type {{ word: string, tone: 'warn' }} */
  const verdict = { word: 'Quarantined', tone: 'warn' };
  quarantine.show(
    quarantined.map(({ applianceId, prefix, why, detail }) => ({
      key: `${applianceId} ${prefix} ${why}`,
      name: prefix,
      aside: applianceId,
      verdict,
      words: why,
      lines: [{ name: '', words: detail }],
    })),
  );
  showPill('quarantine-pill', quarantinedCount > 0 ? [verdict] : [], quarantinedCount);
  const left = quarantinedCount - quarantined.length;
  setText(
    byId('quarantine-note'),
    quarantinedCount === 0
      ? 'Every route that boxes hear steers clients.'
      : left > 0
        ? `${left} more: GET /v1/routes`
        : '',
  );
}

/** @param {OperationsView} view */
function showNodes({ steeringNodes, steeringNodesLeftOut, steeringNodesLive }) {
  const verdicts = steeringNodes.map(nodeVerdict);
  nodes.show(
    steeringNodes.map((node, index) => ({
      key: node.nodeId,
      name: node.nodeId,
      aside: `heard ${formatAge(node.heardAgoMs)}`,
      verdict: verdicts[index],
      words: nodeWords(node),
      lines: nodeLines(node),
    })),
  );
  const isNobody = steeringNodesLive === 0;
  showPill(
    'nodes-pill',
    isNobody ? [{ tone: 'bad' }] : verdicts,
    steeringNodes.length + steeringNodesLeftOut,
  );
  const more = steeringNodesLeftOut > 0 ? `${plural(steeringNodesLeftOut, 'more node')}. ` : '';
  setText(byId('nodes-note'), more + quorumWords(steeringNodesLive));
}

/** @param {OperationsView} view */
function showExternals({ externals: list }) {
  /** @type {{ word: string, tone: 'idle' }} */
  const verdict = { word: 'Overflow', tone: 'idle' };
  externals.show(
    list.map((external) => ({
      key: external.externalId,
      name: external.name,
      aside: external.host,
      verdict,
      words: externalWords(external),
      lines: externalLines(external),
    })),
  );
  showPill('externals-pill', [], list.length);
  setText(
    byId('externals-note'),
    list.length === 0
      ? 'Where no box is left viewers go to the origin: nightfill externals add.'
      : 'How they fare, and what was sent there, each steering node says: GET /status.',
  );
}

/**
 * @param {readonly string[]} words
 * @param {string} none
 * @returns {readonly Line[]}
 */
function linesOr(words, none) {
  return words.length === 0
    ? [{ name: '', words: none }]
    : words.map((line) => ({ name: '', words: line }));
}

/**
 * @param {string} id
 * @param {readonly { tone: string }[]} verdicts
 * @param {number} count
 */
function showPill(id, verdicts, count) {
  const worst = TONES.find((tone) => verdicts.some((verdict) => verdict.tone === tone)) ?? 'idle';
  setText(byId(id), count === 0 ? 'None' : String(count));
  setAttribute(byId(id), 'data-tone', worst);
}
