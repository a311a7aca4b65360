/**
 * How long a box with 400,000 files needs to serve again after kill -9.
 *
 * npm run bench -- restart --json
 *   --files N --volumes N --rounds N   400,000 files on 4 volumes, 3 restarts
 *   --cold                             the machine's caches are dropped before each start, as after a reboot (as root)
 *
 * Everything is real but the bytes of files that nobody reads: control plane, enrolled appliance, configuration, a signed
 * manifest that pins 95 % of the files, sparse files, catalogues. Each round kills the box while it serves.
 *
 * Units: firstByteMs  from the start of the process to a viewer's first byte, whose answer was compared with the origin's
 *        healthyMs    to the first heartbeat that says "healthy": catalogue and manifest in memory, control plane connected
 *        rssBytes     resident after that; rssPeakBytes: the most it ever had
 *        bytesPerFile what all files together add to the resident memory of a box without them
 *        answers under way while it loads: a viewer asks for readable files one after another
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { importSigningKey, type JWK } from '#base/jws.ts';
import { messageOf } from '#base/outcome.ts';
import { KIB, MIB } from '#base/units.ts';
import { contentPath } from '#upstream/contract.ts';
import { CompleteCdn, type BenchBox, type BenchFile } from './load/complete-box.ts';
import { machineFacts, numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';
import { fillDisks, type FullDisks } from './restart/full-disks.ts';

const TIB = 1024 ** 4;
const CAPACITY_BYTES = 64 * TIB;
const READABLE = 256;
const ASK_AGAIN_MS = 2; // while nothing listens yet
const HEALTHY_MS_MAX = 300_000;
const RANGE_BYTES = 64 * KIB;
const ZEROS = Buffer.alloc(RANGE_BYTES);
const APPLIANCE_ID = 'box-restart';

interface Round {
  readonly firstByteMs: number;
  readonly healthyMs: number;
  readonly rssBytes: number;
  readonly rssPeakBytes: number;
  readonly answersWhileLoading: number;
  readonly unanswered: number;
  readonly answerMsMax: number;
  readonly answerMsP99: number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  const files = options.smoke ? 2000 : (numberArgument(options.args, '--files') ?? 400_000);
  const volumes = numberArgument(options.args, '--volumes') ?? 4;
  const rounds = options.smoke ? 1 : (numberArgument(options.args, '--rounds') ?? 3);
  const address = options.smoke ? '127.78.0.3' : '127.78.0.4';
  const isCold = options.args.includes('--cold');
  await using cdn = await CompleteCdn.start('files=1x4MiB;seed=3', address, 17_600);
  const paths = Array.from({ length: volumes }, (_, at) => ({
    path: path.join(cdn.directory, `volume-${at}`),
    capacityBytes: CAPACITY_BYTES,
  }));
  const box = await cdn.box({
    applianceId: APPLIANCE_ID,
    sender: 'zero-copy',
    port: 17_650,
    isPinned: false,
    reactiveShare: 0.05,
    volumes: paths,
    scrubBytesPerSecond: 0, // most files have no bytes to read back
  });
  await cdn.warm(box, cdn.files[0]);
  await untilHealthy(box);
  const emptyRssBytes = memoryOf(box.pid).rssBytes;
  await box[Symbol.asyncDispose]();
  const disks = await prepared(cdn, paths, files);
  console.error(
    `${disks.files} files of ${disks.chunks} chunks on ${volumes} volumes; a box without them has ${mib(emptyRssBytes)} resident`,
  );
  let running = await cdn.again(box); // what it makes once is not measured
  await untilHealthy(running);
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    process.kill(running.pid, 'SIGKILL');
    await running[Symbol.asyncDispose]();
    if (isCold) writeFileSync('/proc/sys/vm/drop_caches', '3');
    const one = await restart(cdn, box, disks);
    running = one.box;
    measured.push(one.round);
    console.error(lineOf(one.round));
  }
  await running[Symbol.asyncDispose]();
  const worst = (of: (round: Round) => number): number => Math.max(...measured.map(of));
  const rssBytes = worst((round) => round.rssBytes);
  return {
    restart: {
      files: disks.files + 1,
      chunks: disks.chunks,
      volumes,
      firstByteMs: worst((round) => round.firstByteMs),
      healthyMs: worst((round) => round.healthyMs),
      rssBytes,
      rssPeakBytes: worst((round) => round.rssPeakBytes),
      bytesPerFile: Math.round((rssBytes - emptyRssBytes) / disks.files),
      isCold,
      rounds: measured,
    },
    machine: machineFacts(),
  };
}

async function prepared(
  cdn: CompleteCdn,
  volumes: readonly { readonly path: string; readonly capacityBytes: number }[],
  files: number,
): Promise<FullDisks> {
  const keyFile = path.join(cdn.directory, 'keys', 'manifest.jwk');
  const disks = await fillDisks({
    volumes,
    files,
    readable: Math.min(READABLE, files),
    titleId: 'bench',
    applianceId: APPLIANCE_ID,
    clusterId: 'bench',
    key: await importSigningKey(JSON.parse(readFileSync(keyFile, 'utf8')) as JWK),
    nowMs: Date.now(),
  });
  const kept = path.join(cdn.directory, APPLIANCE_ID, 'state', 'kept', 'manifest.bin');
  writeFileSync(kept, disks.manifest, { mode: 0o600 });
  return disks;
}

/** Starts the box, and asks from then on: first for the published file, then for others while it loads. */
async function restart(
  cdn: CompleteCdn,
  box: BenchBox,
  disks: FullDisks,
): Promise<{ readonly box: BenchBox; readonly round: Round }> {
  const [published] = cdn.files;
  const startMs = performance.now();
  const starting = cdn.again(box);
  const firstByteMs = await firstByte(cdn, box.port, published, startMs);
  const running = await starting;
  const durations: number[] = [];
  let unanswered = 0;
  let isHealthy = false;
  const healthy = untilHealthy(running).then(() => {
    isHealthy = true;
    return performance.now() - startMs;
  });
  const token = published.target.slice(0, published.target.indexOf('/t/'));
  for (let at = 0; !isHealthy; at++) {
    const file = disks.readable[at % disks.readable.length];
    const askedMs = performance.now();
    const start = (at % 100) * MIB;
    const target = `${token}${contentPath('bench', file.fileId)}`;
    const answer = await cdn
      .get(box.port, target, start, start + RANGE_BYTES - 1)
      .catch((thrown: unknown) => {
        console.error(`not answered: ${messageOf(thrown)}`);
        return null;
      });
    durations.push(performance.now() - askedMs);
    if (answer === null) unanswered++;
    else if (!answer.bytes.equals(ZEROS)) throw new Error(`wrong bytes of ${file.fileId}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const healthyMs = await healthy;
  const { rssBytes, rssPeakBytes } = memoryOf(running.pid);
  const sorted = durations.sort((a, b) => a - b);
  const round = {
    firstByteMs: Math.round(firstByteMs),
    healthyMs: Math.round(healthyMs),
    rssBytes,
    rssPeakBytes,
    answersWhileLoading: sorted.length - unanswered,
    unanswered,
    answerMsMax: Math.round(sorted.at(-1) ?? 0),
    answerMsP99: Math.round(sorted[Math.floor(sorted.length * 0.99)] ?? 0),
  };
  return { box: running, round };
}

async function firstByte(
  cdn: CompleteCdn,
  port: number,
  file: BenchFile,
  startMs: number,
): Promise<number> {
  const expected = readFileSync(file.path).subarray(0, RANGE_BYTES);
  for (;;) {
    let atMs: number;
    let bytes: Buffer;
    try {
      ({ bytes } = await cdn.get(port, file.target, 0, RANGE_BYTES - 1));
      atMs = performance.now() - startMs;
    } catch (thrown) {
      if (performance.now() - startMs > HEALTHY_MS_MAX) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
      continue;
    }
    if (!bytes.equals(expected)) throw new Error('the first answer has wrong bytes');
    return atMs;
  }
}

async function untilHealthy(box: BenchBox): Promise<void> {
  const startMs = performance.now();
  for (let last: unknown = null; ;) {
    const status = (await box.statusOf().catch(() => null)) as {
      readonly heartbeat: {
        readonly state: string;
        readonly health: { readonly status: string };
      } | null;
    } | null;
    const beat = status?.heartbeat ?? null;
    last = beat?.health ?? last;
    if (beat?.health.status === 'healthy' && beat.state !== 'starting') return;
    if (performance.now() - startMs > HEALTHY_MS_MAX) {
      throw new Error(`${box.name} is not healthy in time: ${JSON.stringify(last)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function memoryOf(pid: number): { readonly rssBytes: number; readonly rssPeakBytes: number } {
  const text = readFileSync(`/proc/${pid}/status`, 'latin1');
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1]);
  return { rssBytes: kib('VmRSS') * KIB, rssPeakBytes: kib('VmHWM') * KIB };
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}

function lineOf(round: Round): string {
  return (
    `first byte ${round.firstByteMs} ms, healthy ${round.healthyMs} ms, ${mib(round.rssBytes)} resident (peak ${mib(round.rssPeakBytes)}); ` +
    `${round.answersWhileLoading} answers meanwhile, ${round.unanswered} not, p99 ${round.answerMsP99} ms, slowest ${round.answerMsMax} ms`
  );
}
