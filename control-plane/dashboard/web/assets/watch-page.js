/**
 * The player page: titles to choose from, the player, and which box serves it.
 *
 * `?title=ID` plays that title; `?client=ADDRESS` asks playback as if the viewer had that address (it believes only
 * callers on its own machine). `window.nightfillPlayer` is the state for tests and for the curious.
 */
import { switchWords } from './delivery.js';
import { byId, element, setAttribute, setChildren, setText } from './dom.js';
import { followFleet } from './fleet-feed.js';
import { standingOf } from './fleet-figures.js';
import {
  formatAge,
  formatBps,
  formatBytes,
  formatCount,
  formatMilliseconds,
  formatPosition,
  plural,
  UNKNOWN,
} from './format.js';
import { Player } from './player.js';
import { SegmentTimeline } from './segment-timeline.js';

/** @typedef {import('./player.js').Playable} Playable */

const CONFIG_RETRY_MS = 3000;
const TICK_MS = 250;
const HEAD_MS = 100;
const ROWS_SHOWN_MAX = 80;
const ORIGIN_ID = 'origin';
/** White text is readable on each of these, in both schemes. The origin has a colour of its own. */
const BOX_COLOURS = [
  '#0b7d78',
  '#6a4bd6',
  '#1f6fd1',
  '#b02f78',
  '#4f7413',
  '#94501c',
  '#556070',
  '#8a2be2',
];
const ORIGIN_COLOUR = '#b06200';

const query = new URLSearchParams(location.search);
const video = /** @type {HTMLVideoElement} */ (byId('video'));
const player = new Player(video, schedule);
/** @type {Map<string, { number: string, colour: string }>} */
const looks = new Map();
const timeline = new SegmentTimeline(byId('timeline'), video, lookOf);
/** @type {Map<string, import('../../fleet-view.ts').ApplianceView>} */
let fleet = new Map();
/** @type {Playable[]} */
let titles = [];
let isScheduled = false;
let lastRequestShown = 0;
let switchesShown = 0;

expose();
void loadTitles();
setInterval(schedule, TICK_MS);
setInterval(() => timeline.moveHead(), HEAD_MS);
byId('retry').addEventListener('click', () => {
  if (player.title === null) void loadTitles();
  else player.play(player.title);
});
followFleet(({ view }) => {
  const boxes = view.sites.flatMap((site) => site.appliances);
  fleet = new Map(boxes.map((box) => [box.applianceId, box]));
});

async function loadTitles() {
  byId('retry').hidden = true;
  try {
    const answer = await fetch('/watch/config.json', { cache: 'no-store' });
    if (!answer.ok) throw new Error(`it answered ${answer.status}`);
    const config = await answer.json();
    titles = config.titles
      .filter((/** @type {any} */ title) => title.kind !== 'opaque')
      .map((/** @type {any} */ title) => playable(title, config.playbackUrl));
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    cover(`The control plane does not give the list of titles: ${why}. This page goes on asking.`);
    setTimeout(() => void loadTitles(), CONFIG_RETRY_MS);
    return;
  }
  if (titles.length === 0) {
    cover('No film is published yet. On the command line: bin/nightfill publish FILE --title NAME');
    setTimeout(() => void loadTitles(), CONFIG_RETRY_MS);
    return;
  }
  showTitles();
  choose(titles.find((title) => title.titleId === query.get('title')) ?? titles[0]);
}

/**
 * @param {{ titleId: string, name: string, durationSeconds: number }} title
 * @param {string} playbackUrl
 * @returns {Playable}
 */
function playable({ titleId, name, durationSeconds }, playbackUrl) {
  const master = new URL(`/play/${encodeURIComponent(titleId)}/master.m3u8`, playbackUrl);
  const client = query.get('client');
  if (client !== null) master.searchParams.set('client', client);
  return { titleId, name, durationSeconds, masterUrl: master.href };
}

function showTitles() {
  const buttons = titles.map((title) => {
    const button = element(
      'button',
      { type: 'button', 'aria-pressed': 'false', 'data-title': title.titleId, title: title.name },
      element('span', {}, title.name),
      element('span', {}, formatPosition(title.durationSeconds)),
    );
    button.addEventListener('click', () => choose(title));
    return button;
  });
  setChildren(byId('titles'), buttons);
}

/** @param {Playable} title */
function choose(title) {
  for (const button of byId('titles').children) {
    setAttribute(
      button,
      'aria-pressed',
      String(button.getAttribute('data-title') === title.titleId),
    );
  }
  timeline.clear();
  looks.clear();
  lastRequestShown = 0;
  switchesShown = 0;
  byId('segments').replaceChildren();
  byId('switches').replaceChildren();
  player.play(title);
}

/** Many events a frame, one drawing. */
function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  setTimeout(() => {
    isScheduled = false;
    show();
  }, 40);
}

function show() {
  for (const pathway of player.pathways) lookOf(pathway);
  showStatus();
  showServed();
  showFacts();
  showPathways();
  showSwitches();
  showRequests();
  timeline.draw(player.delivery);
}

