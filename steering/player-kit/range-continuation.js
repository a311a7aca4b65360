/**
 * One byte range from whichever box gives it: continued on the next box at the next missing byte, raced when it is late.
 *
 * Every box serves the same bytes under the same path, with the file's id as its ETag; so a range begun on one box may
 * be finished on another. Each answer's ETag and Content-Range are compared before a byte of it is used.
 *
 *   asking box 1 --first byte late, or too slow--> asking box 1 and box 2 --first to deliver--> the other is dropped
 *        |                                               |
 *        |--refused, reset, short, wrong, silent for long--> asking the next box from the next missing byte
 *        '--all bytes--> done                            '--every box failed twice--> failed
 *
 * Requests carry one closed Range and nothing else: a browser sends that across origins without a preflight.
 *
 * Runs in browsers and in Node; no dependencies. Units: bytes, milliseconds, bits per second.
 */

/** @typedef {{ id: string, url: string }} Source  where the file is: `url` is the whole URL on that box */
/**
 * @typedef {object} Limits
 * @property {number} firstByteMsMin   a first byte later than max(this, twice the box's usual) starts a race
 * @property {number} firstByteMsMax   ... and later than this the box is given up, whatever the budget
 * @property {number} stallMs          no byte for so long starts a race
 * @property {number} stallMsMax       ... and for so long the box is given up
 * @property {number} rateWindowMs     over which the rate is judged
 * @property {number} penaltyMs        how long a box that failed stands behind the others
 * @property {number} lostRaceMs       ... and a box that lost a race without a byte, so that the next range is not raced again
 * @property {number} roundsMax        how often every box may fail before the range does
 * @property {number} roundDelayMs     before a second round
 * @property {number} raceShareMax     races per request, in the long run
 * @property {number} racesFree        races that need no budget, so that the first fault of a session is met at once
 */
/** @type {Limits} */
export const LIMITS = {
  firstByteMsMin: 150,
  firstByteMsMax: 2000,
  stallMs: 500,
  stallMsMax: 2000,
  rateWindowMs: 500,
  penaltyMs: 30_000,
  lostRaceMs: 5000,
  roundsMax: 2,
  roundDelayMs: 100,
  raceShareMax: 0.02,
  racesFree: 3,
};

const TICK_MS = 25;
const FIRST_BYTES_KEPT = 20;
const RATE_BYTES_LEFT_MIN = 65_536; // closer to the end a race cannot win

/** What is known of the boxes across ranges: usual first-byte times, penalties, the race budget. One per player. */
export class BoxMemory {
  /** @type {Map<string, { firstBytesMs: number[], badUntilMs: number }>} */
  #boxes = new Map();
  requests = 0;
  races = 0;

  /** @param {string} id */
  #of(id) {
    let box = this.#boxes.get(id);
    if (box === undefined) {
      box = { firstBytesMs: [], badUntilMs: -Infinity };
      this.#boxes.set(id, box);
    }
    return box;
  }

  /** @param {string} id @param {number} ms */
  heard(id, ms) {
    const box = this.#of(id);
    box.firstBytesMs.push(ms);
    if (box.firstBytesMs.length > FIRST_BYTES_KEPT) box.firstBytesMs.shift();
  }

  /** @param {string} id @param {number} untilMs */
  failed(id, untilMs) {
    this.#of(id).badUntilMs = untilMs;
  }

  /** @param {string} id @param {number} nowMs */
  isBad(id, nowMs) {
    return this.#of(id).badUntilMs > nowMs;
  }

  /** When a first byte of this box counts as late. @param {string} id @param {Limits} limits */
  lateAfterMs(id, limits) {
    const sorted = [...this.#of(id).firstBytesMs].sort((a, b) => a - b);
    const usual = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.95))] ?? 0;
    return Math.min(limits.firstByteMsMax, Math.max(limits.firstByteMsMin, 2 * usual));
  }

  /** @param {Limits} limits */
  mayRace(limits) {
    return this.races < limits.racesFree + limits.raceShareMax * this.requests;
  }
}

