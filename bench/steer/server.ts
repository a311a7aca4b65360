/**
 * The process whose HTTP answers `bench -- steer` measures: a whole service that begins with a made fleet, no control plane.
 *
 * It says on one line of stdout that it listens and what to ask; on "night SECONDS" it takes a night's changes of its shard in, a box
 * a message, spread over that time, and says what that cost.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { sleep, systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { generateSigningKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom, systemRandom } from '#base/random.ts';
import type { FleetDelta } from '#control-plane/contract.ts';
import {
  buildPrefixTable,
  createSteering,
  SteeringConfigSchema,
  type Fleet,
  type SteeringService,
} from '#steering/steering.ts';
import type { ServerPlan, ServerReady } from './http.ts';
import { fleetWithHoldings, makeRequests } from './in-process.ts';
import { FILES_PER_TITLE, makeTopology } from './topology.ts';

const FILES = 8;
const CACHED_REQUESTS = 200;
const NIGHT_SHARE = 0.027;

const plan = JSON.parse(process.argv[2]) as ServerPlan;
const topology = makeTopology(plan.data, plan.size, plan.seed);
const table = buildPrefixTable(topology.prefixes.entries());
const made = fleetWithHoldings(topology.snapshot, table, plan);
const fleet: Fleet = { ...made, snapshot: { ...made.snapshot, issuedAtMs: Date.now() } };
const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-steer-'));
const service = await start();
const requests = makeRequests(fleet, topology.prefixes, FILES, plan.seed);
createInterface({ input: process.stdin }).on('line', (line) => {
  const [word, seconds] = line.split(' ');
  if (word === 'night') void night(Number(seconds));
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    void service.stop().finally(() => {
      rmSync(stateDir, { recursive: true, force: true });
      process.exit(0);
    });
  });
}

async function start(): Promise<SteeringService> {
  const { key } = await generateSigningKey('ES256');
  const config = withDefaults(SteeringConfigSchema, {
    listen: { address: '127.0.0.1', port: 0 },
    publicUrl: 'http://steer.example',
    stateDir,
    controlPlaneUrl: 'http://127.0.0.1:9',
    controlPlaneToken: 'none',
    rootFingerprint: 'x'.repeat(43),
    tokenKeyFile: 'none',
    serviceTokens: [
      {
        name: 'bench',
        role: 'playback',
        sha256: createHash('sha256').update('bench').digest('base64url'),
      },
    ],
    dns: { address: '127.0.0.1', port: 0, zone: 'bench.test' },
    probe: { perSecondMax: 1 },
    playPerSecondMax: 1_000_000,
    decisionLog: { files: 0 },
    logLevel: 'silent',
  });
  if (!config.ok) throw new Error(config.failure.join('; '));
  return createSteering({
    config: config.value,
    clock: systemClock,
    random: systemRandom,
    log: createLogger('steering', 'silent'),
    signingKey: key,
    blobSecret: Buffer.alloc(32, 1),
    keys: { current: () => null, refresh: () => Promise.resolve() },
    fleet,
  });
}

// Made before anybody measures: only reading and taking them in is to count.
const messages = nightMessages();
const { httpPort } = await service.start();
const ready: ServerReady = {
  port: httpPort,
  cached: requests.slice(0, CACHED_REQUESTS),
  fresh: requests.slice(CACHED_REQUESTS),
};
console.log(JSON.stringify(ready));

/** Messages as they come off the stream, but for the signature: as text, so that reading them counts. */
function nightMessages(): readonly string[] {
  const random = seededRandom(plan.seed + 9);
  const half = Math.round((plan.files * NIGHT_SHARE) / 2);
  return fleet.appliances.slice(0, plan.boxes).map(({ applianceId }, at) => {
    const delta: FleetDelta = {
      kind: 'delta',
      baseVersion: fleet.snapshot.version + at,
      version: fleet.snapshot.version + at + 1,
      epoch: 1,
      issuedAtMs: Date.now(),
      prefixesVersion: 1,
      appliances: [],
      appliancesRemoved: [],
      holdings: [
        {
          applianceId,
          version: 2,
          added: Array.from({ length: half }, () => random.below(60_000 * FILES_PER_TITLE)),
          removed: Array.from({ length: half }, () => random.below(20_000) * FILES_PER_TITLE),
        },
      ],
      titles: [],
      titlesRemoved: [],
    };
    return JSON.stringify(delta);
  });
}

async function night(seconds: number): Promise<void> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const startMs = performance.now();
  let busyMs = 0;
  let worstMs = 0;
  let taken = 0;
  for (const [at, text] of messages.entries()) {
    const dueMs = startMs + (at * seconds * 900) / messages.length;
    if (dueMs > performance.now()) await sleep(systemClock, dueMs - performance.now());
    else await sleep(systemClock, 0);
    const beforeMs = performance.now();
    if (service.take(JSON.parse(text) as FleetDelta) === 'go-on') taken++;
    const tookMs = performance.now() - beforeMs;
    busyMs += tookMs;
    worstMs = Math.max(worstMs, tookMs);
  }
  delays.disable();
  const round = (value: number): number => Math.round(value * 100) / 100;
  console.log(
    JSON.stringify({
      boxes: messages.length,
      taken,
      seconds: round((performance.now() - startMs) / 1000),
      messageMeanMs: round(busyMs / messages.length),
      messageWorstMs: round(worstMs),
      eventLoopDelayP99Ms: round(delays.percentile(99) / 1e6),
    }),
  );
}