function showStatus() {
  const { kind, text } = player.status;
  const connection = byId('connection');
  const word = {
    starting: ['waiting', 'Starting'],
    playing: ['live', video.paused ? 'Paused' : 'Playing'],
    retrying: ['lost', 'Retrying'],
    failed: ['lost', 'Stopped'],
  }[kind];
  setAttribute(connection, 'data-state', word[0]);
  setText(byId('connection-word'), word[1]);
  if (player.title === null) return;
  byId('retry').hidden = kind !== 'failed';
  const isDry = kind === 'failed' || (kind === 'retrying' && player.bufferedSeconds === 0);
  cover(kind === 'playing' ? null : text, isDry ? 'stop' : 'note');
}

/**
 * @param {string | null} text
 * @param {'note' | 'stop'} kind
 */
function cover(text, kind = 'stop') {
  byId('cover').hidden = text === null;
  setAttribute(byId('cover'), 'data-kind', kind);
  if (text !== null) setText(byId('cover-text'), text);
}

function showServed() {
  const servedBy = player.status.kind === 'playing' ? player.delivery.servedBy : null;
  setText(byId('served'), servedBy ?? (player.isFailing ? 'nobody' : UNKNOWN));
  dress(byId('served-chip'), servedBy);
  const none =
    player.pathways.length === 0
      ? 'playback gave no ranking yet'
      : player.isFailing
        ? 'every box that was ranked failed'
        : 'no segment yet';
  setText(byId('served-why'), servedBy === null ? none : rankWords(servedBy));
  const target = servedBy === null || servedBy === ORIGIN_ID ? null : servedBy;
  const hint = byId('hint');
  const key = target ?? '';
  if (hint.dataset.of === key && hint.childNodes.length > 0) return;
  hint.dataset.of = key;
  hint.replaceChildren(
    'Try it: ',
    element('code', {}, 'kill -9 PID'),
    target === null ? ' of a box' : ' of ',
    ...(target === null ? [] : [element('span', { class: 'mono' }, target)]),
    '. ',
    element('code', {}, 'nightfill up'),
    ' prints the pid of each box.',
  );
}

/**
 * Where the viewer is at home, where this box is, and why the token says that it was ranked so.
 * @param {string} servedBy
 */
function rankWords(servedBy) {
  const { claims } = player;
  if (claims === null) return 'the token tells no home and no reason';
  const cluster = fleet.get(servedBy)?.clusterId;
  const box = cluster === undefined ? '' : `, box in ${cluster}`;
  return `viewer’s home ${claims.home}${box}, token’s reason: ${claims.reason}`;
}

function showFacts() {
  const { quality, measuredBps } = player;
  const isOpen = player.delivery.segments.length > 0;
  setText(byId('buffer'), isOpen ? `${player.bufferedSeconds.toFixed(1)}\u00a0s` : UNKNOWN);
  setText(
    byId('quality'),
    quality === null ? UNKNOWN : `${quality.height ?? '?'}p, ${formatBps(quality.bps)}`,
  );
  setText(byId('rate'), measuredBps === null ? UNKNOWN : formatBps(measuredBps));
  const { stalledMs } = player;
  setText(byId('stalls'), isOpen ? formatMilliseconds(stalledMs) : UNKNOWN);
  byId('stalls').classList.toggle('tone-bad', stalledMs > 0);
}

function showPathways() {
  const list = byId('pathways');
  const { ranking, delivery } = player;
  const items = ranking.map((/** @type {string} */ id, /** @type {number} */ rank) => {
    const present = list.querySelector(`[data-box="${CSS.escape(id)}"]`);
    const item = present ?? makePathway(id);
    dress(/** @type {HTMLElement} */ (item.children[0]), id);
    const [words, pill] = item.children[2].children;
    const bytes = delivery.bytesByBox.get(id) ?? 0;
    setText(words, bytes === 0 ? 'nothing yet' : formatBytes(bytes));
    const state = pathwayState(id, rank);
    setText(pill, state.word);
    setAttribute(pill, 'data-tone', state.tone);
    return item;
  });
  setChildren(list, items);
}

/** @param {string} id */
function makePathway(id) {
  return element(
    'li',
    { 'data-box': id },
    element('i', { class: 'chip' }),
    element('span', { class: 'mono' }, id),
    element('span', { class: 'says' }, element('span'), element('span', { class: 'pill' })),
  );
}

/**
 * What this player found out by itself comes first, then what the control plane knows.
 * @param {string} id
 * @param {number} rank
 * @returns {{ word: string, tone: string }}
 */
function pathwayState(id, rank) {
  const failedAgo = player.failedAgoMs(id);
  const isServing = id === player.delivery.servedBy && !player.isFailing;
  if (failedAgo !== null && !isServing)
    return { word: `failed ${formatAge(failedAgo)}`, tone: 'bad' };
  if (isServing) return { word: 'serves', tone: 'ok' };
  const box = fleet.get(id);
  if (box !== undefined && box.standing !== 'serving') {
    const { word, tone } = standingOf(box);
    return { word: word.toLowerCase(), tone };
  }
  return { word: rank === 0 ? 'first' : rank === 1 ? 'next' : 'spare', tone: 'idle' };
}

