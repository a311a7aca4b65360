/**
 * The kit's loader alone, in Node, against real boxes behind links of their own: how long until the next good byte after a fault?
 *
 * A process of its own inside the core of `links.ts`; a LoaderSpec as JSON in the first argument, a list of LoaderRow on stdout.
 * Several viewers at a time meet each fault: half of them in the middle of a fragment, half as they start (nothing buffered).
 *
 *   viewers ask site1-1 --fault--> site2-1 or site3-1 goes on; the box is mended, the next round begins
 */
import { spawnSync } from 'node:child_process';
import { seededRandom, type Random } from '#base/random.ts';
import { MIB } from '#base/units.ts';
import { BoxMemory, fetchRange } from '#steering/steering.ts';
import { CONTENT_PORT, LinkedFleet, type FleetBox, type FleetShape } from '../load/linked-fleet.ts';
import { medianOf, quantileOf } from './figures.ts';

export type Fault = 'kill' | 'black-hole' | 'drain-404';

export interface LoaderSpec {
  readonly shape: FleetShape;
  readonly runs: number; // of each fault
  readonly faults: readonly Fault[];
  readonly viewers: number; // at a time
  readonly seed: number;
}

export interface LoaderRow {
  readonly player: 'loader';
  readonly kit: true;
  readonly fault: Fault;
  readonly runs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly rebufferSeconds: number; // mean, of a viewer that holds BUFFER_SECONDS when the fault comes
  readonly failed: number; // ranges that no box gave
  readonly wrongBytes: number;
  readonly extraRequestShare: number; // races over requests
  readonly midFragmentP99Ms: number | null;
  readonly startP99Ms: number | null;
}

interface Outcome {
  readonly kind: 'mid' | 'start';
  readonly gapMs: number;
}

const BUFFER_SECONDS = 1;
const FRAGMENT_BYTES = 2 * MIB; // 2 s of 8 Mbit/s
const FAULT_AFTER_MS: readonly [number, number] = [80, 600];
const START_AFTER_MS_MAX = 50;
const BITRATE = 3_000_000;
/** Of the box that fails: viewers are in the middle of a fragment for a while. The others' links are not the bottleneck. */
const VICTIM_BPS = 100e6;
const READY_MS_MAX = 60_000;

const LINK_BPS = 1e9;

export function loaderShape(): FleetShape {
  return {
    sites: 3,
    boxesPerSite: 1,
    originBps: LINK_BPS,
    siteBps: LINK_BPS,
    boxBytes: 256 * MIB,
    servingBps: 2e9,
    concurrency: 4,
  };
}

class LoaderBench {
  readonly #spec: LoaderSpec;
  readonly #fleet: LinkedFleet;
  readonly #victim: FleetBox;
  readonly #random: Random;
  readonly #urls: readonly { readonly id: string; readonly url: string }[];
  readonly #etag: string;
  readonly #size: number;
  #requests = 0;
  #races = 0;
  #failed = 0;
  #wrong = 0;

