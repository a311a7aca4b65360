/**
 * Tonight's work, asked for every few seconds while the page is looked at. Ages count from the arrival, on this machine's own clock.
 */

const PERIOD_MS = 3000;
const ASK_TIMEOUT_MS = 8000;

/** @typedef {import('../../operations-view.ts').OperationsView} OperationsView */
/** @typedef {{ view: OperationsView, receivedAt: number }} OperationsSighting performance.now() of the arrival */
/** @typedef {import('../../../io/inventory-routes.ts').InventoryAnswer} InventoryAnswer */

/**
 * @param {(sighting: OperationsSighting) => void} onView
 */
export function followOperations(onView) {
  let isAsking = false;
  async function ask() {
    if (isAsking || document.hidden) return;
    isAsking = true;
    try {
      const view = await get('/v1/operations/view');
      if (view !== null) {
        onView({ view: /** @type {OperationsView} */ (view), receivedAt: performance.now() });
      }
    } finally {
      isAsking = false;
    }
  }
  void ask();
  setInterval(() => void ask(), PERIOD_MS);
  document.addEventListener('visibilitychange', () => void ask());
}

/**
 * What a box should and does hold, file by file; null where nobody answers.
 * @param {string} applianceId
 * @returns {Promise<InventoryAnswer | null>}
 */
export async function askInventory(applianceId) {
  const answer = await get(`/v1/operations/inventory/${encodeURIComponent(applianceId)}`);
  return /** @type {InventoryAnswer | null} */ (answer);
}

/**
 * @param {string} url
 * @returns {Promise<unknown>} null: no answer, and what is shown grows older
 */
async function get(url) {
  try {
    const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
    const answer = await fetch(url, { cache: 'no-store', signal });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
