/**
 * The kit for dash.js (5.0 and later): a viewer does not notice that a box died.
 *
 *   import { attachKit } from './dash-kit.js';
 *   const player = dashjs.MediaPlayer().create();
 *   attachKit(player, { bases });                     // { pathwayId: "http://box:8080" }, best first; before initialize()
 *   player.initialize(video, manifestUrl, true);
 *
 * Two layers, each of use without the other:
 *   1. settings: a box that fails is tried once more, not three times, and a silent one is given up after 4 s, not 20; dash.js
 *      then blacklists its service location and goes on at the next one by itself;
 *   2. continuing loader (with `bases`): in place of dash.js's own XMLHttpRequest a byte range of a file is finished on the next
 *      box from the next missing byte, and raced when its first byte or its rate is late. Everything else (manifests, steering)
 *      is loaded as dash.js does it.
 */
import { FILE_ID, sourcesOf } from './bases.js';
import { BoxMemory, fetchRange } from './range-continuation.js';

/** Layer 1. */
export const SETTINGS = {
  streaming: {
    fragmentRequestTimeout: 4000,
    retryAttempts: { MediaSegment: 1, InitializationSegment: 1, IndexSegment: 1 },
    retryIntervals: { MediaSegment: 100, InitializationSegment: 100, IndexSegment: 100 },
  },
};
/** With the continuing loader the boxes are given up inside it: dash.js waits for all of them. */
const CONTINUING_TIMEOUT_MS = 30_000;
const PROGRESS_EVERY_MS = 50; // as browsers do it for an XMLHttpRequest

/**
 * @param {any} player  of `dashjs.MediaPlayer().create()`, not initialized yet
 * @param {object} [options]
 * @param {Readonly<Record<string, string>>} [options.bases]  base URL by pathway id, best first; the origin too. Read at each
 *   segment: it may be filled while the player starts
 * @param {(event: { kind: 'box', from: string, to: string, why: string }) => void} [options.onSwitch]
 * @param {(event: { sourceId: string, fileId: string, bytes: number, ms: number, switches: number, races: number }) => void} [options.onFragment]
 * @param {Partial<import('./range-continuation.js').Limits>} [options.limits]
 * @param {typeof fetch} [options.fetch]
 */
export function attachKit(player, options = {}) {
  const { streaming } = SETTINGS;
  player.updateSettings(
    options.bases === undefined
      ? SETTINGS
      : { streaming: { ...streaming, fragmentRequestTimeout: CONTINUING_TIMEOUT_MS } },
  );
  if (options.bases !== undefined) player.extend('XHRLoader', continuingLoader(options), true);
}

/** Layer 2: a dash.js class extension. @param {any} options */
export function continuingLoader(options) {
  const memory = new BoxMemory(); // of all streams of the player
  /** @this {{ parent: { load: (request: any, response: any) => unknown } }} */
  return function ContinuingLoader() {
    const loadPlainly = this.parent.load; // before dash.js puts ours in its place
    return {
      /** @param {any} request @param {any} response */
      load(request, response) {
        const range = rangeOf(request);
        if (range === null) return loadPlainly(request, response);
        loadRange(request, response, range, memory, options);
        return true;
      },
    };
  };
}

/** The file and the bytes that a request is for; null where it is for anything else. @param {any} request */
function rangeOf({ url, headers }) {
  const asked = /^bytes=(\d+)-(\d+)$/.exec(headers?.Range ?? '');
  if (asked === null || !URL.canParse(url)) return null;
  const fileId = new URL(url).pathname.split('/').at(-1) ?? '';
  if (!FILE_ID.test(fileId)) return null;
  return { fileId, start: Number(asked[1]), endInclusive: Number(asked[2]) };
}

/**
 * @param {any} request
 * @param {any} response  filled in before dash.js is told that the request ended; status 0: it failed
 * @param {{ fileId: string, start: number, endInclusive: number }} range
 * @param {BoxMemory} memory
 * @param {any} options
 */
function loadRange(request, response, { fileId, start, endInclusive }, memory, options) {
  const { customData } = request; // its callbacks may be taken away by dash.js while the request runs
  const total = endInclusive - start + 1;
  const controller = new AbortController();
  const beganMs = performance.now();
  let toldMs = -Infinity;
  let isOver = false;
  const end = () => {
    isOver = true;
    clearTimeout(timer);
  };
  const timer = setTimeout(() => {
    end();
    controller.abort(new DOMException('took too long', 'TimeoutError'));
    customData.ontimeout?.({ lengthComputable: false, loaded: 0, total: 0 });
    customData.onloadend?.();
  }, request.timeout || CONTINUING_TIMEOUT_MS);
  customData.abort = () => {
    if (isOver) return;
    end();
    controller.abort(new DOMException('aborted', 'AbortError'));
    customData.onabort?.();
  };
  fetchRange({
    // Read whenever a box is asked: the list may have come only after the segment was begun.
    get sources() {
      return sourcesOf(request.url, options.bases);
    },
    etag: `"${fileId}"`,
    start,
    endInclusive,
    memory,
    bpsMin: customData.request?.representation?.bandwidth ?? 0,
    signal: controller.signal,
    limits: options.limits,
    fetch: options.fetch,
    onSwitch: (from, to, why) => options.onSwitch?.({ kind: 'box', from, to, why }),
    onBytes: (_bytes, loaded) => {
      const nowMs = performance.now();
      if (nowMs - toldMs < PROGRESS_EVERY_MS && loaded < total) return;
      toldMs = nowMs;
      customData.onprogress?.({ lengthComputable: true, loaded, total });
    },
  }).then(
    ({ bytes, sourceId, switches, races }) => {
      if (isOver) return;
      end();
      const ms = performance.now() - beganMs;
      options.onFragment?.({ sourceId, fileId, bytes: bytes.length, ms, switches, races });
      const headers = { 'content-length': String(bytes.length), etag: `"${fileId}"` };
      const answer = { status: 206, statusText: 'Partial Content', headers, data: bytes.buffer };
      Object.assign(response, answer, { url: request.url });
      customData.onloadend?.();
    },
    (error) => {
      if (isOver) return;
      end();
      Object.assign(response, { status: 0, statusText: String(error?.message ?? error) });
      customData.onloadend?.();
    },
  );
}
