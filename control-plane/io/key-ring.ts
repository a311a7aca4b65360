/**
 * The key ring of a process that trusts the root's fingerprint: fetched from the control plane, kept on disk, swapped whole.
 *
 * Errors:     `refresh` answers a Failure; the ring in use stays in use
 * Invariants: (1) no key enters that the root did not sign
 *             (2) the version never goes back, also over a restart
 *             (3) with the control plane gone, the last good set is enough
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { checkKeysAnswer, openKeys, type KeyRing, type KeysAnswer } from '../contract.ts';
import type { Clock, Timer } from '#base/clock.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import type { Logger } from '#base/log.ts';
import { codeOf, failed, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';

const FETCH_DEADLINE_MS = 5000;
const KEYS_ANSWER_BYTES_MAX = 256 * 1024; // 64 keys of a few hundred bytes
const RETRY_FIRST_MS = 250; // doubles up to RETRY_MS_MAX until there are keys
const RETRY_MS_MAX = 10_000;
const POLL_MS = 60_000;

export interface KeyRingOptions {
  readonly controlPlaneUrl: string;
  readonly rootFingerprint: string;
  readonly lastGoodPath: string; // a file in the caller's state directory
  readonly clock: Clock;
  readonly log: Logger;
}

export interface KeyRingHolder {
  /** Settled once the copy on disk has been looked at: `current()` is then as good as it gets offline. */
  readonly loaded: Promise<void>;
  current(): KeyRing | null;
  refresh(): Promise<Outcome<KeyRing>>;
  start(): void;
  stop(): void;
}

export function createKeyRing(options: KeyRingOptions): KeyRingHolder {
  return new PolledKeyRing(options);
}

class PolledKeyRing implements KeyRingHolder {
  readonly loaded: Promise<void>;
  readonly #options: KeyRingOptions;
  #current: KeyRing | null = null;
  #inFlight: Promise<Outcome<KeyRing>> | null = null;
  #timer: Timer | null = null;
  #running = false;
  #retryMs = RETRY_FIRST_MS;
  #lastProblem = '';

  constructor(options: KeyRingOptions) {
    this.#options = options;
    this.loaded = this.#load();
  }

  current(): KeyRing | null {
    return this.#current;
  }

  /** One fetch at a time: whoever asks meanwhile gets the same answer. */
  refresh(): Promise<Outcome<KeyRing>> {
    this.#inFlight ??= this.#fetch().finally(() => {
      this.#inFlight = null;
    });
    return this.#inFlight;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#poll();
  }

  stop(): void {
    this.#running = false;
    this.#timer?.cancel();
    this.#timer = null;
  }

  async #poll(): Promise<void> {
    const outcome = await this.refresh();
    if (!outcome.ok) this.#report(outcome.failure);
    if (!this.#running) return;
    const delayMs = this.#current === null ? this.#retryMs : POLL_MS;
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    this.#timer = this.#options.clock.after(delayMs, () => void this.#poll());
  }

  async #fetch(): Promise<Outcome<KeyRing>> {
    await this.loaded; // so that an older answer cannot slip in before the copy on disk was seen
    const url = `${this.#options.controlPlaneUrl}/v1/keys`;
    const answer = await callJsonOk({
      method: 'GET',
      url,
      deadlineMs: FETCH_DEADLINE_MS,
      answerBytesMax: KEYS_ANSWER_BYTES_MAX,
    });
    if (!answer.ok) return answer;
    const checked = checkKeysAnswer(answer.value);
    if (!checked.ok) return failed(untrusted(url, checked.failure.slice(0, 3).join('; ')));
    return this.#offer(checked.value, url);
  }

  async #offer(answer: KeysAnswer, url: string): Promise<Outcome<KeyRing>> {
    const opened = await openKeys(answer, this.#options.rootFingerprint);
    if (!opened.ok) return failed(untrusted(url, opened.failure));
    const ring = opened.value;
    if (this.#current !== null && ring.version < this.#current.version) {
      return failed(
        untrusted(
          url,
          `key set ${ring.version} is older than ${this.#current.version}, in use here`,
        ),
      );
    }
    const isNews = this.#current === null || ring.version > this.#current.version;
    this.#current = ring;
    this.#lastProblem = '';
    if (isNews) {
      this.#options.log.info({ event: 'keys-taken', version: ring.version }, 'key set taken');
      this.#save(answer);
    }
    return success(ring);
  }

  async #load(): Promise<void> {
    const { lastGoodPath, log, rootFingerprint } = this.#options;
    try {
      const checked = checkKeysAnswer(JSON.parse(readFileSync(lastGoodPath, 'utf8')));
      const opened = checked.ok
        ? await openKeys(checked.value, rootFingerprint)
        : { ok: false as const, failure: checked.failure.join('; ') };
      if (opened.ok) this.#current = opened.value;
      else log.warn({ file: lastGoodPath, why: opened.failure }, 'kept key set is not used');
    } catch (thrown) {
      if (codeOf(thrown) === 'ENOENT') return;
      log.warn({ file: lastGoodPath, why: messageOf(thrown) }, 'kept key set is not used');
    }
  }

  #save(answer: KeysAnswer): void {
    const { lastGoodPath, log } = this.#options;
    try {
      const temporary = `${lastGoodPath}.${process.pid}.tmp`;
      writeFileSync(temporary, JSON.stringify(answer));
      renameSync(temporary, lastGoodPath);
    } catch (thrown) {
      // The keys are in memory and work; only a restart without the control plane would miss them.
      log.warn({ file: lastGoodPath, why: messageOf(thrown) }, 'key set was not kept on disk');
    }
  }

  #report(failure: Failure): void {
    if (failure.detail === this.#lastProblem) return;
    this.#lastProblem = failure.detail;
    const level = failure.code === 'keys-untrusted' ? 'error' : 'warn';
    this.#options.log[level](
      { code: failure.code, detail: failure.detail, using: this.#current?.version ?? null },
      'key set could not be refreshed',
    );
  }
}

function untrusted(url: string, why: string): Failure {
  return {
    code: 'keys-untrusted',
    source: 'upstream',
    retry: 'never',
    detail: `${url}: ${why}; the set in use is kept. Check the root fingerprint that this process was given`,
  };
}
