import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { Command } from 'commander';
import { sleep, systemClock } from '#base/clock.ts';
import { withDefaults } from '#base/config.ts';
import { generateSigningKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { seededRandom } from '#base/random.ts';
import { SteeringConfigSchema } from '../config.ts';
import type { PlayAnswer } from '../contract.ts';
import type { ReplayResult } from '../decision-log.ts';
import { EXAMPLE_AT_MS, EXAMPLE_FILES, EXAMPLE_TITLE, exampleSnapshot } from '../example-fleet.ts';
import type { Explanation } from '../explain.ts';
import { createFleet } from '../fleet.ts';
import { addCommands } from '../main.ts';
import { createSteering } from './steering-service.ts';

const TOKEN = 'operator-secret';

/** What `nightfill explain ...` prints. */
async function explain(context: TestContext, args: readonly string[]): Promise<string> {
  const program = new Command();
  addCommands(program);
  const log = context.mock.method(console, 'log', () => {});
  await program.parseAsync(['node', 'nightfill', 'explain', ...args]);
  const said = log.mock.calls.map(({ arguments: [text] }) => String(text)).join('\n');
  log.mock.restore();
  return said;
}

test('nightfill explain says of a running node what it would answer and why, and takes its log again bit for bit', async (context) => {
  const stateDir = mkdtempSync(path.join(os.tmpdir(), 'nightfill-explain-'));
  context.after(() => rmSync(stateDir, { recursive: true, force: true }));
  const config = withDefaults(SteeringConfigSchema, {
    listen: { address: '127.0.0.1', port: 0 },
    publicUrl: 'http://127.0.0.1:9000',
    stateDir,
    controlPlaneUrl: 'http://127.0.0.1:9',
    controlPlaneToken: 'none',
    rootFingerprint: 'a'.repeat(43),
    tokenKeyFile: 'unused',
    serviceTokens: [
      {
        name: 'op',
        role: 'operator',
        sha256: createHash('sha256').update(TOKEN).digest('base64url'),
      },
    ],
    dns: { address: '127.0.0.1', port: 0, zone: 'cdn.test' },
    probe: { periodMs: 60_000 },
  });
  assert.ok(config.ok, JSON.stringify(config));
  // Boxes that answer probes, as the control plane is away and the node looks by itself.
  const box = http.createServer((_request, response) => response.writeHead(503).end());
  await new Promise<void>((resolve) => {
    box.listen(0, '127.0.0.1', resolve);
  });
  context.after(() => box.close());
  const baseUrl = `http://127.0.0.1:${(box.address() as AddressInfo).port}`;
  const appliances = {
    'lyon-a': { baseUrl, standing: 'draining' as const },
    'lyon-b': { baseUrl },
    'paris-a': { baseUrl },
    'oslo-a': { baseUrl },
  };
  const { key } = await generateSigningKey('ES256');
  const service = createSteering({
    config: config.value,
    clock: systemClock,
    random: seededRandom(1),
    log: createLogger('steering', 'silent'),
    signingKey: key,
    blobSecret: Buffer.alloc(32, 1),
    keys: { current: () => null, refresh: () => Promise.resolve() },
    fleet: createFleet(exampleSnapshot({ appliances, holdings: { 'lyon-b': [1] } })),
  });
  const { httpPort } = await service.start();
  const request = { titleId: EXAMPLE_TITLE, clientAddress: '10.1.2.3', session: 'explain' };
  const answers: PlayAnswer[] = [];
  for (let at = 0; at < 3; at++) {
    const answer = await service.play({ ...request, fileIds: [EXAMPLE_FILES[at]] });
    assert.ok(typeof answer === 'string');
    answers.push(JSON.parse(answer) as PlayAnswer);
  }
  // Holdings alone wait for the next load epoch; until then decisions are taken, and logged, on the fleet before.
  const taken = service.take({
    kind: 'delta',
    baseVersion: 7,
    version: 8,
    epoch: 1,
    issuedAtMs: EXAMPLE_AT_MS,
    prefixesVersion: 3,
    appliances: [],
    appliancesRemoved: [],
    holdings: [{ applianceId: 'lyon-b', version: 5, added: [0], removed: [] }],
    titles: [],
    titlesRemoved: [],
  });
  assert.equal(taken, 'go-on');
  const playFirst = async (): Promise<PlayAnswer> => {
    const answer = await service.play({ ...request, fileIds: [EXAMPLE_FILES[0]] });
    assert.ok(typeof answer === 'string');
    return JSON.parse(answer) as PlayAnswer;
  };
  assert.equal((await playFirst()).epochs.snapshot, 7);
  let now = await playFirst();
  for (; now.epochs.snapshot === 7; now = await playFirst()) await sleep(systemClock, 20);
  assert.equal(now.files[0].urls[0].pathwayId, 'lyon-b');

  const tokenFile = path.join(stateDir, 'token');
  writeFileSync(tokenFile, TOKEN, { mode: 0o600 });
  const node = ['--steering', `http://127.0.0.1:${httpPort}`, '--token-file', tokenFile];
  const asked = [...node, '--client', '10.1.2.3', '--file', EXAMPLE_FILES[0]];
  const whole = JSON.parse(await explain(context, [...asked, '--json'])) as Explanation;
  const text = await explain(context, asked);
  await service.stop();
  const verdicts = new Map(
    whole.files[0].boxes.map(({ applianceId, verdict }) => [applianceId, verdict]),
  );
  assert.notEqual(answers[0].files[0].urls[0].pathwayId, 'lyon-b');
  assert.equal(verdicts.get('lyon-b'), 'chosen');
  assert.equal(verdicts.get('lyon-a'), 'draining');
  assert.deepEqual(whole.epochs, { ...now.epochs, load: whole.epochs.load });
  assert.match(text, /lyon-a.*draining/);

  const decisions = path.join(stateDir, 'decisions');
  const logs = readdirSync(decisions);
  assert.equal(logs.length, 1, 'the log goes on over a change of holdings');
  const file = path.join(decisions, logs[0]);
  const again = JSON.parse(await explain(context, ['--replay', file])) as ReplayResult;
  assert.ok(again.decisions >= 5);
  assert.deepEqual([again.same, again.problem], [again.decisions, null]);

  // A log that was meddled with is found out, and the command fails.
  writeFileSync(file, readFileSync(file, 'utf8').replace(/"digest":"./, '"digest":"!'));
  const changed = JSON.parse(await explain(context, ['--replay', file])) as ReplayResult;
  assert.deepEqual([changed.same, process.exitCode], [again.decisions - 1, 1]);
  process.exitCode = 0;
});
