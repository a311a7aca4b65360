/**
 * The box's one connection to the control plane: a heartbeat each second, holdings when they change, answers back.
 *
 *   closed --token, connect--> open --error | close | no answer--> closed, after a jittered pause
 *
 * Errors: none to the caller; the connection comes back by itself, and nothing that serves waits for it
 */
import { WebSocket } from 'undici';
import {
  HEARTBEAT_PERIOD_MS,
  type ApplianceFrame,
  type Heartbeat,
  type HoldingsDelta,
  type HoldingsFull,
} from '#appliance/contract.ts';
import type { Clock, Timer } from '#base/clock.ts';
import type { Logger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import type { Random } from '#base/random.ts';
import {
  checkControlPlaneFrame,
  DENIALS_BYTES_MAX,
  type HeartbeatAnswer,
  type PushedDocument,
} from '#control-plane/contract.ts';
import type { Holdings } from '../store/holdings.ts';
import type { ControlPlaneClient } from './control-plane-client.ts';

const DELTA_CHANGES_MAX = 1000; // the contract's maxItems
const DELTAS_PER_BEAT_MAX = 10;
/** Others wait for a file until they are told who has it: sooner than with the next heartbeat. */
const HOLDINGS_PERIOD_MS = 250;
const RETRY_FIRST_MS = 250;
const RETRY_MS_MAX = 10_000;
const ANSWER_MS_MAX = 5000; // a connection that answers nothing for this long is closed
const FRAME_BYTES_MAX = DENIALS_BYTES_MAX + 1024;

export interface HeartbeatConnectionDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly client: ControlPlaneClient;
  readonly holdings: Holdings;
  readonly makeHeartbeat: (sequence: number) => Heartbeat;
  readonly onAnswer: (answer: HeartbeatAnswer) => void;
  readonly onPushed: (pushed: PushedDocument) => void;
  readonly onConnected: () => void;
}

export class HeartbeatConnection {
  readonly #deps: HeartbeatConnectionDeps;
  #socket: WebSocket | null = null;
  #isOpen = false;
  #isStopped = false;
  #sequence = 0;
  #retryMs = RETRY_FIRST_MS;
  #retryTimer: Timer | null = null;
  #beatTimer: Timer | null = null;
  #holdingsTimer: Timer | null = null;
  #lastAnswerMs = 0;
  /** Holdings version that the other side follows us at; null: a digest will tell whether it does. */
  #toldVersion: number | null = null;
  #lastHeartbeat: Heartbeat | null = null;

  constructor(deps: HeartbeatConnectionDeps) {
    this.#deps = deps;
  }

  get isConnected(): boolean {
    return this.#isOpen;
  }

  get lastHeartbeat(): Heartbeat | null {
    return this.#lastHeartbeat;
  }

