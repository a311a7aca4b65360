/**
 * The fleet as it is now: pushed each second on `/v1/fleet/live`, asked for where nothing is pushed.
 *
 *   pushed --silent for SILENT_MS | closed--> asked every POLL_MS --event--> pushed
 *
 * A view's age is counted from its arrival on this machine's own monotonic clock: the two wall clocks may differ.
 */

const SILENT_MS = 3500; // the server pushes each second
const POLL_MS = 2000;
const ASK_TIMEOUT_MS = 4000;
const RECONNECT_MS = 10_000;

/** @typedef {import('../../fleet-view.ts').FleetView} FleetView */
/** @typedef {{ view: FleetView, receivedAt: number }} Sighting performance.now() of the arrival */

/**
 * @param {(sighting: Sighting, how: 'live' | 'polling') => void} onView
 * @returns {{ stop(): void }}
 */
export function followFleet(onView) {
  /** @type {EventSource | null} */
  let stream = null;
  let isAsking = false;
  let isStopped = false;
  let lastEventAt = performance.now();
  let connectedAt = 0;
  let lastSeenMs = 0;

  /** @param {FleetView} view @param {'live' | 'polling'} how */
  function take(view, how) {
    // An answer that was overtaken by a newer push is not shown.
    if (isStopped || view.atMs < lastSeenMs) return;
    lastSeenMs = view.atMs;
    onView({ view, receivedAt: performance.now() }, how);
  }

  function connect() {
    stream?.close();
    connectedAt = performance.now();
    stream = new EventSource('/v1/fleet/live');
    stream.addEventListener('message', (event) => {
      lastEventAt = performance.now();
      take(JSON.parse(event.data), 'live');
    });
  }

  async function ask() {
    if (isAsking) return;
    isAsking = true;
    try {
      const signal = AbortSignal.timeout(ASK_TIMEOUT_MS);
      const answer = await fetch('/v1/fleet/view', { cache: 'no-store', signal });
      if (answer.ok) take(await answer.json(), 'polling');
    } catch {
      // No answer: the page shows the age of what it has, and the next poll asks again.
    } finally {
      isAsking = false;
    }
  }

  connect();
  const timer = setInterval(() => {
    const now = performance.now();
    if (now - lastEventAt < SILENT_MS) return;
    void ask();
    // A restarted control plane starts its clock where it likes: what was seen before no longer counts.
    if (now - lastEventAt > RECONNECT_MS) lastSeenMs = 0;
    // A refused stream stays closed, and one whose peer vanished without a word stays open: begin anew.
    if (now - connectedAt > RECONNECT_MS) connect();
  }, POLL_MS);

  return {
    stop() {
      isStopped = true;
      clearInterval(timer);
      stream?.close();
    },
  };
}
