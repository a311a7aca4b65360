/**
 * The table of appliances, one per site. Rows are made once and then only touched where they differ;
 * each row shows how old its own figures are, and steps back when they are stale.
 */
import { element, setAttribute, setChildren, setText, setWidth } from './dom.js';
import {
  fillOf,
  headroomWords,
  isFilling,
  needsALook,
  REASONS,
  ReasonWindow,
  SOURCE_KINDS,
  split,
  splitWords,
  STALE_AFTER_MS,
  standingOf,
  windowWords,
} from './fleet-figures.js';
import {
  formatAge,
  formatBps,
  formatBytes,
  formatBytesOf,
  formatCount,
  formatDuration,
  formatShare,
  UNKNOWN,
} from './format.js';

/** @typedef {import('../../fleet-view.ts').FleetView} FleetView */
/** @typedef {import('../../fleet-view.ts').SiteView} SiteView */
/** @typedef {import('../../fleet-view.ts').ApplianceView} ApplianceView */

const BY_NUMBER = new Intl.Collator('en', { numeric: true }); // oca-2 before oca-10
const COLUMNS = [
  ['c-box', 'Appliance'],
  ['c-serve', 'To viewers now'],
  ['c-fill', 'Fill'],
  ['c-from', 'Filled from'],
  ['c-store', 'Storage'],
  ['c-age', 'Heard'],
];

