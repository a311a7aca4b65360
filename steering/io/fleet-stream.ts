/**
 * The connection to the control plane's snapshot stream: opens it, verifies every message, reconnects for ever.
 *
 *   idle --start--> connecting --200--> streaming --silence, error, end, gap--> waiting --backoff--> connecting
 *
 * Errors: never ends; each problem is logged once in a row and shown in status()
 */
import { Agent, request } from 'undici';
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import {
  openFleetMessage,
  type FleetDelta,
  type FleetSnapshot,
  type KeyRing,
} from '#control-plane/contract.ts';
import { EventStreamParser } from '../event-stream.ts';

/** The control plane sends a comment every 5 s; twice that and a bit is silence. */
const SILENCE_MS = 12_000;
const CONNECT_MS = 3000;
const RETRY_FIRST_MS = 250;
const RETRY_MS_MAX = 5000;
const EVENT_CHARACTERS_MAX = 512 * 1024 * 1024;

export interface FleetStreamOptions {
  readonly url: string; // of the stream
  readonly bearer: string;
  readonly keys: { current(): KeyRing | null; refresh(): Promise<unknown> };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** 'reconnect' where a message does not follow what is held. */
  readonly onMessage: (message: FleetSnapshot | FleetDelta) => 'go-on' | 'reconnect';
}

export interface StreamStatus {
  readonly state: 'connecting' | 'streaming' | 'waiting';
  readonly sinceMs: Milliseconds; // wall clock
  readonly lastHeardAtMs: Milliseconds | null; // anything, keepalives too
  readonly messages: number;
  readonly problem: string | null;
}

export class FleetStream {
  readonly #options: FleetStreamOptions;
  readonly #agent = new Agent({
    connect: { timeout: CONNECT_MS },
    headersTimeout: CONNECT_MS,
    bodyTimeout: SILENCE_MS,
    keepAliveTimeout: 1,
  });
  #state: StreamStatus['state'] = 'connecting';
  #sinceMs: Milliseconds;
  #lastHeardAtMs: Milliseconds | null = null;
  #messages = 0;
  #problem: string | null = null;
  #retryMs = RETRY_FIRST_MS;
  #stopped = false;
  #abort = new AbortController();
  #timer: Timer | null = null;

  constructor(options: FleetStreamOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.wallMs();
  }

  start(): void {
    void this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#abort.abort();
    await this.#agent.destroy();
  }

  status(): StreamStatus {
    return {
      state: this.#state,
      sinceMs: this.#sinceMs,
      lastHeardAtMs: this.#lastHeardAtMs,
      messages: this.#messages,
      problem: this.#problem,
    };
  }

  async #run(): Promise<void> {
    if (this.#stopped) return;
    this.#enter('connecting');
    this.#abort = new AbortController();
    try {
      await this.#stream();
      this.#report('the control plane ended the stream');
    } catch (thrown) {
      this.#report(messageOf(thrown));
    }
    if (this.#stopped) return;
    this.#enter('waiting');
    const { clock, random } = this.#options;
    const delayMs = this.#retryMs * (0.5 + random.next());
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    this.#timer = clock.after(delayMs, () => void this.#run());
  }

  async #stream(): Promise<void> {
    const { url, bearer, clock } = this.#options;
    const answer = await request(url, {
      dispatcher: this.#agent,
      headers: { accept: 'text/event-stream', authorization: `Bearer ${bearer}` },
      signal: this.#abort.signal,
    });
    if (answer.statusCode !== 200) {
      const words = (await answer.body.text()).slice(0, 200);
      throw new Error(`GET ${url}: ${answer.statusCode} ${words}`);
    }
    const parser = new EventStreamParser(EVENT_CHARACTERS_MAX);
    for await (const bytes of answer.body as AsyncIterable<Buffer>) {
      this.#lastHeardAtMs = clock.wallMs();
      if (this.#state !== 'streaming') this.#enter('streaming');
      const events = parser.push(bytes);
      if (events === 'too-large') throw new Error(`${url}: one event is larger than the limit`);
      for (const text of events) await this.#take(text);
    }
  }

  async #take(text: string): Promise<void> {
    const { keys, onMessage } = this.#options;
    let ring = keys.current();
    if (ring === null) {
      await keys.refresh();
      ring = keys.current();
      if (ring === null) throw new Error('no verified keys yet: snapshots cannot be checked');
    }
    let opened = await openFleetMessage(text, ring);
    if (!opened.ok && opened.failure.includes('key-unknown')) {
      await keys.refresh(); // a key that is newer than our ring
      opened = await openFleetMessage(text, keys.current() ?? ring);
    }
    if (!opened.ok) throw new Error(`a message was refused: ${opened.failure}`);
    this.#messages++;
    if (onMessage(opened.value) === 'reconnect') throw new Error('a message does not follow');
    if (this.#problem !== null) {
      this.#options.log.info({ event: 'fleet-stream' }, 'snapshots come in again');
    }
    this.#problem = null;
    this.#retryMs = RETRY_FIRST_MS;
  }

  #enter(state: StreamStatus['state']): void {
    this.#state = state;
    this.#sinceMs = this.#options.clock.wallMs();
  }

  #report(problem: string): void {
    if (this.#stopped || problem === this.#problem) return;
    this.#problem = problem;
    this.#options.log.warn(
      { event: 'fleet-stream', problem },
      'snapshot stream is down; answering from the last good snapshot',
    );
  }
}
