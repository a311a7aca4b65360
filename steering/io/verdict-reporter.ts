/**
 * Tells the control plane every second that this node lives and what it makes of the boxes in doubt; at once where it has got worse.
 *
 * Invariants: (1) one call at a time, each with a deadline; what was not delivered is told with the next one, as it is then
 */
import type { Clock, Milliseconds, Timer } from '#base/clock.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import type { Logger } from '#base/log.ts';
import type { SteeringReport } from '#control-plane/contract.ts';

const PERIOD_MS = 1000;
const DEADLINE_MS = 2000;

export interface VerdictReporterOptions {
  readonly url: string;
  readonly bearer: string;
  readonly nodeId: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly verdicts: (nowMs: Milliseconds) => SteeringReport['verdicts'];
}

export class VerdictReporter {
  readonly #options: VerdictReporterOptions;
  #timer: Timer | null = null;
  #isCalling = false;
  #isNews = false;
  #isStopped = false;
  #problem: string | null = null;

  constructor(options: VerdictReporterOptions) {
    this.#options = options;
  }

  get problem(): string | null {
    return this.#problem;
  }

  start(): void {
    this.#timer = this.#options.clock.every(PERIOD_MS, () => void this.#tell());
    void this.#tell();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  /** Something got worse: not only with the next second. */
  hurry(): void {
    if (this.#isCalling) this.#isNews = true;
    else void this.#tell();
  }

  async #tell(): Promise<void> {
    if (this.#isCalling || this.#isStopped) return;
    this.#isCalling = true;
    this.#isNews = false;
    const { url, bearer, nodeId, clock, log, verdicts } = this.#options;
    const body: SteeringReport = { nodeId, verdicts: verdicts(clock.wallMs()) };
    const answer = await callJsonOk({ method: 'POST', url, bearer, body, deadlineMs: DEADLINE_MS });
    this.#isCalling = false;
    if (this.#isStopped) return;
    const problem = answer.ok ? null : answer.failure.detail;
    if (problem !== null && this.#problem === null) {
      log.warn(
        { event: 'verdicts', problem },
        'the other steering nodes do not hear of our probes',
      );
    }
    this.#problem = problem;
    if (this.#isNews && answer.ok) void this.#tell();
  }
}
