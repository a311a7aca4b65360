/**
 * The kit for hls.js (1.5 and later): a viewer does not notice that a box died.
 *
 *   import { kitConfig, attachKit } from './hls-kit.js';
 *   const kit = kitConfig({ bases });                 // { pathwayId: "http://box:8080" }, best first
 *   const hls = new Hls({ ...kit.config });
 *   attachKit(hls, kit);
 *
 * Three layers, each of use without the next:
 *   1. load policy: a box that is silent is given up after 2 s, not after 10 s six times over;
 *   2. pathway switch: the first failed fragment or playlist moves the player to the next pathway, where stock hls.js
 *      would try every variant of the dead one first;
 *   3. continuing loader (with `bases`): a fragment is finished on the next box from the next missing byte, and raced
 *      when its first byte or its rate is late. It leaves `servedBy` (a pathway id) and, where it went on elsewhere,
 *      `continuedAtMs` on the fragment.
 */
import { FILE_ID, sourcesOf } from './bases.js';
import { BoxMemory, fetchRange } from './range-continuation.js';

export { basesOf } from './bases.js';

/** Layer 1. At least one retry each: hls.js reports an error to us only when it retries or gives up. */
const policy = (firstByteMs, loadMs) => ({
  default: {
    maxTimeToFirstByteMs: firstByteMs,
    maxLoadTimeMs: loadMs,
    timeoutRetry: { maxNumRetry: 1, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: 1, retryDelayMs: 100, maxRetryDelayMs: 100 },
  },
});
export const LOAD_POLICY = {
  fragLoadPolicy: policy(2000, 20_000),
  playlistLoadPolicy: policy(2000, 10_000),
};
/** With the continuing loader the boxes are given up inside it: hls.js waits for all of them. */
const CONTINUING_FIRST_BYTE_MS = 10_000;

const SWITCH_ON = /fragLoad(Error|TimeOut)|levelLoad(Error|TimeOut)|audioTrackLoad(Error|TimeOut)/;

/**
 * @param {object} [options]
 * @param {Readonly<Record<string, string>>} [options.bases]  base URL by pathway id, best first; the origin too. Read at each
 *   fragment: it may be filled while the player starts
 * @param {(event: { kind: string, from: string, to: string, why: string, startedMs?: number, frag?: any }) => void} [options.onSwitch]
 *   `kind` "box": a fragment goes on elsewhere, `startedMs` (of performance.now()) is when it was asked for
 * @param {(event: { sourceId: string, fileId: string, bytes: number, ms: number, switches: number, races: number }) => void} [options.onFragment]
 * @param {Partial<import('./range-continuation.js').Limits>} [options.limits]
 * @param {typeof fetch} [options.fetch]
 */
export function kitConfig(options = {}) {
  const memory = new BoxMemory();
  const kit = { options, memory, /** @type {any} */ hls: null, config: { ...LOAD_POLICY } };
  if (options.bases === undefined) return kit;
  return {
    ...kit,
    config: {
      ...LOAD_POLICY,
      fragLoadPolicy: policy(CONTINUING_FIRST_BYTE_MS, 30_000),
      fLoader: continuingLoader(kit),
    },
  };
}

/** Layer 2. @param {any} hls @param {{ options: any, hls: any }} kit */
export function attachKit(hls, kit) {
  kit.hls = hls;
  hls.on('hlsError', (_name, data) => {
    const rotated = SWITCH_ON.test(data.details)
      ? rotate(hls.pathwayPriority, failedPathway(hls, data, kit.options.bases))
      : null;
    if (rotated === null) return;
    hls.pathwayPriority = rotated;
    kit.options.onSwitch?.({
      kind: 'pathway',
      from: rotated.at(-1),
      to: rotated[0],
      why: data.details,
    });
  });
}

/** The list with the failed pathway last; null where that changes nothing. */
/** @param {readonly string[] | null} priority @param {string | null} failed */
export function rotate(priority, failed) {
  if (!Array.isArray(priority) || priority.length < 2 || failed === null) return null;
  if (priority[0] !== failed) return null; // the player has moved on already
  return [...priority.slice(1), failed];
}

/**
 * Which pathway an error is about: by the box that the URL names, else by the playlist's path
 * (`/hls/<session>/<pathwayId>/<fileId>.m3u8`), else by the variant. Audio and video of one dead box each fail: the
 * second error must not move the player off the pathway that the first one moved it to.
 *
 * @param {any} hls
 * @param {any} data
 * @param {Readonly<Record<string, string>>} [bases]
 */
export function failedPathway(hls, data, bases = {}) {
  const urls = [data.frag?.url, data.url, data.context?.url, data.frag?.baseurl].filter(
    (url) => typeof url === 'string' && URL.canParse(url),
  );
  for (const url of urls) {
    const { origin, pathname } = new URL(url);
    const box = Object.keys(bases).find((id) => new URL(bases[id]).origin === origin);
    if (box !== undefined) return box;
    const named = (hls.pathwayPriority ?? []).find((id) => pathname.includes(`/${id}/`));
    if (named !== undefined) return named;
  }
  if (data.frag !== undefined && data.frag?.type !== 'main') return null;
  return hls.levels?.[data.frag?.level ?? data.level]?.pathwayId ?? null;
}