/** The tables below `root`: `show` puts a view in, `tick` lets the ages grow in between. */
export class BoxTables {
  #root;
  /** @type {Map<string, { section: HTMLElement, parts: Record<string, HTMLElement>, body: HTMLElement }>} */
  #sites = new Map();
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #reasons = new ReasonWindow();

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
  }

  /**
   * @param {FleetView} view
   * @param {{ which: 'all' | 'look' | 'filling', find: string }} wanted
   * @returns {number} how many boxes are shown
   */
  show(view, wanted) {
    let shown = 0;
    const sections = [];
    const living = new Set();
    for (const site of view.sites) {
      const rows = [];
      const boxes = [...site.appliances].sort((one, other) =>
        BY_NUMBER.compare(one.applianceId, other.applianceId),
      );
      for (const box of boxes) {
        living.add(box.applianceId);
        const row = this.#rowOf(box.applianceId);
        row.update(box, site, view.atMs, this.#reasons.take(box, view.atMs));
        if (isWanted(box, site, wanted)) rows.push(row);
      }
      shown += rows.length;
      const isNarrowed = wanted.which !== 'all' || wanted.find !== '';
      if (rows.length === 0 && isNarrowed) continue;
      sections.push(this.#siteOf(site, view.atMs, rows));
    }
    for (const id of this.#rows.keys()) if (!living.has(id)) this.#rows.delete(id);
    setChildren(this.#root, sections);
    return shown;
  }

  /** @param {number} sinceViewMs how long ago the view arrived */
  tick(sinceViewMs) {
    for (const row of this.#rows.values()) row.age(sinceViewMs);
  }

  /** @param {string} id */
  #rowOf(id) {
    let row = this.#rows.get(id);
    if (row === undefined) {
      row = new Row(id);
      this.#rows.set(id, row);
    }
    return row;
  }

  /**
   * @param {SiteView} site
   * @param {number} nowMs
   * @param {readonly Row[]} rows
   */
  #siteOf(site, nowMs, rows) {
    let entry = this.#sites.get(site.siteId);
    if (entry === undefined) {
      entry = makeSite(site.siteId);
      this.#sites.set(site.siteId, entry);
    }
    const { section, parts, body } = entry;
    setText(parts.name, site.name);
    const clusters = new Set(site.appliances.map((box) => box.clusterId)).size;
    setText(
      parts.place,
      `${site.country} · ${site.siteId}${clusters > 1 ? ` · ${clusters} clusters` : ''}`,
    );
    setText(parts.window, windowWords(site.fillWindow, nowMs));
    parts.none.hidden = rows.length > 0;
    parts.table.hidden = rows.length === 0;
    setChildren(
      body,
      rows.flatMap((row) => row.elements),
    );
    return section;
  }
}

/**
 * @param {ApplianceView} box
 * @param {SiteView} site
 * @param {{ which: 'all' | 'look' | 'filling', find: string }} wanted
 */
function isWanted(box, site, wanted) {
  if (wanted.which === 'look' && !needsALook(box)) return false;
  if (wanted.which === 'filling' && !isFilling(box)) return false;
  if (wanted.find === '') return true;
  const text = `${box.applianceId} ${box.clusterId} ${site.siteId} ${site.name} ${site.country} ${box.baseUrl}`;
  return text.toLowerCase().includes(wanted.find);
}

/** @param {string} siteId */
function makeSite(siteId) {
  const name = element('span');
  const place = element('span', { class: 'place' });
  const fillWindow = element('span', { class: 'window' });
  const titleId = `site-${siteId}`;
  const body = element('tbody', { role: 'rowgroup' });
  const table = element(
    'table',
    { role: 'table', 'aria-labelledby': titleId },
    element('colgroup', {}, ...COLUMNS.map(([name]) => element('col', { class: name }))),
    element(
      'thead',
      { role: 'rowgroup' },
      element(
        'tr',
        { role: 'row' },
        ...COLUMNS.map(([, label]) => element('th', { scope: 'col', role: 'columnheader' }, label)),
      ),
    ),
    body,
  );
  const none = element(
    'p',
    { class: 'empty small site-none' },
    'No appliance is enrolled in this site yet.',
  );
  const section = element(
    'section',
    { class: 'panel site', 'data-site': siteId },
    element('h3', { id: titleId }, name, place, fillWindow),
    table,
    none,
  );
  return { section, body, parts: { name, place, window: fillWindow, table, none } };
}

/** One appliance: a row, and below it on demand what else it reported. */
class Row {
  #parts;
  #row;
  #more;
  #button;
  /** @type {ApplianceView | null} */
  #box = null;

  /** @param {string} id */
  constructor(id) {
    const moreId = `more-${id}`;
    this.#button = element(
      'button',
      { type: 'button', 'aria-expanded': 'false', 'aria-controls': moreId },
      id,
    );
    this.#parts = makeParts();
    const p = this.#parts;
    this.#row = element(
      'tr',
      { role: 'row', 'data-appliance': id },
      element(
        'th',
        { scope: 'row', role: 'rowheader' },
        element('span', { class: 'id' }, this.#button, p.standing),
        p.place,
        p.why,
      ),
      cell('serve', 'To viewers now', line(p.rate, p.headroom), p.reasonBar, p.reasonWords),
      cell('fill', 'Fill', line(p.filled, p.files), p.fillBar, p.doing),
      cell('from', 'Filled from', line(p.fromTotal, p.fromNone), p.fromBar, p.fromWords),
      cell('store', 'Storage', line(p.used, p.usedShare), p.storeBar, p.storeWords),
      cell('age', 'Heard', p.age),
    );
    this.#more = element(
      'tr',
      { role: 'row', class: 'more', id: moreId, hidden: '' },
      element('td', { role: 'cell', colspan: String(COLUMNS.length) }, p.more),
    );
    this.#button.addEventListener('click', () => {
      const isOpen = this.#button.getAttribute('aria-expanded') === 'true';
      this.#button.setAttribute('aria-expanded', String(!isOpen));
      this.#more.hidden = isOpen;
      this.#showMore();
    });
  }

  get elements() {
    return [this.#row, this.#more];
  }

  /**
   * @param {ApplianceView} box
   * @param {SiteView} site
   * @param {number} nowMs
   * @param {ReturnType<ReasonWindow['take']>} reasons
   */
  update(box, site, nowMs, reasons) {
    this.#box = box;
    const p = this.#parts;
    const standing = standingOf(box);
    setText(p.standing, standing.word);
    setAttribute(p.standing, 'data-tone', standing.tone);
    setAttribute(this.#row, 'data-standing', box.standing);
    setText(p.place, `${box.clusterId} · for ${formatDuration(nowMs - box.sinceMs)}`);
    setText(p.why, standing.why);
    setAttribute(p.why, 'data-tone', standing.tone);
    setAttribute(p.why, 'title', standing.why);
    p.why.hidden = standing.why === '';

    const hasFigures = box.heartbeat !== null;
    setText(p.rate, hasFigures ? formatBps(box.viewerBps) : UNKNOWN);
    setText(p.headroom, headroomWords(box));
    this.#split(p.reasonBar, REASONS, reasons);
    setText(p.reasonWords, reasonText(box, reasons));
    setAttribute(p.reasonWords, 'title', p.reasonWords.textContent);

    const fill = fillOf(box, site.fillWindow, nowMs);
    setText(p.filled, fill.share === null ? UNKNOWN : fillShareText(fill.share));
    setText(p.files, fill.files);
    this.#split(p.fillBar, ['box'], fill.share === null ? null : [{ share: fill.share }]);
    setText(p.doing, fillText(box, fill));
    setAttribute(p.doing, 'data-tone', fill.tone);
    setAttribute(p.doing, 'title', fill.doing);

    this.#updateSources(box);
    this.#updateStorage(box);
    if (!this.#more.hidden) this.#showMore();
  }

  /** @param {number} sinceViewMs */
  age(sinceViewMs) {
    const box = this.#box;
    if (box === null) return;
    const ageMs = box.heartbeatAgeMs === null ? null : box.heartbeatAgeMs + sinceViewMs;
    setText(this.#parts.age, ageMs === null ? 'never' : formatAge(ageMs));
    this.#row.classList.toggle('stale', ageMs === null || ageMs > STALE_AFTER_MS);
  }

  /** @param {ApplianceView} box */
  #updateSources(box) {
    const p = this.#parts;
    const bytes = box.heartbeat?.counters.fillBytes;
    const parts = bytes === undefined ? null : split(bytes, SOURCE_KINDS);
    const total = bytes === undefined ? 0 : bytes.peer + bytes.tier + bytes.origin;
    setText(p.fromTotal, bytes === undefined ? UNKNOWN : formatBytes(total));
    setText(p.fromNone, '');
    this.#split(p.fromBar, SOURCE_KINDS, parts);
    setText(p.fromWords, parts === null ? 'nothing since its start' : splitWords(parts));
  }

  /** @param {ApplianceView} box */
  #updateStorage(box) {
    const p = this.#parts;
    const storage = box.heartbeat?.storage;
    if (storage === undefined) {
      setText(p.used, UNKNOWN);
      setText(p.usedShare, '');
      this.#split(p.storeBar, ['box'], null);
      setText(p.storeWords, '');
      return;
    }
    const share = storage.capacityBytes === 0 ? 0 : storage.usedBytes / storage.capacityBytes;
    setText(p.used, formatBytes(storage.usedBytes));
    setText(p.usedShare, formatShare(share));
    this.#split(p.storeBar, ['box'], [{ share }]);
    setText(p.storeWords, `of ${formatBytes(storage.capacityBytes)}`);
  }

  /**
   * @param {HTMLElement} bar
   * @param {readonly string[]} kinds
   * @param {readonly { share: number }[] | null} parts in the order of kinds
   */
  #split(bar, kinds, parts) {
    kinds.forEach((kind, index) => {
      let piece = /** @type {HTMLElement | undefined} */ (bar.children[index]);
      if (piece === undefined) {
        piece = element('i', { class: `kind-${kind}` });
        bar.append(piece);
      }
      setWidth(piece, parts?.[index]?.share ?? 0);
    });
  }

  #showMore() {
    const box = this.#box;
    if (box === null || this.#more.hidden) return;
    const facts = moreFacts(box);
    const list = this.#parts.more;
    while (list.children.length < facts.length) {
      list.append(element('div', {}, element('dt'), element('dd')));
    }
    while (list.children.length > facts.length) list.lastElementChild?.remove();
    facts.forEach(([name, value], index) => {
      const [term, description] = list.children[index].children;
      setText(term, name);
      setText(description, value);
    });
  }
}