function showSwitches() {
  const { switches } = player.delivery;
  for (const entry of switches.slice(switchesShown)) {
    const words = switchWords(entry).map((part) =>
      typeof part === 'string' ? part : element('span', { class: 'mono' }, part.box),
    );
    const at = element('time', {}, clockOf(entry.atMs));
    byId('switches').prepend(element('li', { class: entry.kind }, at, ...words));
  }
  switchesShown = switches.length;
}

function showRequests() {
  const { segments, failures } = player.delivery;
  const fresh = [...segments, ...failures]
    .filter(({ n }) => n > lastRequestShown)
    .sort((one, other) => one.n - other.n);
  const body = byId('segments');
  for (const entry of fresh) {
    body.prepend('why' in entry ? failureRow(entry) : segmentRow(entry));
    lastRequestShown = entry.n;
  }
  while (body.children.length > ROWS_SHOWN_MAX) body.lastElementChild?.remove();
  const total = [...player.delivery.bytesByBox.values()].reduce((sum, bytes) => sum + bytes, 0);
  const origin = player.delivery.bytesByBox.get(ORIGIN_ID) ?? 0;
  const share =
    total === 0 ? '' : `, ${(100 - (origin / total) * 100).toFixed(0)}\u00a0% from appliances`;
  setText(
    byId('timeline-words'),
    segments.length === 0
      ? ''
      : `${plural(segments.length, 'request')}, ${formatBytes(total)}${share}`,
  );
}

/** @param {import('./delivery.js').Segment} segment */
function segmentRow(segment) {
  const what = segment.isInit
    ? `${segment.kind} header`
    : `${segment.kind}${segment.quality ? ` ${segment.quality}` : ''}`;
  const end = segment.startSeconds + segment.durationSeconds;
  const place = segment.isInit
    ? ''
    : `${segment.startSeconds.toFixed(1)} to ${end.toFixed(1)}\u00a0s`;
  return element(
    'tr',
    {},
    element('td', {}, clockOf(segment.endedAtMs)),
    boxCell(segment.applianceId),
    element('td', {}, what),
    element('td', {}, place),
    element('td', { class: 'figure' }, formatCount(segment.bytes)),
    element(
      'td',
      { class: 'figure' },
      formatMilliseconds(segment.firstByteAtMs - segment.startedAtMs),
    ),
    element('td', { class: 'figure' }, formatMilliseconds(segment.endedAtMs - segment.startedAtMs)),
    element(
      'td',
      { class: 'mono', title: segment.cacheStatus ?? '' },
      segment.cacheStatus ?? 'not shown',
    ),
  );
}

/** @param {import('./delivery.js').Failure} failure */
function failureRow(failure) {
  return element(
    'tr',
    { class: 'failed' },
    element('td', {}, clockOf(failure.endedAtMs)),
    boxCell(failure.applianceId),
    element('td', {}, failure.kind),
    element('td', {}, `from ${failure.startSeconds.toFixed(1)}\u00a0s`),
    element('td', { colspan: '4' }, failure.why),
  );
}

/** @param {string} id */
function boxCell(id) {
  const chip = element('i', { class: 'chip' });
  dress(chip, id);
  return element('td', {}, chip, element('span', { class: 'mono' }, id));
}

/** @param {HTMLElement} chip @param {string | null} id */
function dress(chip, id) {
  const look = id === null ? null : lookOf(id);
  setText(chip, look?.number ?? '');
  chip.style.background = look?.colour ?? '';
}

/** Number and colour of a box, in the order in which playback ranked them. @param {string} id */
function lookOf(id) {
  let look = looks.get(id);
  if (look === undefined) {
    const boxes = [...looks.keys()].filter((other) => other !== ORIGIN_ID).length;
    look =
      id === ORIGIN_ID
        ? { number: 'O', colour: ORIGIN_COLOUR }
        : { number: String(boxes + 1), colour: BOX_COLOURS[boxes % BOX_COLOURS.length] };
    looks.set(id, look);
  }
  return look;
}

/** @param {number} atMs performance.now() */
function clockOf(atMs) {
  return new Date(performance.timeOrigin + atMs).toLocaleTimeString('en-GB');
}

function expose() {
  Object.defineProperty(window, 'nightfillPlayer', {
    value: {
      get title() {
        return player.title;
      },
      get status() {
        return player.status;
      },
      get currentTime() {
        return video.currentTime;
      },
      get playedSeconds() {
        return player.playedSeconds;
      },
      get stalledMs() {
        return player.stalledMs;
      },
      get bufferedSeconds() {
        return player.bufferedSeconds;
      },
      get pathway() {
        return player.pathway;
      },
      get pathways() {
        return [...player.pathways];
      },
      get ranking() {
        return [...player.ranking];
      },
      get segments() {
        return player.delivery.segments.map((segment) => ({ ...segment }));
      },
      get failures() {
        return player.delivery.failures.map((failure) => ({ ...failure }));
      },
      get switches() {
        return player.delivery.switches.map((entry) => ({ ...entry }));
      },
      get bytesByBox() {
        return Object.fromEntries(player.delivery.bytesByBox);
      },
    },
  });
}
