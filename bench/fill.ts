/**
 * A release reaches every box of a fleet over links of a set rate: what crosses the origin's link, how long it takes, what viewers notice.
 *
 * npm run bench -- fill --json             2 sites x 3 boxes, 384 MiB, each link 40 Mbit/s: about 3 minutes; as root (namespaces, tc)
 *   --mib N --files N --mbps N --sites N --boxes N --concurrency N
 *
 * Units: originEgressRatio = bytes that the origin gave for fill, over the release's bytes (one fill root);
 *        timeRatio = from the plan's acceptance until the last box says that it holds everything, over release bytes / the slowest link's rate;
 *        bytesVerified = bytes of files on the boxes' disks that were read back here and are the origin's;
 *        linkUse = per link and way: the share of its rate that was carried meanwhile, and seconds in which it was less than half;
 *        serveP99* = milliseconds of 256 KiB ranges from one box that fills, of a title that it held before.
 */
import { MIB } from '#base/units.ts';
import { sleep, systemClock } from '#base/clock.ts';
import { machineFacts, numberArgument } from './load/facts.ts';
import { LinkMeter } from './load/link-meter.ts';
import { openLinks } from './load/links.ts';
import { CONTENT_PORT, LinkedFleet, linksOf, type FleetShape } from './load/linked-fleet.ts';
import { measure, type Measured } from './load/measure.ts';
import { isInNamespace, runAgainInside, whyNoNamespace } from './load/namespace.ts';
import type { BenchOptions } from './main.ts';

const POLL_MS = 250;
const HELD_MIB = 64; // what viewers watch meanwhile
const LOAD = { connections: 8, rangeBytes: 256 * 1024, paceMs: 100, warmupMs: 1000 };
const BEFORE_MS = 12_000;
const DURING_SHARE = 0.6; // of the time that the release takes at best
const TIME_FACTOR_MAX = 6;

interface Plan {
  readonly shape: FleetShape;
  readonly releaseMib: number;
  readonly files: number;
}

export async function run(options: BenchOptions): Promise<unknown> {
  const plan = planOf(options);
  if (!isInNamespace()) {
    const missing = whyNoNamespace();
    if (missing !== null) {
      if (!options.smoke) throw new Error(missing);
      return { fill: { skipped: missing } };
    }
    const status = await runAgainInside(() => openLinks(linksOf(plan.shape)));
    process.exit(status);
  }
  return fillOnce(plan);
}

function planOf(options: BenchOptions): Plan {
  const number = (name: string, standard: number, smoke = standard): number =>
    numberArgument(options.args, name) ?? (options.smoke ? smoke : standard);
  const bps = number('--mbps', 40, 200) * 1e6;
  const releaseMib = number('--mib', 384, 16);
  return {
    releaseMib,
    files: number('--files', 192, 8),
    shape: {
      sites: number('--sites', 2),
      boxesPerSite: number('--boxes', 3, 1),
      originBps: bps,
      siteBps: bps,
      boxBytes: 2 * (releaseMib + HELD_MIB) * MIB + 256 * MIB,
      servingBps: 2e9,
      concurrency: number('--concurrency', 4),
    },
  };
}

async function fillOnce({ shape, releaseMib, files }: Plan): Promise<unknown> {
  await using fleet = await LinkedFleet.start(shape);
  const releaseBytes = releaseMib * MIB;
  const perFile = Math.floor(releaseBytes / files);
  const idealMs = ((perFile * files * 8) / Math.min(shape.originBps, shape.siteBps)) * 1000;
  fleet.publish('held', `files=4x${HELD_MIB / 4}MiB;seed=3`);
  await fleet.planEverything();
  await untilFilled(fleet, 4, 120_000);
  say('the boxes hold what viewers watch');
  const load = await loadOf(fleet);
  const before = await load(BEFORE_MS);
  fleet.publish('release', `files=${files}x${perFile};seed=11`);
  const originBefore = fleet.originStatus();
  say('the release is published');
  await fleet.planEverything();
  const startMs = performance.now();
  using meter = new LinkMeter(linksOf(shape), say);
  const [tookMs, during] = await Promise.all([
    untilFilled(fleet, 4 + files, TIME_FACTOR_MAX * idealMs + 30_000).then(
      () => performance.now() - startMs,
    ),
    load(Math.max(3000, idealMs * DURING_SHARE)),
  ]);
  const use = meter.use();
  const originAfter = fleet.originStatus();
  say(`filled in ${(tookMs / 1000).toFixed(1)} s, at best ${(idealMs / 1000).toFixed(1)} s`);
  const verified = await fleet.verifyAll();
  const kinds = { peer: 0, tier: 0, origin: 0 };
  for (const beat of await fleet.heartbeats()) {
    for (const kind of ['peer', 'tier', 'origin'] as const) {
      kinds[kind] += beat?.counters.fillBytes[kind] ?? 0;
    }
  }
  const originBytes =
    originAfter.fillBytes +
    originAfter.serveBytes -
    originBefore.fillBytes -
    originBefore.serveBytes;
  return {
    fill: {
      originEgressRatio: rounded(originBytes / (perFile * files)),
      timeRatio: rounded(tookMs / idealMs),
      bytesVerified: verified.bytes,
      serveP99Before: rounded(before.load.latencyMs.p99),
      serveP99During: rounded(during.load.latencyMs.p99),
    },
    goals: { originEgressRatio: 1.05, timeRatio: 1.25 },
    release: { files, bytes: perFile * files, boxes: fleet.boxes.length },
    seconds: { took: rounded(tookMs / 1000), atBest: rounded(idealMs / 1000) },
    linkUse: use,
    bytesWanted: fleet.boxes.length * (perFile * files + HELD_MIB * MIB),
    bytesBySource: kinds, // of everything that was filled, what viewers watch included
    machine: machineFacts(),
  };
}

async function loadOf(fleet: LinkedFleet): Promise<(durationMs: number) => Promise<Measured>> {
  const targets = await fleet.targets('held');
  const box = fleet.boxes[0];
  return (durationMs) =>
    measure(
      {
        ...LOAD,
        address: box.address,
        port: CONTENT_PORT,
        targets: targets.map(({ target }) => target),
        fields: [],
        fileBytes: targets[0].sizeBytes,
        alignBytes: LOAD.rangeBytes,
        durationMs,
        seed: 1,
      },
      process.pid,
      box.place,
    );
}

/** Resolves when every box says that it holds `files` files whole. */
async function untilFilled(fleet: LinkedFleet, files: number, deadlineMs: number): Promise<void> {
  const startMs = performance.now();
  for (let lastSaidMs = startMs; ;) {
    const beats = await fleet.heartbeats();
    if (beats.every((beat) => (beat?.holdings.files ?? 0) >= files)) return;
    const nowMs = performance.now();
    if (nowMs - lastSaidMs > 5000) {
      lastSaidMs = nowMs;
      const held = beats.map(
        (beat) =>
          `${beat?.holdings.files ?? '-'}${beat?.fill.waitingFor ? ` (${beat.fill.waitingFor})` : ''}`,
      );
      say(`files held of ${files}: ${held.join(', ')}`);
    }
    if (nowMs - startMs > deadlineMs) {
      const problems = beats.map((beat) => beat?.fill.problem ?? 'no problem told');
      throw new Error(
        `not filled after ${Math.round(deadlineMs / 1000)} s: ${problems.join(' | ')}`,
      );
    }
    await sleep(systemClock, POLL_MS);
  }
}

function say(text: string): void {
  console.error(`fill: ${text}`);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
