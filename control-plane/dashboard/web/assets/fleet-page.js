/**
 * The fleet page: follows the fleet, shows each view, and lets every age grow until the next one comes.
 */
import { byId, closeTipsOnEscape, element, setAttribute, setChildren, setText } from './dom.js';
import { BoxTables } from './fleet-boxes.js';
import { makeCharts } from './fleet-chart.js';
import { followFleet } from './fleet-feed.js';
import { fleetWords, isFilling, STALE_AFTER_MS } from './fleet-figures.js';
import {
  formatAge,
  formatBps,
  formatBytes,
  formatClock,
  formatDuration,
  formatShare,
  plural,
} from './format.js';

/** @typedef {import('../../fleet-view.ts').FleetView} FleetView */
/** @typedef {import('./fleet-feed.js').Sighting} Sighting */

const TICK_MS = 250;
const RUN_SHOWN_CHARACTERS = 12;
const LOST_AFTER_MS = 4500; // two polls without an answer

const tables = new BoxTables(byId('sites'));
const charts = makeCharts();
/** @type {{ which: 'all' | 'look' | 'filling', find: string }} */
const wanted = { which: 'all', find: '' };
/** @type {Sighting | null} */
let latest = null;
/** @type {'live' | 'polling'} */
let how = 'live';
const startedAt = performance.now();

followFleet((sighting, by) => {
  latest = sighting;
  how = by;
  showView(sighting.view);
  tick();
});
setInterval(tick, TICK_MS);
closeTipsOnEscape();

for (const button of document.querySelectorAll('.narrow button')) {
  button.addEventListener('click', () => {
    wanted.which = /** @type {typeof wanted.which} */ (button.getAttribute('data-show'));
    for (const other of document.querySelectorAll('.narrow button')) {
      other.setAttribute('aria-pressed', String(other === button));
    }
    showBoxes();
  });
}
const find = /** @type {HTMLInputElement} */ (byId('find'));
find.addEventListener('input', () => {
  wanted.find = find.value.trim().toLowerCase();
  showBoxes();
});

/** @param {FleetView} view */
function showView(view) {
  showFigures(view);
  showAround(view);
  showAlarms(view);
  charts.show(view.series, view.atMs);
  showBoxes();
}

/** @param {FleetView} view */
function showFigures({ cdn, plan }) {
  const over = `over the last ${formatDuration(cdn.windowSeconds * 1000)}`;
  const isQuiet = cdn.offloadShare === null;
  setText(byId('offload'), formatShare(cdn.offloadShare));
  const planned = plan === null ? '' : `, planned ${formatShare(plan.plannedOffloadShare)}`;
  setText(byId('offload-note'), isQuiet ? `no viewer ${over}` : `${over}${planned}`);
  setText(byId('net-offload'), formatShare(cdn.netOffloadShare));
  setText(byId('net-offload-note'), isQuiet ? `no viewer ${over}` : `${over}, fill counted`);
  setText(byId('viewer-rate'), formatBps(cdn.viewerBps));
  setText(byId('viewer-note'), 'from appliances and origin');
  setText(byId('origin-rate'), formatBps(cdn.originServeBps));
  const share = cdn.viewerBps > 0 ? cdn.originServeBps / cdn.viewerBps : null;
  setText(
    byId('origin-note'),
    share === null ? 'no viewer just now' : `${formatShare(share)} of what viewers take`,
  );
  setText(byId('fill-rate'), formatBps(cdn.fillBps));
  setText(byId('fill-note'), 'from peers, tiers and origin');
}

/** @param {FleetView} view */
function showAround({ atMs, origin, plan, steering, catalogue }) {
  const status = byId('origin-status');
  setText(status, { up: 'Up', down: 'Down', unknown: 'Unknown' }[origin.status]);
  setAttribute(status, 'data-tone', { up: 'ok', down: 'bad', unknown: 'warn' }[origin.status]);
  setText(
    byId('origin-bytes'),
    origin.ageMs === null
      ? 'It has not answered yet.'
      : `${formatBytes(origin.serveBytes)} on demand, ${formatBytes(origin.fillBytes)} fill since its start`,
  );
  if (plan === null) {
    setText(byId('plan'), 'None yet');
    setText(byId('plan-note'), 'Make one now: nightfill plan');
    setChildren(byId('plan-problems'), []);
  } else {
    // A run is named by a digest: its head tells two runs apart, the whole is in the tip.
    setText(byId('plan'), `${plan.planDate}, run ${plan.run.slice(0, RUN_SHOWN_CHARACTERS)}`);
    setAttribute(byId('plan'), 'title', plan.run);
    const age = formatDuration(atMs - plan.takenInAtMs);
    const planned = formatShare(plan.plannedOffloadShare);
    const well = plan.problems.length === 0 ? ', no problems' : '';
    setText(byId('plan-note'), `taken in ${age} ago, planned offload ${planned}${well}`);
    showProblems(plan.problems);
  }
  const { connections } = steering;
  setText(byId('steering-status'), connections > 0 ? 'Connected' : 'Not connected');
  setAttribute(byId('steering-status'), 'data-tone', connections > 0 ? 'ok' : 'bad');
  setText(
    byId('steering-note'),
    connections > 0
      ? `${plural(connections, 'node')} on the fleet stream`
      : 'Answers come from its last snapshot, if it runs.',
  );
  setText(
    byId('catalogue'),
    `${plural(catalogue.titles, 'title')}, ${plural(catalogue.files, 'file')}, ${formatBytes(catalogue.bytes)}`,
  );
}

