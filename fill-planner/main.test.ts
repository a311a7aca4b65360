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
import { addCommands } from './main.ts';
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

test('a refusal of the control plane is passed on in its own words', async () => {
  answer = { status: 403, body: { message: 'role planner is needed' } };
  await assert.rejects(run(), /cannot read the planner input: .*403 role planner is needed/);
});

test('an input that is none is refused by field', async () => {
  answer = { status: 200, body: { epoch: 'x' } };
  await assert.rejects(run(), /the planner input cannot be planned: \/epoch is "x"/);
});

test('a date that is none is refused before anything is asked', async () => {
  await assert.rejects(run('--date', '2026-02-30'), /--date 2026-02-30 is no day/);
  assert.deepEqual(seen, []);
});

test('files that are no token and no plan key are refused by name', async () => {
  await assert.rejects(run('--token-file', path.join(directory, 'gone')), /token file: ENOENT/);
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