function makeParts() {
  const spans = () => element('span');
  const under = () => element('p', { class: 'under' });
  const one = () => element('p', { class: 'under one' }); // a line that never wraps: no row jumps
  const bar = () => element('div', { class: 'bar', 'aria-hidden': 'true' });
  return {
    standing: element('span', { class: 'pill' }),
    place: element('p', { class: 'under one place' }),
    why: element('p', { class: 'under why' }),
    rate: spans(),
    headroom: spans(),
    reasonBar: bar(),
    reasonWords: one(),
    filled: spans(),
    files: spans(),
    fillBar: bar(),
    doing: under(),
    fromTotal: spans(),
    fromNone: spans(),
    fromBar: bar(),
    fromWords: one(),
    used: spans(),
    usedShare: spans(),
    storeBar: bar(),
    storeWords: one(),
    age: element('span'),
    more: element('dl'),
  };
}

/**
 * @param {string} name
 * @param {string} label what the cell is, where a phone shows no heads
 * @param {...Node} children
 */
function cell(name, label, ...children) {
  return element('td', { class: name, 'data-label': label, role: 'cell' }, ...children);
}

/**
 * @param {HTMLElement} figure
 * @param {HTMLElement} beside
 */
function line(figure, beside) {
  return element('p', { class: 'line' }, figure, beside);
}

