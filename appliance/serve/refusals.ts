/**
 * What is refused, each with its word: in the counters, in the answer, and in the operator's metrics.
 *
 * Invariants: (1) never a 503: what this box cannot do now is a 404 that players leave at once
 *             (2) at most ANSWERS_HELD_MAX refusals are held back: beyond that they leave at once
 */
import type { Clock } from '#base/clock.ts';
import type { Random } from '#base/random.ts';
import type { Admittance } from './admission-gate.ts';
import type { Answers } from './answers.ts';
import type { Counters } from './counters.ts';
import type { Denial } from './deny-list.ts';
import type { Answer } from './sender.ts';

const HELD_MS = 1000;
const ANSWERS_HELD_MAX = 16_384; // a timer and a connection each

export class Refusals {
  readonly #answers: Answers;
  readonly #counters: Counters;
  readonly #clock: Clock;
  readonly #random: Random;
  #held = 0;

  constructor(answers: Answers, counters: Counters, clock: Clock, random: Random) {
    this.#answers = answers;
    this.#counters = counters;
    this.#clock = clock;
    this.#random = random;
  }

  denied(word: string, detail: string): Answer {
    this.#counters.refuse(word);
    return this.#answers.denied(word, detail);
  }

  forbidden(denial: Denial): Answer {
    return this.denied(denial, 'this may not be served any more');
  }

  unavailable(word: string, error: string, detail: string): Answer {
    this.#counters.refuse(word);
    return this.#answers.unavailable(error, detail);
  }

  sentAway(word: Exclude<Admittance, 'admitted' | 'kept'>): Answer {
    return this.unavailable(word, 'connection_limit_reached', `${word}: go to the next box`);
  }

  peerBudgetSpent(): Answer {
    this.#counters.refuse('peer-budget');
    return this.#answers.peerBudgetSpent();
  }

  /**
   * A network that floods the box with forged tokens gets its refusals late: as fast as they can be made, they would be what every
   * running stream waits behind. Spread, so that those who wait do not come back in one moment.
   */
  held(answer: Answer): Answer | Promise<Answer> {
    if (this.#held >= ANSWERS_HELD_MAX) return answer;
    this.#held++;
    return new Promise((resolve) => {
      this.#clock.after(HELD_MS * (0.5 + this.#random.next()), () => {
        this.#held--;
        resolve(answer);
      });
    });
  }
}