/** Every box failed: `attempts` says what each of them did. */
export class RangeFailed extends Error {
  /** @param {readonly { id: string, why: string }[]} attempts */
  constructor(attempts) {
    super(`no box gave the range: ${attempts.map(({ id, why }) => `${id} ${why}`).join(', ')}`);
    this.name = 'RangeFailed';
    this.attempts = attempts;
  }
}

/**
 * Fetches bytes `start` to `endInclusive` of a file.
 *
 * @param {object} ask
 * @param {readonly Source[]} ask.sources  best first; at least one
 * @param {string} ask.etag                `"<fileId>"`
 * @param {number} ask.start
 * @param {number} ask.endInclusive
 * @param {BoxMemory} ask.memory
 * @param {number} [ask.bpsMin]            slower than this for a while starts a race; 0: never
 * @param {AbortSignal} [ask.signal]
 * @param {(bytes: Uint8Array, received: number) => void} [ask.onBytes]
 * @param {(from: string, to: string, why: string) => void} [ask.onSwitch]
 * @param {Partial<Limits>} [ask.limits]
 * @param {typeof fetch} [ask.fetch]
 * @returns {Promise<{ bytes: Uint8Array, sourceId: string, firstByteMs: number, switches: number, races: number }>}
 */
export function fetchRange(ask) {
  return new Promise((resolve, reject) => {
    const run = new RangeRun(ask, resolve, reject);
    run.start();
  });
}

class RangeRun {
  #ask;
  /** @type {Limits} */
  #limits;
  #resolve;
  #reject;
  #bytes;
  #filled = 0;
  #startedMs = performance.now();
  #firstByteMs = 0;
  /** @type {Set<Attempt>} */
  #attempts = new Set();
  /** @type {Map<string, number>} */
  #failures = new Map();
  /** @type {{ id: string, why: string }[]} */
  #log = [];
  #lastSource = '';
  #switches = 0;
  #races = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #isOver = false;

  /**
   * @param {Parameters<typeof fetchRange>[0]} ask
   * @param {(value: Awaited<ReturnType<typeof fetchRange>>) => void} resolve
   * @param {(error: unknown) => void} reject
   */
  constructor(ask, resolve, reject) {
    this.#ask = ask;
    this.#limits = { ...LIMITS, ...ask.limits };
    this.#resolve = resolve;
    this.#reject = reject;
    this.#bytes = new Uint8Array(ask.endInclusive - ask.start + 1);
  }

  start() {
    const { signal } = this.#ask;
    if (signal?.aborted === true) return this.#end(signal.reason);
    signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#timer = setInterval(() => this.#look(), TICK_MS);
    this.#askNext('start');
  }