/** A fill that lacks one byte never reads 100 %. @param {number} share */
function fillShareText(share) {
  return share >= 1 ? '100\u00a0%' : formatShare(Math.min(share, 0.999));
}

/**
 * @param {ApplianceView} box
 * @param {ReturnType<ReasonWindow['take']>} reasons
 */
function reasonText(box, reasons) {
  if (box.heartbeat === null) return '';
  if (reasons !== null) return splitWords(reasons);
  const sent = box.heartbeat.counters.viewerBytes;
  return sent === 0 ? 'no viewer since its start' : 'no viewer just now';
}

/**
 * @param {ApplianceView} box
 * @param {ReturnType<typeof fillOf>} fill
 */
function fillText(box, fill) {
  const bytes = box.heartbeat?.fill;
  if (bytes === undefined || fill.share === null) return fill.doing;
  if (fill.share >= 1) return `${formatBytes(bytes.bytesHeld)}, ${fill.doing}`;
  return `${formatBytesOf(bytes.bytesHeld, bytes.bytesWanted)}, ${fill.doing}`;
}

/**
 * @param {ApplianceView} box
 * @returns {readonly (readonly [string, string])[]}
 */
function moreFacts(box) {
  const beat = box.heartbeat;
  if (beat === null) return [['Address', box.baseUrl]];
  const { counters, load, fill, storage } = beat;
  const since = 'since its start';
  const refused = Object.entries(counters.refused).filter(([, count]) => count > 0);
  return [
    ['Address', box.baseUrl],
    ['Connections', formatCount(load.connections)],
    ['Requests', `${load.requestsPerSecond.toFixed(1)} per second`],
    ['All egress', formatBps(load.egressBps)],
    [`To viewers ${since}`, formatBytes(counters.viewerBytes)],
    [`Requests of viewers ${since}`, formatCount(counters.viewerRequests)],
    [`From unknown homes ${since}`, formatBytes(counters.viewerBytesUnknownHome)],
    [`Given to other boxes ${since}`, formatBytes(counters.peerBytesServed)],
    [`Fetched on demand ${since}`, kinds(counters.missBytes)],
    [`Filled ${since}`, kinds(counters.fillBytes)],
    ['Corrupt chunks dropped', formatCount(counters.chunksCorrupt)],
    [
      'Requests refused',
      refused.length === 0
        ? 'none'
        : refused.map(([why, count]) => `${formatCount(count)} ${why}`).join(', '),
    ],
    ['Whole files held', formatCount(beat.holdings.files)],
    ['Kept from misses', formatBytes(storage.reactiveBytes)],
    ['Fill transfers', `${fill.active} at ${formatBps(fill.rateBps)}`],
    [
      'Versions',
      `manifest ${beat.versions.manifest}, keys ${beat.versions.keys}, denials ${beat.versions.denials}`,
    ],
  ];
}

/** @param {{ peer: number, tier: number, origin: number }} bytes */
function kinds(bytes) {
  return SOURCE_KINDS.map((kind) => `${kind} ${formatBytes(bytes[kind])}`).join(', ');
}
