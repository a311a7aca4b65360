/**
 * A list whose items open: a line with a verdict, and below it on demand what it is made of. Items are made once and then only
 * touched where they differ, so that what was opened stays open and a focus stays where it is.
 */
import { element, setAttribute, setChildren, setText } from './dom.js';

/** @typedef {{ name: string, words: string, tone?: string }} Line */
/**
 * @typedef {object} Item
 * @property {string} key
 * @property {string} name
 * @property {string} aside
 * @property {{ word: string, tone: string }} verdict
 * @property {string} words
 * @property {readonly Line[]} lines
 */

export class WorkList {
  #list;
  #load;
  /** @type {Map<string, ReturnType<typeof makeItem>>} */
  #items = new Map();

  /**
   * @param {HTMLElement} list
   * @param {((key: string) => Promise<readonly Line[]>) | null} load what an opened item shows, where it has to be asked for
   */
  constructor(list, load = null) {
    this.#list = list;
    this.#load = load;
  }

  /** @param {readonly Item[]} items */
  show(items) {
    const living = new Set(items.map(({ key }) => key));
    for (const key of this.#items.keys()) if (!living.has(key)) this.#items.delete(key);
    setChildren(
      this.#list,
      items.map((item) => {
        const parts = this.#partsOf(item);
        setText(parts.name, item.name);
        setAttribute(parts.name, 'title', item.name);
        setText(parts.aside, item.aside);
        setText(parts.pill, item.verdict.word);
        setAttribute(parts.pill, 'data-tone', item.verdict.tone);
        setText(parts.words, item.words);
        if (this.#load === null) showLines(parts.lines, item.lines);
        return parts.item;
      }),
    );
  }

  /** @param {Item} item */
  #partsOf(item) {
    let parts = this.#items.get(item.key);
    if (parts === undefined) {
      const made = makeItem(item.name);
      const load = this.#load;
      if (load !== null) {
        made.details.addEventListener('toggle', () => {
          if (!made.details.open) return;
          showLines(made.lines, [{ name: '', words: 'asking …' }]);
          void load(item.key).then((lines) => showLines(made.lines, lines));
        });
      }
      this.#items.set(item.key, made);
      parts = made;
    }
    return parts;
  }
}

/** @param {string} label */
function makeItem(label) {
  const name = element('span', { class: 'name mono' });
  const aside = element('span', { class: 'aside quiet' });
  const pill = element('span', { class: 'pill' });
  const words = element('span', { class: 'words quiet small' });
  // What scrolls can be reached by keyboard.
  const lines = element('ul', { class: 'lines small', tabindex: '0', 'aria-label': label });
  const details = /** @type {HTMLDetailsElement} */ (
    element('details', {}, element('summary', {}, name, pill, aside, words), lines)
  );
  return { item: element('li', {}, details), details, name, aside, pill, words, lines };
}

/**
 * @param {HTMLElement} list
 * @param {readonly Line[]} lines
 */
function showLines(list, lines) {
  while (list.children.length > lines.length) list.lastElementChild?.remove();
  lines.forEach(({ name, words, tone }, index) => {
    const item =
      list.children[index] ??
      list.appendChild(element('li', {}, element('span', { class: 'mono' }), element('span')));
    setText(item.children[0], name);
    setText(item.children[1], words);
    setAttribute(item, 'data-tone', tone ?? null);
  });
}