/** Layer 3: an hls.js loader class. @param {any} kit */
function continuingLoader(kit) {
  return class ContinuingLoader {
    /** @param {any} config */
    constructor(config) {
      this.config = config;
      this.context = null;
      this.stats = newStats();
      this.callbacks = null;
      this.controller = new AbortController();
    }

    destroy() {
      this.callbacks = null;
      this.abortInternal();
      this.context = null;
    }

    abort() {
      const { callbacks } = this;
      if (this.stats.loading.end === 0) this.abortInternal();
      callbacks?.onAbort?.(this.stats, this.context, null);
    }

    abortInternal() {
      this.stats.aborted = true;
      this.controller.abort(new DOMException('aborted', 'AbortError'));
    }

    /** @param {any} context @param {any} config @param {any} callbacks */
    load(context, config, callbacks) {
      this.context = context;
      this.callbacks = callbacks;
      this.stats.loading.start = performance.now();
      const fileId = new URL(context.url).pathname.split('/').at(-1) ?? '';
      const { rangeStart, rangeEnd } = context;
      if (!FILE_ID.test(fileId) || !(rangeEnd > rangeStart)) {
        callbacks.onError(
          { code: 0, text: 'not a byte range of a file' },
          context,
          null,
          this.stats,
        );
        return;
      }
      const { bases, fetch: doFetch, limits, onSwitch } = kit.options;
      let isContinued = false;
      const timer = setTimeout(() => {
        this.callbacks = null;
        this.abortInternal();
        callbacks.onTimeout(this.stats, context, null);
      }, config.loadPolicy?.maxLoadTimeMs ?? 30_000);
      fetchRange({
        // Read whenever a box is asked: the list may have come only after the fragment was begun.
        get sources() {
          return sourcesOf(context.url, bases);
        },
        etag: `"${fileId}"`,
        start: rangeStart ?? 0,
        endInclusive: rangeEnd - 1,
        memory: kit.memory,
        bpsMin: kit.hls?.levels?.[context.frag?.level]?.bitrate ?? 0,
        signal: this.controller.signal,
        limits,
        fetch: doFetch,
        onSwitch: (from, to, why) => {
          isContinued = true;
          const { start: startedMs } = this.stats.loading;
          onSwitch?.({ kind: 'box', from, to, why, startedMs, frag: context.frag });
        },
        onBytes: (_bytes, received) => {
          if (isContinued && context.frag !== undefined) {
            isContinued = false;
            context.frag.continuedAtMs = performance.now();
          }
          if (this.stats.loading.first === 0) this.stats.loading.first = performance.now();
          this.stats.loaded = received;
          this.stats.total = rangeEnd - rangeStart;
          this.stats.chunkCount++;
        },
      }).then(
        (result) => {
          clearTimeout(timer);
          this.succeed(context, callbacks, fileId, result);
        },
        (error) => {
          clearTimeout(timer);
          if (this.callbacks === null || this.stats.aborted) return;
          callbacks.onError(
            { code: 0, text: String(error?.message ?? error) },
            context,
            null,
            this.stats,
          );
        },
      );
    }

    /** @param {any} context @param {any} callbacks @param {string} fileId @param {any} result */
    succeed(context, callbacks, fileId, result) {
      if (this.callbacks === null || this.stats.aborted) return;
      const { loading } = this.stats;
      loading.end = Math.max(performance.now(), loading.first);
      this.stats.loaded = result.bytes.length;
      this.stats.total = result.bytes.length;
      const ms = loading.end - loading.start;
      this.stats.bwEstimate =
        (result.bytes.length * 8000) / Math.max(1, loading.end - loading.first);
      const { sourceId, switches, races } = result;
      kit.options.onFragment?.({
        sourceId,
        fileId,
        bytes: result.bytes.length,
        ms,
        switches,
        races,
      });
      if (context.frag !== undefined) context.frag.servedBy = sourceId;
      const response = { url: context.url, data: result.bytes.buffer, code: 206 };
      callbacks.onProgress?.(this.stats, context, response.data, null);
      callbacks.onSuccess(response, this.stats, context, null);
    }

    getCacheAge() {
      return null;
    }

    getResponseHeader() {
      return null;
    }
  };
}

function newStats() {
  const step = () => ({ start: 0, end: 0 });
  return {
    aborted: false,
    loaded: 0,
    retry: 0,
    total: 0,
    chunkCount: 0,
    bwEstimate: 0,
    loading: { start: 0, first: 0, end: 0 },
    parsing: step(),
    buffering: { start: 0, first: 0, end: 0 },
  };
}
