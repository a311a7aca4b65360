/**
 * What every daemon does as a process: at a configuration, an address or a state directory that it cannot use, at signals,
 * and with its neighbours gone. One set of keys, one control plane, loopback addresses of its own.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const SERVICES = '127.64.0.1';
const ORIGIN = '127.64.0.2';
const BOX = '127.64.1.1';
const PORTS = { controlPlane: 26_400, playback: 26_401, steering: 26_402, dns: 26_453 };
const CONTENT_PORT = 26_480;
const ADMIN_PORT = 26_403;
const ROLES = ['publish', 'planner', 'steering', 'playback', 'operator'] as const;

const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-daemons-'));
const running: ChildProcess[] = [];
after(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

interface Process {
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | null; signal: string | null }>;
  readonly ready: Promise<boolean>; // false: it ended before
  text(): string; // all that it wrote, to stdout and stderr
  errors(): string;
}

function start(...args: string[]): Process {
  const child = spawn(PROGRAM, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  let text = '';
  let errors = '';
  const ended = once(child, 'close').then(([status, signal]) => ({
    status: status as number | null,
    signal: signal as string | null,
  }));
  const ready = new Promise<boolean>((resolve) => {
    child.stdout.on('data', (part: Buffer) => {
      text += part.toString();
      if (text.includes('"event":"ready"')) resolve(true);
    });
    void ended.then(() => resolve(false));
  });
  child.stderr.on('data', (part: Buffer) => {
    text += part.toString();
    errors += part.toString();
  });
  return { child, ended, ready, text: () => text, errors: () => errors };
}

async function stopped(one: Process): Promise<void> {
  one.child.kill('SIGTERM');
  assert.deepEqual(await one.ended, { status: 0, signal: null }, one.text());
  assert.equal(one.errors(), '');
}

const controlPlaneUrl = `http://${SERVICES}:${PORTS.controlPlane}`;
const keysDir = path.join(directory, 'keys');
const stateOf = (name: string): string => path.join(directory, name);
const tokenOf = (name: string): string => createHash('sha256').update(`test ${name}`).digest('hex');
const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url');

interface Case {
  readonly name: string;
  readonly inUse: { readonly address: string; readonly port: number };
  readonly config: Record<string, unknown> & { listen: object };
}

function cases(): readonly Case[] {
  const rootFingerprint = readFileSync(path.join(keysDir, 'root.fingerprint'), 'utf8').trim();
  const serviceTokens = ROLES.map((role) => ({ name: role, role, sha256: sha256(tokenOf(role)) }));
  const at = (address: string, port: number): { address: string; port: number } => ({
    address,
    port,
  });
  const originUrl = `http://${ORIGIN}:${CONTENT_PORT}`;
  const playbackUrl = `http://${SERVICES}:${PORTS.playback}`;
  const steeringUrl = `http://${SERVICES}:${PORTS.steering}`;
  const listening = (
    name: string,
    inUse: { address: string; port: number },
    config: Record<string, unknown>,
  ): Case => ({
    name,
    inUse,
    config: { listen: inUse, stateDir: stateOf(name), ...config },
  });
  return [
    listening('control-plane', at(SERVICES, PORTS.controlPlane), {
      publicUrl: controlPlaneUrl,
      keysDir,
      serviceTokens,
      origin: { baseUrl: originUrl, adminUrl: `http://${ORIGIN}:${ADMIN_PORT}` },
      playbackUrl,
      steeringUrl,
      planning: { cronUtc: '0 1 * * *', planCommand: ['false'] },
    }),
    listening('origin', at(ORIGIN, CONTENT_PORT), {
      admin: at(ORIGIN, ADMIN_PORT),
      controlPlaneUrl,
      rootFingerprint,
    }),
    listening('steering', at(SERVICES, PORTS.steering), {
      publicUrl: steeringUrl,
      controlPlaneUrl,
      controlPlaneToken: tokenOf('steering'),
      rootFingerprint,
      tokenKeyFile: path.join(keysDir, 'token.jwk'),
      serviceTokens,
      dns: { ...at(SERVICES, PORTS.dns), zone: 'nightfill.test' },
    }),
    listening('playback', at(SERVICES, PORTS.playback), {
      publicUrl: playbackUrl,
      controlPlaneUrl,
      steeringUrl,
      steeringToken: tokenOf('playback'),
    }),
    listening('appliance', at(BOX, CONTENT_PORT), {
      applianceId: 'box-1',
      publicBaseUrl: `http://${BOX}:${CONTENT_PORT}`,
      admin: at(BOX, ADMIN_PORT),
      volumes: [{ path: path.join(stateOf('appliance'), 'volume'), capacityBytes: 64 * 1024 ** 2 }],
      enrolmentTokenFile: path.join(directory, 'enrol.token'),
      applianceClass: 'flash',
      servingBps: 1_000_000_000,
    }),
  ];
}

function fileOf(name: string, config: object): string {
  const file = path.join(directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(config));
  return file;
}

async function call(method: string, url: string, body?: object): Promise<unknown> {
  const answer = await fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${tokenOf('operator')}`,
      'content-type': 'application/json',
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(answer.ok, `${method} ${url}: ${answer.status}`);
  return answer.json();
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  for (let attempt = 0; attempt < 150; attempt++) {
    if (await holds().catch(() => false)) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 200);
    });
  }
  assert.fail(`waited in vain: ${what}`);
}

const originSeen = async (): Promise<string> => {
  const view = (await call('GET', `${controlPlaneUrl}/v1/fleet/view`)) as {
    origin: { status: string };
  };
  return view.origin.status;
};

test('every daemon lists all mistakes of its configuration at once, and says what is no JSON', async () => {
  const keys = start('keys', 'init', keysDir);
  assert.equal((await keys.ended).status, 0, keys.text());
  const check = async ({ name, config }: Case): Promise<void> => {
    const wrong = {
      ...config,
      listen: { ...config.listen, port: 99_999 },
      stateDir: 7,
      speling: 1,
    };
    const refused = start(name, '--config', fileOf(`${name}-wrong`, wrong), '--check-config');
    assert.deepEqual(await refused.ended, { status: 1, signal: null }, name);
    assert.match(refused.errors(), /wrong\.json is not valid/);
    for (const problem of [/- \/listen\/port: /, /- \/stateDir: /, /- .*no field "speling"/]) {
      assert.match(refused.errors(), problem, name);
    }
    const good = start(name, '--config', fileOf(name, config), '--check-config');
    assert.deepEqual(await good.ended, { status: 0, signal: null }, good.text());
    assert.match(good.text(), /valid/);
  };
  await Promise.all(cases().map(check));
  writeFileSync(path.join(directory, 'text.json'), 'not json');
  const text = start('origin', '--config', path.join(directory, 'text.json'));
  assert.equal((await text.ended).status, 1);
  assert.match(text.errors(), /text\.json is not valid:\n.*JSON/);
});

test('a state directory of another format is refused by every daemon and left as it is', async () => {
  for (const { name, config } of cases()) {
    const stateDir = stateOf(`${name}-later`);
    mkdirSync(stateDir);
    writeFileSync(path.join(stateDir, 'format'), '99\n');
    const refused = start(name, '--config', fileOf(`${name}-later`, { ...config, stateDir }));
    assert.deepEqual(await refused.ended, { status: 1, signal: null }, refused.text());
    assert.match(refused.errors(), /was written by format 99, this program reads 1: use another/);
    assert.equal(refused.errors().trim().split('\n').length, 1, 'one line');
    assert.equal(readFileSync(path.join(stateDir, 'format'), 'utf8'), '99\n');
  }
});

test('an address in use is one line that names it and what to do; the origin may be down at a start', async () => {
  const [controlPlaneCase, originCase, ...others] = cases();
  const blocked = async ({ name, inUse }: Case): Promise<void> => {
    const other = createServer();
    other.listen(inUse.port, inUse.address);
    await once(other, 'listening');
    const refused = start(name, '--config', path.join(directory, `${name}.json`));
    const end = await refused.ended;
    other.close();
    await once(other, 'close');
    assert.deepEqual(end, { status: 1, signal: null }, refused.text());
    const line = refused.errors().trim();
    assert.equal(line.split('\n').length, 1, line);
    assert.ok(line.includes(inUse.address) && line.includes(`${inUse.port}`), line);
    assert.match(line, /in use.*stop|stop .*in use/);
    assert.ok(!refused.text().includes('"event":"ready"'));
  };
  const up = async (name: string): Promise<Process> => {
    const one = start(name, '--config', path.join(directory, `${name}.json`));
    assert.ok(await one.ready, one.text());
    return one;
  };
  await blocked(controlPlaneCase);
  await blocked(originCase);
  const controlPlane = await up('control-plane');
  await call('POST', `${controlPlaneUrl}/v1/sites`, {
    siteId: 'one',
    name: 'One',
    country: 'FR',
    latitude: 0,
    longitude: 0,
    fillWindow: { startLocal: '00:00', hours: 24, timeZone: 'Europe/Paris' },
    clusters: [{ clusterId: 'one', prefixes: ['127.64.0.0/16'] }],
  });
  const { token } = (await call('POST', `${controlPlaneUrl}/v1/enrolment-tokens`, {
    applianceId: 'box-1',
    siteId: 'one',
    clusterId: 'one',
  })) as { token: string };
  writeFileSync(path.join(directory, 'enrol.token'), `${token}\n`);
  // The box enrols before it listens: what that made is kept, and the next start goes on with it.
  for (const one of others) await blocked(one);
  const daemons = [controlPlane];
  for (const { name } of others) daemons.push(await up(name));
  await until(async () => (await originSeen()) === 'down', 'the origin is seen as down');
  daemons.push(await up('origin'));
  await until(async () => (await originSeen()) === 'up', 'the origin is seen');
  for (const one of daemons.toReversed()) await stopped(one);
  for (const one of daemons) {
    assert.equal(one.text().match(/"event":"ready"/g)?.length, 1);
    assert.ok(!/eyJ[\w-]{10}/.test(one.text()), 'no token is in a log');
  }
});

test('with the control plane gone, boxes, origin and steering start on what they know; signals end them in the middle', async () => {
  const names = ['origin', 'steering', 'playback', 'appliance'];
  for (const name of names) {
    const one = start(name, '--config', path.join(directory, `${name}.json`));
    assert.ok(await one.ready, one.text());
    one.child.kill('SIGINT');
    one.child.kill('SIGTERM'); // impatience changes nothing
    assert.deepEqual(await one.ended, { status: 0, signal: null }, one.text());
  }
});
