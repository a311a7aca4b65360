/**
 * How long new answers of steering still name a box that is gone, and how often they leave out one that only paused.
 *
 *   killed   kill -9: its connections are closed by its kernel
 *   silent   the link goes down: nothing comes back, nothing is closed
 *   paused   SIGSTOP for 200 ms, as a busy machine or a long collection does: a box that an answer leaves out for it was ejected falsely
 *
 * A process of its own inside the core of `links.ts`; an ExclusionSpec as JSON in the first argument, an ExclusionResult on stdout.
 * Steering is asked every 10 ms, so the figures are that much too high at most. Units: milliseconds.
 */
import { seededRandom } from '#base/random.ts';
import type { FleetShape } from '../load/linked-fleet.ts';
import { medianOf } from './figures.ts';
import { PlayerFleet, until } from './player-fleet.ts';

export interface ExclusionSpec {
  readonly shape: FleetShape;
  readonly killed: number;
  readonly silent: number;
  readonly pauses: number;
  readonly seed: number;
}

export interface ExclusionResult {
  readonly excludedMs: { readonly killed: number | null; readonly silent: number | null }; // the worst
  readonly excludedP50Ms: { readonly killed: number | null; readonly silent: number | null };
  readonly runs: { readonly killed: number; readonly silent: number };
  readonly pauses: {
    readonly count: number;
    readonly ms: number;
    readonly falseEjections: number; // pauses after which an answer left the box out
    readonly rate: number;
  };
}

const EXCLUDED_MS_MAX = 30_000;
const PAUSE_MS = 200;
const BETWEEN_MS: readonly [number, number] = [300, 900]; // looked at meanwhile

async function runExclusion(spec: ExclusionSpec): Promise<ExclusionResult> {
  await using cdn = await PlayerFleet.start(spec.shape);
  const random = seededRandom(spec.seed);
  const box = cdn.fleet.boxes[0];
  const isNamed = async (): Promise<boolean> => (await cdn.answered()).includes(box.applianceId);
  const excluded = async (fault: 'kill' | 'black-hole', runs: number): Promise<number[]> => {
    const times: number[] = [];
    for (let at = 0; at < runs; at++) {
      await pause(1000 * random.next()); // anywhere between two heartbeats and two probes
      await cdn.inject(fault, box);
      times.push(await until('the box to leave', EXCLUDED_MS_MAX, async () => !(await isNamed())));
      console.error(`${fault}, run ${at + 1}: left out after ${Math.round(times[at])} ms`);
      await cdn.mend(fault, box);
    }
    return times;
  };
  const killed = await excluded('kill', spec.killed);
  const silent = await excluded('black-hole', spec.silent);
  let falseEjections = 0;
  for (let at = 0; at < spec.pauses; at++) {
    cdn.fleet.pause(box.applianceId);
    const endsAtMs = performance.now() + PAUSE_MS;
    const [least, most] = BETWEEN_MS;
    const looksUntilMs = endsAtMs + least + random.next() * (most - least);
    let isPaused = true;
    let isLeftOut = false;
    for (let nowMs = performance.now(); nowMs < looksUntilMs; nowMs = performance.now()) {
      if (isPaused && nowMs >= endsAtMs) {
        cdn.fleet.resume(box.applianceId);
        isPaused = false;
      }
      if (!(await isNamed())) isLeftOut = true;
      await pause(Math.min(10, isPaused ? Math.max(0, endsAtMs - performance.now()) : 10));
    }
    if (isLeftOut) falseEjections++;
  }
  return {
    excludedMs: { killed: worstOf(killed), silent: worstOf(silent) },
    excludedP50Ms: { killed: middleOf(killed), silent: middleOf(silent) },
    runs: { killed: killed.length, silent: silent.length },
    pauses: {
      count: spec.pauses,
      ms: PAUSE_MS,
      falseEjections,
      rate: Number((falseEjections / Math.max(1, spec.pauses)).toFixed(4)),
    },
  };
}

function worstOf(times: readonly number[]): number | null {
  return times.length === 0 ? null : Math.round(Math.max(...times));
}

function middleOf(times: readonly number[]): number | null {
  return times.length === 0 ? null : Math.round(medianOf(times));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

if (import.meta.main) {
  const spec = JSON.parse(process.argv[2] ?? 'null') as ExclusionSpec | null;
  // What it started is ended by exit handlers, which a signal alone would not run.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130));
  }
  if (spec === null) {
    throw new Error('usage: node bench/failover/exclusion.ts SPEC (see ExclusionSpec)');
  }
  process.stdout.write(`${JSON.stringify(await runExclusion(spec))}\n`);
  process.exit(0);
}