  #onAbort = () => {
    this.#end(this.#ask.signal?.reason ?? new DOMException('aborted', 'AbortError'));
  };

  /** Asks the best box that is not being asked: those without failures first, then those without a penalty. */
  /** @param {string} why */
  #askNext(why) {
    if (this.#isOver) return false;
    const nowMs = performance.now();
    const busy = new Set([...this.#attempts].map(({ source }) => source.id));
    const free = this.#ask.sources
      .map((source, at) => ({ source, at, failures: this.#failures.get(source.id) ?? 0 }))
      .filter(({ source, failures }) => !busy.has(source.id) && failures < this.#limits.roundsMax);
    free.sort(
      (a, b) =>
        a.failures - b.failures ||
        Number(this.#ask.memory.isBad(a.source.id, nowMs)) -
          Number(this.#ask.memory.isBad(b.source.id, nowMs)) ||
        a.at - b.at,
    );
    const next = free[0];
    if (next === undefined) return false;
    this.#ask.memory.requests++;
    if (this.#lastSource !== '' && next.source.id !== this.#lastSource) {
      this.#switches++;
      this.#ask.onSwitch?.(this.#lastSource, next.source.id, why);
    }
    this.#lastSource = next.source.id;
    const attempt = new Attempt(next.source, this.#filled, nowMs);
    this.#attempts.add(attempt);
    const delayMs = next.failures === 0 ? 0 : this.#limits.roundDelayMs;
    setTimeout(() => void this.#read(attempt), delayMs);
    return true;
  }

  /** @param {Attempt} attempt */
  async #read(attempt) {
    const { start, endInclusive } = this.#ask;
    const from = start + attempt.offset;
    try {
      if (attempt.isDropped) return;
      attempt.askedMs = performance.now();
      const answer = await (this.#ask.fetch ?? fetch)(attempt.source.url, {
        headers: { range: `bytes=${from}-${endInclusive}` },
        signal: attempt.controller.signal,
        mode: 'cors',
        credentials: 'omit',
        redirect: 'error',
        cache: 'no-store',
      });
      const wrong = this.#wrongWith(answer, from);
      if (wrong !== null) return this.#fail(attempt, wrong);
      const reader = answer.body?.getReader();
      if (reader === undefined) return this.#fail(attempt, 'no body');
      for (;;) {
        const { done, value } = await reader.read();
        if (attempt.isDropped || this.#isOver) return;
        if (done) return this.#fail(attempt, 'ended early');
        this.#take(attempt, value);
        if (this.#isOver) return;
      }
    } catch (error) {
      if (!attempt.isDropped)
        this.#fail(attempt, error instanceof Error ? error.message : 'failed');
    }
  }

  /** What forbids to use an answer: bytes are only joined when they are known to be of the same file and place. */
  /** @param {Response} answer @param {number} from */
  #wrongWith(answer, from) {
    if (answer.status !== 206) return `answered ${answer.status}`;
    if (answer.headers.get('etag') !== this.#ask.etag) return 'has another ETag';
    const range = answer.headers.get('content-range') ?? '';
    if (!range.startsWith(`bytes ${from}-${this.#ask.endInclusive}/`)) return 'sent another range';
    return null;
  }

  /** @param {Attempt} attempt @param {Uint8Array} part */
  #take(attempt, part) {
    const nowMs = performance.now();
    if (attempt.received === 0) {
      this.#ask.memory.heard(attempt.source.id, nowMs - attempt.askedMs);
      // The first to deliver has won the race.
      for (const other of this.#attempts) {
        if (other === attempt) continue;
        // The one asked first was late or silent: the next range goes to who was not.
        if (other.askedMs < attempt.askedMs) this.#behind(other, nowMs);
        this.#drop(other);
      }
      if (this.#filled === 0) this.#firstByteMs = nowMs - this.#startedMs;
      this.#lastSource = attempt.source.id;
    }
    attempt.received += part.length;
    attempt.heardMs = nowMs;
    attempt.seen(nowMs, part.length, this.#limits.rateWindowMs);
    // A winner of a race began where the other stood then: what is there already is not taken twice.
    const skip = Math.max(0, this.#filled - (attempt.offset + attempt.received - part.length));
    const fresh = part.subarray(Math.min(skip, part.length));
    if (this.#filled + fresh.length > this.#bytes.length)
      return this.#fail(attempt, 'sent too much');
    this.#bytes.set(fresh, this.#filled);
    this.#filled += fresh.length;
    if (fresh.length > 0) this.#ask.onBytes?.(fresh, this.#filled);
    if (this.#filled === this.#bytes.length) this.#end(null, attempt.source.id);
  }

  /** @param {Attempt} attempt @param {number} nowMs */
  #behind({ source }, nowMs) {
    const { memory } = this.#ask;
    if (!memory.isBad(source.id, nowMs)) memory.failed(source.id, nowMs + this.#limits.lostRaceMs);
  }

  /** Every TICK_MS: is anybody late, silent or too slow? */
  #look() {
    const nowMs = performance.now();
    const { memory } = this.#ask;
    for (const attempt of this.#attempts) {
      const waitedMs = nowMs - (attempt.received === 0 ? attempt.askedMs : attempt.heardMs);
      const { firstByteMsMax, stallMs, stallMsMax } = this.#limits;
      if (attempt.received === 0) {
        if (waitedMs > firstByteMsMax) this.#fail(attempt, 'gave no first byte');
        else if (waitedMs > memory.lateAfterMs(attempt.source.id, this.#limits)) this.#race('late');
      } else if (waitedMs > stallMsMax) this.#fail(attempt, 'fell silent');
      else if (waitedMs > stallMs) this.#race('silent');
      else if (this.#isTooSlow(attempt, nowMs)) this.#race('slow');
    }
  }

  /** @param {Attempt} attempt @param {number} nowMs */
  #isTooSlow(attempt, nowMs) {
    const bpsMin = this.#ask.bpsMin ?? 0;
    const left = this.#bytes.length - this.#filled;
    if (bpsMin === 0 || left < RATE_BYTES_LEFT_MIN) return false;
    const bps = attempt.bps(nowMs, this.#limits.rateWindowMs);
    return bps !== null && bps < bpsMin;
  }

  /** @param {string} why */
  #race(why) {
    const { memory } = this.#ask;
    if (this.#attempts.size > 1 || !memory.mayRace(this.#limits)) return;
    if (!this.#askNext(why)) return;
    memory.races++;
    this.#races++;
  }

  /** @param {Attempt} attempt @param {string} why */
  #fail(attempt, why) {
    if (attempt.isDropped || this.#isOver) return;
    const { id } = attempt.source;
    this.#drop(attempt);
    this.#log.push({ id, why });
    this.#failures.set(id, (this.#failures.get(id) ?? 0) + 1);
    this.#ask.memory.failed(id, performance.now() + this.#limits.penaltyMs);
    if (this.#attempts.size > 0) return; // the other one of a race goes on
    if (!this.#askNext(why)) this.#end(new RangeFailed(this.#log));
  }

  /** @param {Attempt} attempt */
  #drop(attempt) {
    attempt.isDropped = true;
    this.#attempts.delete(attempt);
    attempt.controller.abort();
  }

  /** @param {unknown} error @param {string} [sourceId] */
  #end(error, sourceId = '') {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#ask.signal?.removeEventListener('abort', this.#onAbort);
    for (const attempt of this.#attempts) this.#drop(attempt);
    if (error !== null) {
      this.#reject(error);
      return;
    }
    this.#resolve({
      bytes: this.#bytes,
      sourceId,
      firstByteMs: this.#firstByteMs,
      switches: this.#switches,
      races: this.#races,
    });
  }
}

/** One request to one box. */
class Attempt {
  controller = new AbortController();
  received = 0;
  isDropped = false;
  /** @type {{ atMs: number, bytes: number }[]} */
  #recent = [];

  /** @param {Source} source @param {number} offset @param {number} nowMs */
  constructor(source, offset, nowMs) {
    this.source = source;
    this.offset = offset; // where in the range it begins
    this.askedMs = nowMs;
    this.heardMs = nowMs;
  }

  /** @param {number} atMs @param {number} bytes @param {number} windowMs */
  seen(atMs, bytes, windowMs) {
    this.#recent.push({ atMs, bytes });
    while (this.#recent.length > 1 && this.#recent[0].atMs < atMs - 2 * windowMs)
      this.#recent.shift();
  }

  /** Over the last window; null before one has passed. @param {number} nowMs @param {number} windowMs */
  bps(nowMs, windowMs) {
    if (this.#recent.length === 0 || this.#recent[0].atMs > nowMs - windowMs) return null;
    let bytes = 0;
    for (const one of this.#recent) if (one.atMs > nowMs - windowMs) bytes += one.bytes;
    return (bytes * 8000) / windowMs;
  }
}
