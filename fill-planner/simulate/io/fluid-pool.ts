/**
 * Runs a fluid simulation on several threads: every country's step, then the hours.
 *
 * Errors:     a scenario whose fleet cannot serve is refused before a thread starts
 * Invariants: (1) same scenario and seed, same result, whatever the number of threads
 */
import { Worker } from 'node:worker_threads';
import type { Outcome } from '#base/outcome.ts';
import {
  countriesOf,
  fluidInput,
  fluidMemory,
  fluidResult,
  STEPS,
  type Step,
} from '../fluid/fluid-run.ts';
import type { TopologySite } from '../network/topology.ts';
import type { SimulationResult } from '../result.ts';
import type { Scenario } from '../scenario.ts';
import type { FluidThreadData } from './fluid-worker.ts';

export interface FluidRunOptions {
  readonly variant: string;
  readonly threads: number;
  /** Share of the work that is done, 0 to 1. */
  readonly onProgress?: (share: number) => void;
  /** Ends the run early: what whole days every country has reached is reported, marked partial. */
  readonly signal?: AbortSignal;
}

const COUNTRY_SHARE = 0.9; // of a run's time, about; the rest are the hours

export async function runFluid(
  scenario: Scenario,
  topology: readonly TopologySite[],
  seed: number,
  options: FluidRunOptions,
): Promise<Outcome<SimulationResult, string>> {
  const input = fluidInput(scenario, topology, seed);
  if (!input.ok) return input;
  const memory = fluidMemory(input.value);
  const control = new Int32Array(memory.control);
  const stop = (): void => void Atomics.store(control, 0, 1);
  options.signal?.addEventListener('abort', stop, { once: true });
  if (options.signal?.aborted === true) stop();
  const countries = countriesOf(input.value.network);
  const data: FluidThreadData = { scenario, topology, seed, memory };
  const threads = Array.from(
    { length: Math.max(1, Math.min(options.threads, countries.length)) },
    () => new Thread(data),
  );
  try {
    let done = 0;
    for (const step of STEPS) {
      const queue = [...countries];
      await Promise.all(
        threads.map(async (thread) => {
          for (let country = queue.shift(); country !== undefined; country = queue.shift()) {
            await thread.run(step, country);
            if (step === 'countries') done++;
            options.onProgress?.((COUNTRY_SHARE * done) / countries.length);
          }
        }),
      );
    }
  } finally {
    options.signal?.removeEventListener('abort', stop);
    for (const thread of threads) await thread.end();
  }
  // A country that was stopped has rows of zeros from some day on: only days that all have are hours that mean something.
  const daysDone =
    Atomics.load(control, 0) === 1 ? wholeDays(memory.rows, input.value) : scenario.days;
  const result = fluidResult(input.value, memory, options.variant, daysDone);
  options.onProgress?.(1);
  return { ok: true, value: result };
}

function wholeDays(
  rows: SharedArrayBuffer,
  { network, scenario }: Parameters<typeof fluidMemory>[0],
): number {
  const values = new Float32Array(rows);
  const length = values.length / Math.max(1, network.units.length * scenario.days);
  let days = scenario.days;
  network.units.forEach((_, unit) => {
    let reached = 0;
    // A row that was reached says NaN or a number for its gap; one that was not is all zeros.
    while (reached < days) {
      const row = (unit * scenario.days + reached) * length;
      if (!values.subarray(row, row + length).some((value) => value !== 0)) break;
      reached++;
    }
    days = reached;
  });
  return days;
}

/** A worker that does one job at a time. */
class Thread {
  readonly #worker: Worker;

  constructor(data: FluidThreadData) {
    this.#worker = new Worker(new URL('./fluid-worker.ts', import.meta.url), { workerData: data });
  }

  run(step: Step, country: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const worker = this.#worker;
    const end = (): void => {
      worker.off('message', onDone);
      worker.off('error', onError);
    };
    const onDone = (): void => {
      end();
      resolve();
    };
    const onError = (error: Error): void => {
      end();
      reject(error);
    };
    worker.on('message', onDone);
    worker.on('error', onError);
    worker.postMessage({ step, country });
    return promise;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
