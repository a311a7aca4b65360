/**
 * The player: hls.js with explicit pathways, one per box, and the player kit.
 *
 * By itself hls.js walks every variant of a dead box before it leaves it. The kit finishes a fragment on the next box from
 * the next missing byte; and `pathwayPriority` has the failed box last as soon as one request of it fails.
 */
import { basesOf, kitConfig } from '/kit/hls-kit.js';
import { claimsOf, Delivery, failureWords, playlistPathways, rankAfter } from './delivery.js';

const BUFFER_SECONDS = 12; // short on purpose: a killed box shows within seconds
const KEPT_BEHIND_SECONDS = 4; // played again, a title is asked of the boxes again
const PENALTY_MS = 30_000; // a box that failed is last for so long, whatever steering says meanwhile
const RETRY_MS = [1000, 2000, 4000, 8000];
const MEDIA_RECOVERY_PAUSE_MS = 5000;
const BUFFER_WORTH_KEEPING_SECONDS = 1;
const LEAPS_SECONDS = 1.5; // a larger step of the clock is a seek, not playing

/** Why the kit asks a second box although the first has not failed. */
const RACES = new Set(['late', 'silent', 'slow']);
const KIT_WORDS = new Map([
  ['Failed to fetch', 'refused or cut the connection'],
  ['network error', 'broke off'],
  ['answered 404', 'lacks the file (404)'],
  ['answered 403', 'refused the token (403)'],
]);
const SWITCH_ON = /^(frag|level|audioTrack)Load(Error|TimeOut)$/;

/** @typedef {{ titleId: string, name: string, durationSeconds: number, masterUrl: string }} Playable */
/** @typedef {{ kind: 'starting' | 'playing' | 'retrying' | 'failed', text: string }} PlayerStatus */