  constructor(spec: LoaderSpec, fleet: LinkedFleet, target: string, sizeBytes: number) {
    this.#spec = spec;
    this.#fleet = fleet;
    this.#victim = fleet.boxes[0];
    this.#random = seededRandom(spec.seed);
    this.#size = sizeBytes;
    this.#etag = `"${target.split('/').at(-1) ?? ''}"`;
    this.#urls = fleet.boxes.map(({ address, applianceId }) => ({
      id: applianceId,
      url: `http://${address}:${CONTENT_PORT}${target}`,
    }));
  }

  async row(fault: Fault): Promise<LoaderRow> {
    const outcomes: Outcome[] = [];
    this.#requests = this.#races = this.#failed = this.#wrong = 0;
    for (let round = 1; outcomes.length < this.#spec.runs; round++) {
      outcomes.push(...(await this.#round(fault)));
      await this.#mend(fault);
      console.error(
        `${fault}: round ${round}, ${outcomes.length} runs, worst ${Math.round(Math.max(...outcomes.map(({ gapMs }) => gapMs)))} ms`,
      );
    }
    const kept = outcomes.slice(0, this.#spec.runs);
    const gaps = kept.map(({ gapMs }) => gapMs);
    const of = (kind: Outcome['kind']): number | null => {
      const some = kept.flatMap((outcome) => (outcome.kind === kind ? [outcome.gapMs] : []));
      return some.length === 0 ? null : Math.round(quantileOf(some, 0.99));
    };
    const rebuffers = gaps.map((gap) => Math.max(0, gap / 1000 - BUFFER_SECONDS));
    return {
      player: 'loader',
      kit: true,
      fault,
      runs: kept.length,
      p50Ms: Math.round(medianOf(gaps)),
      p99Ms: Math.round(quantileOf(gaps, 0.99)),
      worstMs: Math.round(Math.max(...gaps)),
      rebufferSeconds: Number(
        (rebuffers.reduce((sum, one) => sum + one, 0) / gaps.length).toFixed(3),
      ),
      failed: this.#failed,
      wrongBytes: this.#wrong,
      extraRequestShare: Number((this.#races / Math.max(1, this.#requests)).toFixed(4)),
      midFragmentP99Ms: of('mid'),
      startP99Ms: of('start'),
    };
  }

  /** One fault, met by all viewers. A drain cuts no body that is under way: only starts meet it. */
  async #round(fault: Fault): Promise<readonly Outcome[]> {
    const half = fault === 'drain-404' ? 0 : Math.ceil(this.#spec.viewers / 2);
    const state = { faultAtMs: Infinity };
    const mids = Array.from({ length: half }, () => this.#mid(state));
    const [least, most] = FAULT_AFTER_MS;
    await pause(least + this.#random.next() * (most - least));
    // A drain is asked for by a process of its own, which takes a while: what it refuses counts from when it is on.
    if (fault === 'drain-404') await this.#inject(fault);
    state.faultAtMs = performance.now();
    if (fault !== 'drain-404') await this.#inject(fault);
    const starts = Array.from({ length: this.#spec.viewers - half }, () => this.#start());
    const all = await Promise.all([...mids, ...starts]);
    return all.filter((outcome) => outcome !== null);
  }

  async #inject(fault: Fault): Promise<void> {
    if (fault === 'kill') this.#fleet.kill(this.#victim.applianceId);
    else if (fault === 'black-hole') await this.#fleet.link(this.#victim, 'down');
    else await this.#fleet.act(this.#victim, 'drain?ms=0');
  }

  async #mend(fault: Fault): Promise<void> {
    if (fault === 'kill') await this.#fleet.restart(this.#victim.applianceId);
    else if (fault === 'black-hole') await this.#fleet.link(this.#victim, 'up');
    else await this.#fleet.act(this.#victim, 'undrain');
    const deadlineMs = performance.now() + READY_MS_MAX;
    for (let isBack = false; !isBack;) {
      if (performance.now() > deadlineMs) throw new Error('the box did not come back');
      isBack = await fetch(this.#urls[0].url, {
        headers: { range: 'bytes=0-99' },
        signal: AbortSignal.timeout(500),
      }).then(
        async (answer) => (await answer.arrayBuffer()).byteLength === 100,
        () => false,
      );
      if (!isBack) await pause(50);
    }
  }

  /**
   * In the middle of a fragment: the longest wait for a byte that ends after the fault. (What the dead box's kernel still
   * sends is good.) Null: finished before.
   */
  async #mid(state: { readonly faultAtMs: number }): Promise<Outcome | null> {
    let lastMs = performance.now();
    let longestMs = 0;
    let hasSwitched = false;
    const isOver = await this.#fetch(
      () => {
        const nowMs = performance.now();
        if (nowMs >= state.faultAtMs) longestMs = Math.max(longestMs, nowMs - lastMs);
        lastMs = nowMs;
      },
      () => (hasSwitched ||= performance.now() >= state.faultAtMs),
    );
    return isOver && hasSwitched ? { kind: 'mid', gapMs: longestMs } : null;
  }

  /** Nothing buffered: from the question to the first byte. */
  async #start(): Promise<Outcome | null> {
    await pause(this.#random.next() * START_AFTER_MS_MAX);
    const askedMs = performance.now();
    let firstMs = Infinity;
    const isOver = await this.#fetch(() => (firstMs = Math.min(firstMs, performance.now())));
    return isOver ? { kind: 'start', gapMs: firstMs - askedMs } : null;
  }

  async #fetch(onBytes: () => void, onSwitch: () => void = () => {}): Promise<boolean> {
    const memory = new BoxMemory();
    const start = Math.floor((this.#random.next() * (this.#size - FRAGMENT_BYTES)) / 4096) * 4096;
    try {
      const { bytes } = await fetchRange({
        sources: [...this.#urls],
        etag: this.#etag,
        start,
        endInclusive: start + FRAGMENT_BYTES - 1,
        memory,
        bpsMin: BITRATE,
        onBytes,
        onSwitch,
      });
      if (!(await this.#isRight(bytes, start))) this.#wrong++;
      return true;
    } catch {
      this.#failed++;
      return false;
    } finally {
      this.#requests += memory.requests;
      this.#races += memory.races;
    }
  }

  /** Against the origin's copy on disk. */
  async #isRight(bytes: Uint8Array, start: number): Promise<boolean> {
    const copy = await this.#fleet.originBytes(this.#etag.slice(1, -1), start, bytes.length);
    return copy.equals(bytes);
  }
}

function slowDown({ place }: FleetBox): void {
  const rate = ['rate', `${VICTIM_BPS}bit`, 'burst', '256kb', 'latency', '200ms'];
  const argv = ['-n', place.name ?? '', 'qdisc', 'change', 'dev', 'wan0', 'root', 'tbf', ...rate];
  const { status, stderr } = spawnSync('tc', argv, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`tc ${argv.join(' ')} failed: ${stderr}`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

export async function untilFilled(fleet: LinkedFleet, files: number): Promise<void> {
  const deadlineMs = performance.now() + READY_MS_MAX;
  for (;;) {
    const beats = await fleet.heartbeats();
    if (beats.every((beat) => beat !== null && beat.holdings.files >= files)) return;
    if (performance.now() > deadlineMs) throw new Error('the boxes did not fill in time');
    await pause(200);
  }
}

export async function runLoader(spec: LoaderSpec): Promise<readonly LoaderRow[]> {
  await using fleet = await LinkedFleet.start(spec.shape);
  fleet.publish('film', 'files=1x32MiB;seed=5');
  await fleet.planEverything();
  await untilFilled(fleet, 1);
  slowDown(fleet.boxes[0]);
  const [{ sizeBytes, target }] = await fleet.targets('film');
  const bench = new LoaderBench(spec, fleet, target, sizeBytes);
  const rows: LoaderRow[] = [];
  for (const fault of spec.faults) rows.push(await bench.row(fault));
  return rows;
}

if (import.meta.main) {
  const spec = JSON.parse(process.argv[2] ?? 'null') as LoaderSpec | null;
  // What it started is ended by exit handlers, which a signal alone would not run.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(130));
  }
  if (spec === null) throw new Error('usage: node bench/failover/loader.ts SPEC (see LoaderSpec)');
  process.stdout.write(`${JSON.stringify(await runLoader(spec))}\n`);
  process.exit(0); // connections to boxes that are gone would keep it
}
