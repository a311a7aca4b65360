/**
 * Elements made by hand: text only ever enters as text, and a node is touched only where it differs,
 * so that forty boxes at one update a second cost nothing and a selection by mouse stays.
 */

/**
 * element('p', { class: 'small' }, 'text', child)
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/**
 * The element of this id; a page without it is a bug.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`the page has no element #${id}`);
  return node;
}

/**
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * @param {Element} node
 * @param {string} name
 * @param {string | null} value null takes the attribute away
 */
export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * @param {HTMLElement} node
 * @param {number} share 0 to 1
 */
export function setWidth(node, share) {
  const width = `${(Math.min(1, Math.max(0, share)) * 100).toFixed(2)}%`;
  if (node.style.width !== width) node.style.width = width;
}

/**
 * Makes the children of `parent` exactly `wanted`, in order, and moves only what is out of place.
 * @param {Element} parent
 * @param {readonly Element[]} wanted
 */
export function setChildren(parent, wanted) {
  for (let index = 0; index < wanted.length; index++) {
    const present = parent.children[index];
    if (present !== wanted[index]) parent.insertBefore(wanted[index], present ?? null);
  }
  while (parent.children.length > wanted.length) parent.lastElementChild?.remove();
}

/** Escape closes an open tip until the pointer or the focus comes back (WCAG 1.4.13). */
export function closeTipsOnEscape() {
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    for (const tip of document.querySelectorAll('.tip')) tip.classList.add('closed');
  });
  const reopen = (/** @type {Event} */ event) => {
    if (event.target instanceof Element) event.target.closest('.tip')?.classList.remove('closed');
  };
  document.addEventListener('pointerover', reopen);
  document.addEventListener('focusin', reopen);
}
