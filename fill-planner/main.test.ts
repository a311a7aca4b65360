import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Command } from 'commander';
import { generateSigningKey, importVerifyingKey } from '#base/jws.ts';
import type { KeyRing } from '#control-plane/contract.ts';
import { openPlanSet } from './contract.ts';
import { planClusters } from './io/plan-pool.ts';
import { addCommands } from './main.ts';
import { gatherNight, prepareNight } from './night.ts';
import { planningOptions } from './config.ts';
import { PLAN_DATE, sampleNight } from './sample-night.ts';

let directory: string;
let server: Server;
let baseUrl: string;
let keys: KeyRing;
let answer: { status: number; body: unknown };
const seen: { method: string; url: string; bearer: string; body: string }[] = [];

before(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'nightfill-plan-'));
  const { key, privateJwk } = await generateSigningKey('EdDSA');
  writeFileSync(path.join(directory, 'plan.jwk'), JSON.stringify(privateJwk));
  writeFileSync(path.join(directory, 'token'), 'planner-secret\n');
  writeFileSync(path.join(directory, 'not-a-key'), '{"kty":"oct","k":"AAAA"}');
  const verifying = await importVerifyingKey(key.publicJwk);
  assert.ok(verifying !== null);
  const none = new Map<string, never>();
  keys = {
    version: 1,
    byUse: {
      plan: new Map([[verifying.kid, verifying]]),
      manifest: none,
      token: none,
      grant: none,
    },
    issuerOf: new Map([[verifying.kid, 'planner']]),
  };
  server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const { method = '', url = '', headers } = request;
      seen.push({ method, url, bearer: headers.authorization ?? '', body });
      const { status, body: told } =
        method === 'GET' ? answer : { status: 200, body: { taken: true } };
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(told));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

async function run(...flags: string[]): Promise<string> {
  const lines: string[] = [];
  const log = console.log;
  console.log = (line: string) => lines.push(line);
  seen.length = 0;
  try {
    const program = new Command().exitOverride();
    addCommands(program);
    await program.parseAsync(
      [
        'plan',
        '--control-plane',
        baseUrl,
        '--token-file',
        path.join(directory, 'token'),
        '--key-file',
        path.join(directory, 'plan.jwk'),
        '--state',
        path.join(directory, 'state'),
        ...flags,
      ],
      { from: 'user' },
    );
  } finally {
    console.log = log;
  }
  return lines.join('\n');
}

test('a night is read, planned, signed and handed in, and the summary names each site', async () => {
  answer = { status: 200, body: sampleNight() };
  const told = await run('--date', PLAN_DATE);
  assert.match(told, /plan of 2026-11-20: \d/);
  assert.match(told, /site-0 +cluster-0/);
  assert.match(told, /handed in: 3 plans of run/);
  const [read, posted] = seen;
  assert.equal(read.url, `/v1/planner/input?planDate=${PLAN_DATE}`);
  assert.equal(read.bearer, 'Bearer planner-secret');
  assert.equal(posted.url, '/v1/plans');
  const { planSet } = JSON.parse(posted.body) as { planSet: string };
  const opened = await openPlanSet(planSet, keys);
  assert.ok(opened.ok, opened.ok ? '' : opened.failure);
  assert.equal(opened.value.plans.length, 3);
});

test('a dry run shows the plan and hands nothing in', async () => {
  answer = { status: 200, body: sampleNight() };
  assert.match(await run('--dry-run'), /dry run: nothing was handed in/);
  assert.deepEqual(
    seen.map((call) => call.method),
    ['GET'],
  );
});

test('one site is shown with its gap and its prices', async () => {
  answer = { status: 200, body: sampleNight({ storageBytes: 300_000 }) };
  const told = await run('--site', 'site-1');
  assert.match(told, /site site-1, cluster cluster-1: 1 box\n/);
  assert.match(told, /gap +\d+\.\d{3} % of the bound/);
  assert.match(told, /one more TB of disk serves +\S+ Gbit\/s/);
  await assert.rejects(run('--site', 'nowhere'), /no site nowhere.*site-0, site-1/);
});

test('explain says where a file is and why, diff what changed, and both name what they do not know', async () => {
  const input = sampleNight({ storageBytes: 300_000 });
  answer = { status: 200, body: input };
  const { fileId } = input.titles[0].listing.files[0];
  const told = await run('explain', fileId, 'site-0');
  assert.match(told, /expected .* views a day, .*: place \d+ of 40 by density/);
  assert.match(told, /box-0-\d: (filled tonight|not held), /);
  assert.match(await run('explain', 'x'.repeat(43), 'site-0'), /no title of tonight has the file/);
  await assert.rejects(run('diff', '1999-01-01', 'nothing'), /no plan 1999-01-01 in .*: known are/);
});

test('a plan that gives up too much offload is held, with a diff, until somebody approves it', async () => {
  const state = path.join(directory, 'held-state');
  const day = (date: string, storageBytes: number) => {
    const input = { ...sampleNight({ storageBytes }), planDate: date };
    answer = { status: 200, body: input };
    return run('--state', state, '--date', date);
  };
  assert.match(await day('2026-11-20', 1_000_000), /handed in/);
  const held = await day('2026-11-21', 200_000);
  assert.equal(process.exitCode, 3);
  process.exitCode = 0;
  assert.match(held, /planned offload \d+\.\d % -> \d/);
  assert.match(held, /held for approval: more than 5 points .* against 2026-11-20/);
  assert.deepEqual(
    seen.map((call) => call.method),
    ['GET'],
  );
  const runId = /plan approve (\S+)/.exec(held)?.[1] ?? '';
  assert.match(await run('approve', runId, '--state', state), /handed in: 3 plans/);
  assert.match(
    await run('diff', '2026-11-20', '2026-11-21', '--state', state),
    /appliance +densest file out/,
  );
  await assert.rejects(run('approve', runId, '--state', state), /no plan .* known are none/);
});