/** @param {readonly string[]} problems */
function showProblems(problems) {
  const list = byId('plan-problems');
  while (list.children.length > problems.length) list.lastElementChild?.remove();
  problems.forEach((problem, index) => {
    const item = list.children[index] ?? list.appendChild(element('li'));
    setText(item, problem);
  });
}

/** @param {FleetView} view */
function showAlarms({ alarms, atMs }) {
  const list = byId('alarms');
  const count = byId('alarms-count');
  setText(count, alarms.length === 0 ? 'None' : String(alarms.length));
  setAttribute(count, 'data-tone', alarms.length === 0 ? 'ok' : 'bad');
  list.hidden = alarms.length === 0;
  const none = byId('alarms-none');
  none.hidden = alarms.length > 0;
  setText(none, 'No alarm is raised.');
  while (list.children.length > alarms.length) list.lastElementChild?.remove();
  alarms.forEach((alarm, index) => {
    const item =
      list.children[index] ??
      list.appendChild(
        element(
          'li',
          {},
          element('p', { class: 'what' }),
          element('p', { class: 'small quiet' }),
          element('p', { class: 'small todo' }),
        ),
      );
    const [what, where, todo] = item.children;
    setText(what, alarm.what);
    setText(where, `${alarm.where} · ${formatDuration(atMs - alarm.atMs)} ago`);
    setText(todo, alarm.todo);
  });
}

function showBoxes() {
  if (latest === null) return;
  const { view } = latest;
  const shown = tables.show(view, wanted);
  const { boxes, serving, look } = fleetWords(view);
  const all = view.sites.flatMap((site) => site.appliances);
  const sites = plural(view.sites.length, 'site');
  setText(byId('boxes-words'), boxes === 0 ? '' : `${serving} of ${boxes} serving, in ${sites}`);
  setText(byId('count-all'), String(boxes));
  setText(byId('count-look'), String(look));
  setText(byId('count-filling'), String(all.filter(isFilling).length));
  const none = byId('sites-none');
  none.hidden = shown > 0 || (boxes === 0 && view.sites.length > 0);
  setText(
    none,
    boxes === 0
      ? 'No site and no appliance yet. “nightfill up” enrols three on this machine; a new box comes in with its enrolment token.'
      : wanted.find === ''
        ? 'No appliance is in this state just now.'
        : `No appliance, site or cluster matches “${find.value.trim()}”.`,
  );
  tables.tick(performance.now() - latest.receivedAt);
}

/** Ages grow on this machine's clock; a view that is too old is called what it is. */
function tick() {
  const now = performance.now();
  const connection = byId('connection');
  if (latest === null) {
    if (now - startedAt > LOST_AFTER_MS) {
      setState(connection, 'lost', 'No answer', '');
      showBanner(
        'The control plane does not answer. Does “nightfill up” run? This page goes on asking.',
      );
    }
    return;
  }
  const ageMs = now - latest.receivedAt;
  const isLost = ageMs > LOST_AFTER_MS;
  tables.tick(ageMs);
  const { origin } = latest.view;
  setText(
    byId('origin-age'),
    origin.ageMs === null ? '' : `heard ${formatAge(origin.ageMs + ageMs)}`,
  );
  byId('origin-age').classList.toggle(
    'tone-bad',
    origin.ageMs !== null && origin.ageMs + ageMs > 3 * STALE_AFTER_MS,
  );
  setText(byId('charts-at'), `bits per second, as of ${formatClock(latest.view.atMs)}`);
  setState(
    connection,
    isLost ? 'lost' : how,
    isLost ? 'Lost' : how === 'live' ? 'Live' : 'Polling',
    formatAge(ageMs),
  );
  if (!isLost) {
    showBanner(null);
    return;
  }
  setText(byId('banner-age'), `Last seen ${formatDuration(ageMs)} ago.`);
  showBanner(
    `No word from the control plane: the grey figures are of ${formatClock(latest.view.atMs)}. ` +
      'Appliances go on serving what they hold.',
  );
}

/**
 * @param {HTMLElement} connection
 * @param {'live' | 'polling' | 'lost'} state
 * @param {string} word
 * @param {string} age
 */
function setState(connection, state, word, age) {
  setAttribute(connection, 'data-state', state);
  setAttribute(byId('page'), 'data-state', state);
  setText(byId('connection-word'), word);
  setText(byId('connection-age'), age);
}

/** @param {string | null} text */
function showBanner(text) {
  const banner = byId('banner');
  banner.hidden = text === null;
  // The age beside it ticks; only this sentence is read out, once.
  if (text !== null) setText(byId('banner-text'), text);
}