export class Player {
  /** @type {Playable | null} */
  title = null;
  delivery = new Delivery(0);
  /** @type {PlayerStatus} */
  status = { kind: 'starting', text: '' };
  /** @type {string[]} every pathway of the multivariant playlist, as it ranks them */
  pathways = [];
  playedSeconds = 0;
  stalls = { count: 0, totalMs: 0 };
  #video;
  #onChange;
  /** @type {any} */
  #hls = null;
  /** @type {Map<string, string>} playlist URL -> pathway */
  #pathwayOfPlaylist = new Map();
  /** @type {Map<string, number>} pathway -> performance.now() of its last failure */
  #failedAt = new Map();
  #attempt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  #mediaRecoveredAt = -Infinity;
  #stalledSince = 0;
  #lastTime = 0;
  #lastUrl = '';
  #resumeAt = 0;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => void} onChange anything that is shown may have changed
   */
  constructor(video, onChange) {
    this.#video = video;
    this.#onChange = onChange;
    video.addEventListener('timeupdate', () => this.#countPlayed());
    video.addEventListener('waiting', () => {
      if (!video.seeking && this.playedSeconds > 0) this.#stalledSince ||= performance.now();
    });
    video.addEventListener('playing', () => this.#endStall());
    video.addEventListener('pause', () => this.#endStall());
  }

  /** @param {Playable} title */
  play(title) {
    this.title = title;
    this.delivery = new Delivery(performance.now());
    this.playedSeconds = 0;
    this.stalls = { count: 0, totalMs: 0 };
    this.#stalledSince = 0;
    this.#attempt = 0;
    this.#failedAt.clear();
    this.#lastUrl = '';
    this.#resumeAt = 0;
    this.#open(0);
  }

  /** The pathway that hls.js loads from now. */
  get pathway() {
    return this.#hls?.levels?.[0]?.pathwayId ?? null;
  }

  /** Best first, as of now: the playlist's ranks, changed by steering and by what failed. */
  get ranking() {
    const priority = this.#hls?.pathwayPriority ?? this.pathways;
    // Steering may name boxes that this playlist has no address of: the player cannot go there.
    return priority.filter((/** @type {string} */ id) => this.pathways.includes(id));
  }

  get bufferedSeconds() {
    const { buffered, currentTime } = this.#video;
    for (let index = 0; index < buffered.length; index++) {
      if (buffered.start(index) <= currentTime + 0.1 && currentTime < buffered.end(index)) {
        return buffered.end(index) - currentTime;
      }
    }
    return 0;
  }

  /** True while the newest request that ended has failed and nothing came since. */
  get isFailing() {
    return (
      this.delivery.isFailing || this.status.kind === 'retrying' || this.status.kind === 'failed'
    );
  }

  get measuredBps() {
    const estimate = this.#hls?.bandwidthEstimate;
    return Number.isFinite(estimate) && this.delivery.segments.length > 0 ? estimate : null;
  }

  get quality() {
    const level = this.#hls?.levels?.[this.#hls.currentLevel];
    return level === undefined ? null : { height: level.height, bps: level.averageBitrate };
  }

  get claims() {
    return claimsOf(this.#lastUrl);
  }

  /** @param {string} pathway */
  failedAgoMs(pathway) {
    const at = this.#failedAt.get(pathway);
    return at === undefined ? null : performance.now() - at;
  }

  /** Stalled time so far, the present stall with it. */
  get stalledMs() {
    const now = this.#stalledSince === 0 ? 0 : performance.now() - this.#stalledSince;
    return this.stalls.totalMs + now;
  }

  /** @param {number} startSeconds */
  #open(startSeconds) {
    const Hls = /** @type {any} */ (globalThis).Hls;
    clearTimeout(this.#retryTimer);
    this.#hls?.destroy();
    this.#hls = null;
    this.#pathwayOfPlaylist.clear();
    if (Hls === undefined) {
      this.#say('failed', 'The player’s script /vendor/hls.min.js did not load. Reload the page.');
      return;
    }
    if (!Hls.isSupported()) {
      this.#say('failed', 'This browser has no Media Source Extensions: hls.js cannot play here.');
      return;
    }
    this.#say('starting', 'Asking playback for the title');
    /** @type {Record<string, string>} filled while the playlist loads; until then each fragment has its own box only */
    const bases = {};
    void this.#learnBases(bases);
    const kit = kitConfig({ bases, onSwitch: (event) => this.#continued(event) });
    const hls = new Hls({
      ...kit.config,
      maxBufferLength: BUFFER_SECONDS,
      maxMaxBufferLength: BUFFER_SECONDS,
      backBufferLength: KEPT_BEHIND_SECONDS,
      frontBufferFlushThreshold: BUFFER_SECONDS + KEPT_BEHIND_SECONDS,
      startPosition: startSeconds > 0 ? startSeconds : -1,
    });
    this.#hls = hls;
    kit.hls = hls;
    this.#listen(hls, Hls.Events);
    hls.loadSource(this.title?.masterUrl);
    hls.attachMedia(this.#video);
  }

  /** Every box that holds the title, from the playback service's answer beside the playlist. @param {Record<string, string>} bases */
  async #learnBases(bases) {
    const url = (this.title?.masterUrl ?? '').replace(/\/master\.m3u8(?=$|\?)/, '.json');
    try {
      const answer = await fetch(url);
      if (answer.ok) Object.assign(bases, basesOf(await answer.json()));
    } catch {
      // Without it a fragment is not continued elsewhere, and the pathways still are.
    }
  }

  /** The kit goes on elsewhere with a fragment. A race is not a failure yet. @param {any} event */
  #continued({ from, why, startedMs, frag }) {
    if (RACES.has(why)) return;
    const box = this.#named(from, frag);
    this.#failedAt.set(box, performance.now());
    this.delivery.failed({
      applianceId: box,
      kind: frag?.type === 'audio' ? 'audio' : 'video',
      startSeconds: frag?.start ?? 0,
      startedAtMs: startedMs,
      endedAtMs: performance.now(),
      why: KIT_WORDS.get(why) ?? why,
    });
    const ranked = this.#hls?.pathwayPriority ?? this.pathways;
    if (this.#hls !== null && ranked.length > 1) {
      this.#hls.pathwayPriority = rankAfter(ranked, this.#failedLately());
    }
    this.#onChange();
  }

  /** @param {any} hls @param {any} Events */
  #listen(hls, Events) {
    hls.on(Events.MANIFEST_LOADED, (/** @type {string} */ _, /** @type {any} */ data) => {
      this.pathways = [];
      this.#learnPathways(data);
    });
    hls.on(Events.MANIFEST_PARSED, () => {
      // Muted, a browser lets it play at once; where it does not, the controls are there.
      this.#video.play().catch(() => this.#onChange());
    });
    hls.on(Events.STEERING_MANIFEST_LOADED, (/** @type {string} */ _, /** @type {any} */ data) => {
      // hls.js applies this very array after the event: a box that just failed here stays last for a while,
      // even where steering has not heard of it yet.
      const priority = data.steeringManifest['PATHWAY-PRIORITY'];
      if (Array.isArray(priority)) {
        priority.splice(0, priority.length, ...rankAfter([...priority], this.#failedLately()));
      }
      this.#onChange();
    });
    // On a clone the variants are new ones: a box that was in no initial playlist has a name too.
    hls.on(Events.LEVELS_UPDATED, (/** @type {string} */ _, /** @type {any} */ { levels }) =>
      this.#learnPathways({ levels, audioTracks: hls.allAudioTracks }),
    );
    hls.on(Events.FRAG_LOADED, (/** @type {string} */ _, /** @type {any} */ data) =>
      this.#segmentArrived(data),
    );
    hls.on(Events.ERROR, (/** @type {string} */ _, /** @type {any} */ data) =>
      this.#failed(hls, data),
    );
  }

  /** @param {any} data */
  #learnPathways({ levels, audioTracks = [] }) {
    for (const [url, pathway] of playlistPathways(levels, audioTracks)) {
      this.#pathwayOfPlaylist.set(url, pathway);
      if (!this.pathways.includes(pathway)) this.pathways.push(pathway);
    }
    this.#onChange();
  }

  /** @param {any} data FragLoadedData */
  #segmentArrived({ frag, networkDetails }) {
    const { loading } = frag.stats;
    const isAudio = frag.type === 'audio';
    const level = isAudio ? undefined : this.#hls?.levels?.[frag.level];
    this.#lastUrl = frag.url;
    this.#attempt = 0;
    this.delivery.arrived({
      applianceId: this.#named(frag.servedBy, frag),
      kind: isAudio ? 'audio' : 'video',
      isInit: frag.sn === 'initSegment',
      fileId: new URL(frag.url).pathname.split('/').at(-1) ?? '',
      startSeconds: frag.start ?? 0,
      durationSeconds: frag.duration ?? 0,
      rangeStart: frag.byteRangeStartOffset ?? 0,
      bytes: frag.stats.loaded,
      startedAtMs: loading.start,
      firstByteAtMs: frag.continuedAtMs ?? loading.first,
      endedAtMs: loading.end,
      quality: level?.height ? `${level.height}p` : '',
      cacheStatus: networkDetails?.getResponseHeader?.('Cache-Status') ?? null,
    });
    this.#say('playing', '');
  }

  /** @param {any} hls @param {any} data ErrorData */
  #failed(hls, data) {
    if (hls !== this.#hls) return;
    if (SWITCH_ON.test(data.details)) this.#leave(hls, data);
    if (data.fatal) this.#fatal(hls, data);
    this.#onChange();
  }

  /** A request failed: the box goes to the end of the ranking at once. @param {any} hls @param {any} data */
  #leave(hls, data) {
    const { frag, response, networkDetails } = data;
    const pathway = frag ? this.#boxOf(frag) : this.#boxOfPlaylist(data.context?.url ?? data.url);
    if (frag) {
      const { loading, loaded } = frag.stats;
      this.delivery.failed({
        applianceId: pathway,
        kind: frag.type === 'audio' ? 'audio' : 'video',
        startSeconds: frag.start ?? 0,
        startedAtMs: loading.start,
        endedAtMs: performance.now(),
        why: failureWords({
          isTimeout: data.details.endsWith('TimeOut'),
          status: response?.code ?? 0,
          receivedBytes: loaded ?? 0,
          refused: networkDetails?.getResponseHeader?.('Nightfill-Refused') ?? null,
        }),
      });
    }
    this.#failedAt.set(pathway, performance.now());
    const ranked = hls.pathwayPriority ?? this.pathways;
    if (ranked.length > 1) hls.pathwayPriority = rankAfter(ranked, this.#failedLately());
  }

  /** @param {any} hls @param {any} data */
  #fatal(hls, data) {
    const now = performance.now();
    if (data.type === 'mediaError' && now - this.#mediaRecoveredAt > MEDIA_RECOVERY_PAUSE_MS) {
      this.#mediaRecoveredAt = now;
      hls.recoverMediaError();
      return;
    }
    hls.stopLoad();
    const wait = RETRY_MS[this.#attempt];
    const what = fatalWords(data);
    if (wait === undefined || data.type !== 'networkError') {
      this.#say('failed', what);
      return;
    }
    this.#attempt++;
    this.#say('retrying', `${what} Trying again in ${wait / 1000}\u00a0s.`);
    this.#retryTimer = setTimeout(() => this.#retry(hls), wait);
  }

  /**
   * While something is buffered it plays on and loading resumes; else a new session and a new ranking are asked for.
   * @param {any} hls
   */
  #retry(hls) {
    if (hls !== this.#hls) return;
    if (this.bufferedSeconds > BUFFER_WORTH_KEEPING_SECONDS) hls.startLoad(this.#video.currentTime);
    else this.#open(this.#resumeAt);
  }

  /** The kit names a box by its address while it does not know its id. @param {string | undefined} id @param {any} frag */
  #named(id, frag) {
    return id !== undefined && this.pathways.includes(id) ? id : this.#boxOf(frag);
  }

  /** @param {any} frag */
  #boxOf(frag) {
    return this.#boxOfPlaylist(frag.baseurl) ?? 'unknown';
  }

  /** @param {string} url */
  #boxOfPlaylist(url) {
    return this.#pathwayOfPlaylist.get(url) ?? 'unknown';
  }

  /** @returns {Set<string>} */
  #failedLately() {
    const since = performance.now() - PENALTY_MS;
    return new Set([...this.#failedAt].filter(([, at]) => at > since).map(([id]) => id));
  }

  #countPlayed() {
    const now = this.#video.currentTime;
    const step = now - this.#lastTime;
    if (step > 0 && step < LEAPS_SECONDS && !this.#video.seeking) this.playedSeconds += step;
    this.#lastTime = now;
    // A new session begins at 0 before it seeks: only a place that was really played is kept.
    if (!this.#video.seeking && this.bufferedSeconds > 0) this.#resumeAt = now;
  }

  #endStall() {
    if (this.#stalledSince === 0) return;
    this.stalls = {
      count: this.stalls.count + 1,
      totalMs: this.stalls.totalMs + performance.now() - this.#stalledSince,
    };
    this.#stalledSince = 0;
  }

  /** @param {PlayerStatus['kind']} kind @param {string} text */
  #say(kind, text) {
    this.status = { kind, text };
    this.#onChange();
  }
}

/** @param {any} data a fatal ErrorData */
function fatalWords({ details, response, url, error }) {
  const status = response?.code ?? 0;
  if (details.startsWith('manifest')) {
    if (status === 404) return 'Playback does not know this title, or nobody serves it (404).';
    if (status > 0) return `Playback answered ${status} for this title.`;
    if (details.includes('Load')) return `Playback does not answer (${new URL(url).host}).`;
    return `Playback’s answer is no playlist: ${error?.message ?? details}.`;
  }
  if (details.includes('Load')) return 'No box answers for this title.';
  return `The player stopped: ${error?.message ?? details}.`;
}