  /** Makes a heartbeat each second, also without a connection: status and metrics read it. */
  start(): void {
    const { clock } = this.#deps;
    this.#beatTimer = clock.every(HEARTBEAT_PERIOD_MS, () => this.#beat());
    this.#holdingsTimer = clock.every(HOLDINGS_PERIOD_MS, () => {
      if (this.#isOpen) this.#sendDeltas();
    });
    this.#beat();
  }

  connect(): void {
    void this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    this.#beatTimer?.cancel();
    this.#holdingsTimer?.cancel();
    this.#retryTimer?.cancel();
    this.#socket?.close();
  }

  async #connect(): Promise<void> {
    const { client, log } = this.#deps;
    const token = await client.accessToken();
    if (this.#isStopped) return;
    if (!token.ok) {
      log.debug({ event: 'control-plane-away', why: token.failure.detail }, 'no access token');
      this.#later();
      return;
    }
    const url = `${client.url.replace(/^http/, 'ws')}/v1/heartbeat`;
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${token.value}` } });
    this.#socket = socket;
    socket.addEventListener('open', () => {
      this.#isOpen = true;
      this.#retryMs = RETRY_FIRST_MS;
      this.#lastAnswerMs = this.#deps.clock.monotonicMs();
      this.#toldVersion = null;
      log.info({ event: 'control-plane-connected' }, 'connected to the control plane');
      this.#deps.onConnected();
      this.#beat();
    });
    socket.addEventListener('message', (event) => this.#message(event.data));
    socket.addEventListener('close', (event) => this.#closed(socket, event.code, event.reason));
    socket.addEventListener('error', () => {}); // a close event follows and says the same
  }

  #closed(socket: WebSocket, code: number, reason: string): void {
    if (this.#socket !== socket) return;
    if (this.#isOpen) {
      this.#deps.log.warn(
        { event: 'control-plane-lost', code, reason },
        'the control plane is not connected',
      );
    } else {
      this.#deps.client.forgetToken(); // it may be why the connection was refused
    }
    this.#isOpen = false;
    this.#socket = null;
    this.#later();
  }

  /** Full jitter: a restarted control plane is not met by its whole fleet at once. */
  #later(): void {
    if (this.#isStopped) return;
    const delayMs = RETRY_FIRST_MS / 2 + this.#deps.random.next() * this.#retryMs;
    this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    this.#retryTimer = this.#deps.clock.after(delayMs, () => void this.#connect());
  }

  #beat(): void {
    this.#lastHeartbeat = this.#deps.makeHeartbeat(++this.#sequence);
    if (!this.#isOpen || this.#socket === null) return;
    if (this.#deps.clock.monotonicMs() - this.#lastAnswerMs > ANSWER_MS_MAX) {
      this.#deps.log.warn(
        { event: 'control-plane-silent' },
        'no answer from the control plane: reconnecting',
      );
      const socket = this.#socket;
      socket.close();
      this.#closed(socket, 1006, 'no answer');
      return;
    }
    this.#sendDeltas();
    this.#send(this.#lastHeartbeat);
  }

  #sendDeltas(): void {
    const { holdings } = this.#deps;
    // Before the first digest was compared nothing is known of what the other side has.
    if (this.#toldVersion === null) return;
    for (let frames = 0; frames < DELTAS_PER_BEAT_MAX; frames++) {
      if (this.#toldVersion === holdings.version) return;
      const change = holdings.changesSince(this.#toldVersion, DELTA_CHANGES_MAX);
      if (change === null) {
        this.#sendFull();
        return;
      }
      const frame: HoldingsDelta = { type: 'holdings-delta', ...change };
      this.#send(frame);
      this.#toldVersion = change.toVersion;
    }
  }

  #sendFull(): void {
    const { holdings } = this.#deps;
    const frame: HoldingsFull = {
      type: 'holdings-full',
      version: holdings.version,
      files: [...holdings.files()],
    };
    this.#send(frame);
    this.#toldVersion = holdings.version;
  }

  /** A frame beside the heartbeats; lost where nothing is connected: `onConnected` says it again. */
  send(frame: ApplianceFrame): void {
    if (this.#isOpen) this.#send(frame);
  }

  #send(frame: ApplianceFrame): void {
    try {
      this.#socket?.send(JSON.stringify(frame));
    } catch (thrown) {
      this.#deps.log.debug({ why: messageOf(thrown) }, 'a frame was not sent'); // a close event follows
    }
  }

  #message(data: unknown): void {
    if (typeof data !== 'string' || data.length > FRAME_BYTES_MAX) return;
    let parsed: unknown;
    try {
      parsed = JSON.parse(data);
    } catch {
      return;
    }
    const frame = checkControlPlaneFrame(parsed);
    if (!frame.ok) {
      this.#deps.log.warn(
        { event: 'answer-malformed', problems: frame.failure.slice(0, 3) },
        'a malformed answer',
      );
      return;
    }
    if (frame.value.type !== 'answer') return this.#deps.onPushed(frame.value);
    const answer = frame.value;
    this.#lastAnswerMs = this.#deps.clock.monotonicMs();
    if (answer.resyncHoldings) this.#sendFull();
    else if (answer.sequence === this.#lastHeartbeat?.sequence) {
      this.#toldVersion ??= this.#lastHeartbeat.holdings.version;
    }
    this.#deps.onAnswer(answer);
  }
}
