/**
 * One serving thread against several, beside nginx with one worker and with as many: all on all cores, the load shares them.
 *
 * Units: throughput in bytes per second; scale: several over one, paired; ratio: ours over nginx's with as many
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { seededRandom } from '#base/random.ts';
import { KIB } from '#base/units.ts';
import { startNginx } from '../peers/nginx.ts';
import type { BenchFile, CompleteCdn } from '../load/complete-box.ts';
import type { LoadSpec } from '../load/generator.ts';
import { measureShared, type RunningServer, type Shared } from '../load/measure.ts';
import { machineLoopback } from '../load/namespace.ts';
import { medianOf, ratioOf, type Ratio } from '../load/ratio.ts';
import type { Case, SpecOf } from '../serve.ts';

const BOX_PORT = 17_840;
const NGINX_PORT = 17_895;
const GENERATORS = 2;
const WARM_RUNS = 3;
const SEED = 20_261_130;

export interface ListenersPlan {
  readonly pairs: number;
  readonly seconds: number;
  readonly cases: readonly Case[];
  readonly listeners: number;
  readonly specOf: SpecOf;
}

export interface ListenersRow extends Case {
  readonly listeners: number;
  readonly oneBytesPerSecond: number;
  readonly manyBytesPerSecond: number;
  readonly scale: Ratio;
  readonly nginxScale: Ratio;
  readonly throughputRatio: Ratio;
  readonly eff: Ratio;
  readonly p99Ratio: number;
}

interface Contestant {
  readonly server: RunningServer;
  readonly port: number;
  readonly target: string;
}

export async function compareListeners(
  cdn: CompleteCdn,
  plan: ListenersPlan,
): Promise<readonly ListenersRow[]> {
  const file = cdn.files[0];
  await using stack = new AsyncDisposableStack();
  const ours = async (listeners: number): Promise<Contestant> => {
    const box = stack.use(
      await cdn.box({
        applianceId: `box-${listeners}`,
        sender: 'zero-copy',
        port: BOX_PORT + 3 * listeners,
        isPinned: false,
        listeners,
      }),
    );
    await cdn.warm(box, file);
    return { server: box, port: box.port, target: file.target };
  };
  const theirs = async (workers: number): Promise<Contestant> => {
    const directory = path.join(cdn.directory, `nginx-${workers}`);
    mkdirSync(directory);
    const port = NGINX_PORT + workers;
    const { address, originFiles: root } = cdn;
    const server = stack.use(
      await startNginx({ directory, root, address, port, workers }, machineLoopback()),
    );
    return { server, port, target: file.originPath };
  };
  const [one, many] = [await ours(1), await ours(plan.listeners)];
  const [nginxOne, nginxMany] = [await theirs(1), await theirs(plan.listeners)];
  const contestants = [one, many, nginxOne, nginxMany];
  for (const contestant of [one, many]) {
    const small = plan.specOf(cdn.address, contestant.port, contestant.target, file, SMALL, 2000);
    for (let run = 0; run < WARM_RUNS; run++) await runOnce(small, contestant);
  }
  const rows: ListenersRow[] = [];
  for (const wanted of plan.cases) {
    const runs = await runAll(cdn, plan, wanted, file, contestants);
    const row = rowOf(wanted, plan.listeners, runs);
    rows.push(row);
    console.error(lineOf(row));
  }
  return rows;
}

const SMALL: Case = { bytes: 64 * KIB, connections: 32 };

/** Of each contestant, one run per pair; who begins changes from pair to pair. */
async function runAll(
  cdn: CompleteCdn,
  plan: ListenersPlan,
  wanted: Case,
  file: BenchFile,
  contestants: readonly Contestant[],
): Promise<readonly (readonly Shared[])[]> {
  const runs: Shared[][] = contestants.map(() => []);
  for (let pair = 0; pair < plan.pairs; pair++) {
    for (let turn = 0; turn < contestants.length; turn++) {
      const at = (pair + turn) % contestants.length;
      const { port, target } = contestants[at];
      const spec = plan.specOf(cdn.address, port, target, file, wanted, plan.seconds * 1000);
      runs[at].push(await runOnce({ ...spec, seed: SEED + pair }, contestants[at]));
    }
  }
  return runs;
}

function runOnce(spec: LoadSpec, { server }: Contestant): Promise<Shared> {
  return measureShared(spec, server.pid, machineLoopback(), GENERATORS);
}

function rowOf(
  wanted: Case,
  listeners: number,
  [one, many, nginxOne, nginxMany]: readonly (readonly Shared[])[],
): ListenersRow {
  const random = seededRandom(SEED);
  const ratio = (
    of: (run: Shared) => number,
    above: readonly Shared[],
    below: readonly Shared[],
  ): Ratio =>
    ratioOf(
      above.map((run, at) => of(run) / of(below[at])),
      random,
    );
  const rate = (run: Shared): number => run.bytesPerSecond;
  return {
    ...wanted,
    listeners,
    oneBytesPerSecond: Math.round(medianOf(one.map(rate))),
    manyBytesPerSecond: Math.round(medianOf(many.map(rate))),
    scale: ratio(rate, many, one),
    nginxScale: ratio(rate, nginxMany, nginxOne),
    throughputRatio: ratio(rate, many, nginxMany),
    eff: ratio((run) => run.cpuSecondsPerGb, nginxMany, many),
    p99Ratio: medianOf(many.map((run, at) => run.p99Ms / nginxMany[at].p99Ms)),
  };
}

function lineOf(row: ListenersRow): string {
  const text = ({ median, low, high }: Ratio): string =>
    `${median.toFixed(3)} [${low.toFixed(3)}, ${high.toFixed(3)}]`;
  const gigabytes = (bytes: number): string => (bytes / 1e9).toFixed(2);
  return (
    `${row.bytes / KIB} KiB x ${row.connections}: ${gigabytes(row.oneBytesPerSecond)} GB/s with 1 thread, ` +
    `${gigabytes(row.manyBytesPerSecond)} with ${row.listeners}: scale ${text(row.scale)}, nginx's ${text(row.nginxScale)}; ` +
    `throughput ${text(row.throughputRatio)} of nginx's, eff ${text(row.eff)}, p99 ${row.p99Ratio.toFixed(2)}`
  );
}