test('trends are looked at against the look before, and handed in when told so', async () => {
  const state = path.join(directory, 'trend-state');
  const look = (minutes: number, starts: number, ...flags: string[]) => {
    const input = sampleNight({ titles: 20, filesPerTitle: 1, storageBytes: 300_000, days: 10 });
    const today = input.titles.map(({ ordinals, listing }, at) => ({
      ordinal: ordinals[0],
      home: 'cluster-0',
      day: PLAN_DATE,
      bytes: listing.files[0].sizeBytes,
      starts: at === 19 ? starts : Math.round((50 + minutes) / (1 + at)),
    }));
    const cutAtMs = input.cutAtMs + minutes * 60_000;
    answer = { status: 200, body: { ...input, cutAtMs, demand: [...input.demand, ...today] } };
    return run('trend', '--state', state, '--date', PLAN_DATE, ...flags);
  };
  assert.match(await look(0, 2, '--hand-in'), /first look of the day/);
  assert.match(await look(15, 3, '--hand-in'), /nothing trends: the last 15 minutes/);
  assert.deepEqual(
    seen.filter(({ method }) => method === 'POST'),
    [],
  );
  const told = await look(30, 500, '--hand-in');
  assert.match(told, /1 titles trend in the last 15 minutes; 1 of their files/);
  assert.match(told, /title-19 at cluster-0: 497 starts, .* expected, .* \(surprise\)/);
  assert.match(told, /handed in: 1 files for the fast track/);
  const posted = seen.find(({ method }) => method === 'POST');
  assert.equal(posted?.url, '/v1/fast-track');
  const { entries } = JSON.parse(posted.body) as { entries: { clusters: string[] }[] };
  assert.deepEqual(entries[0].clusters, ['cluster-0']);
  const quiet = JSON.parse(await look(45, 501, '--json')) as { trends: unknown[]; book?: unknown };
  assert.deepEqual([quiet.trends, quiet.book], [[], undefined]);
  writeFileSync(path.join(state, 'trend.json'), '{"titles":3}');
  assert.match(await look(60, 502), /first look of the day/);
});

test('plans are the same bytes with one, two and four workers', async () => {
  const input = sampleNight({ boxesPerSite: [2, 1, 3, 1, 2], titles: 20, storageBytes: 400_000 });
  const prepared = prepareNight(input, planningOptions());
  assert.ok(prepared.ok);
  const sets: string[] = [];
  for (const workers of [1, 2, 4]) {
    const gathered = gatherNight(
      prepared.value,
      await planClusters(input, prepared.value, workers),
    );
    assert.ok(gathered.ok);
    sets.push(JSON.stringify(gathered.value.planSet));
  }
  assert.equal(sets[1], sets[0]);
  assert.equal(sets[2], sets[0]);
});

test('a refusal of the control plane is passed on in its own words', async () => {
  answer = { status: 403, body: { message: 'role planner is needed' } };
  await assert.rejects(run(), /cannot read the planner input: .*403 role planner is needed/);
});

test('an input that is none is refused by field', async () => {
  answer = { status: 200, body: { epoch: 'x' } };
  await assert.rejects(run(), /the planner input cannot be planned: \/epoch is "x"/);
});

test('what is missing is said at once, with where it is found', async () => {
  const program = new Command().exitOverride();
  addCommands(program);
  await assert.rejects(
    program.parseAsync(['plan'], { from: 'user' }),
    /--control-plane URL, --token-file FILE, --key-file FILE are missing\. With nightfill up .*STATE\/tokens\/planner\.token/,
  );
  await assert.rejects(
    program.parseAsync(['plan', '--dry-run'], { from: 'user' }),
    /--control-plane URL \(or --input FILE\), --token-file FILE are missing/,
  );
});

test('a file id or a run that begins with a dash is one; a missing state directory is said', async () => {
  answer = { status: 200, body: sampleNight() };
  assert.match(
    await run('explain', `-${'K'.repeat(42)}`, 'site-0'),
    /no title of tonight has the file -K/,
  );
  await assert.rejects(run('explain', 'x', 'site-0', '--nonsense'), /too many arguments/);
  await assert.rejects(run('approve', '-DI_lkEHv2sy'), /no plan -DI_lkEHv2sy in /);
  const program = new Command().exitOverride();
  addCommands(program);
  const known = process.env['NIGHTFILL_STATE'];
  delete process.env['NIGHTFILL_STATE'];
  try {
    await assert.rejects(
      program.parseAsync(['plan', 'diff', 'a', 'b'], { from: 'user' }),
      /--state DIR is missing, and \$NIGHTFILL_STATE is not set: where nights are kept/,
    );
  } finally {
    if (known !== undefined) process.env['NIGHTFILL_STATE'] = known;
  }
});

test('a date that is none is refused before anything is asked', async () => {
  await assert.rejects(run('--date', '2026-02-30'), /--date 2026-02-30 is no day/);
  assert.deepEqual(seen, []);
});

test('files that are no token and no plan key are refused by name', async () => {
  await assert.rejects(
    run('--token-file', path.join(directory, 'gone')),
    /--token-file .*gone: there is no such file\. It holds a service token/,
  );
  await assert.rejects(
    run('--key-file', path.join(directory, 'not-a-key')),
    /not-a-key is no private plan key \(Ed25519/,
  );
});

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts).toString('utf8');
}
