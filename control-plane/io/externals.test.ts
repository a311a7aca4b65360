import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { EXTERNALS_MAX, type ExternalCdn } from '../contract.ts';
import { regionOfText } from './external-commands.ts';
import { Rig } from './test-rig.ts';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');

function external(externalId: string, over: Partial<ExternalCdn> = {}): ExternalCdn {
  return {
    externalId,
    name: externalId,
    baseUrl: `https://${externalId}.example`,
    tokens: 'rfc9246',
    costPerGb: 0.01,
    regions: [{ countries: ['*'], commitBps: 0, capBps: 1e9 }],
    ...over,
  };
}

test('an external CDN is registered, told to steering at once, changed, kept over a restart and removed, all in the audit log', async (t) => {
  const rig = await Rig.start(t);
  const steering = await rig.follow();
  assert.deepEqual(steering.snapshot.externals, []);
  const put = (entry: object) => rig.call('POST', '/v1/externals', 'operator', entry);
  assert.equal((await put(external('akme'))).status, 201);
  await steering.until('it is told', () => steering.snapshot.externals?.length === 1);
  assert.deepEqual(steering.snapshot.externals?.[0], external('akme'));
  assert.equal((await put(external('akme'))).status, 200, 'the same again');
  const dearer = external('akme', { costPerGb: 0.02, budgetPerDay: 100 });
  assert.equal((await put(dearer)).status, 200);
  await steering.until(
    'the change is told',
    () => steering.snapshot.externals?.[0].costPerGb === 0.02,
  );
  steering.close();
  await rig.restart();
  const again = await rig.follow();
  assert.deepEqual(again.snapshot.externals, [dearer]);
  const listed = await rig.call('GET', '/v1/externals', 'operator');
  assert.deepEqual(listed.body['externals'], [dearer]);
  assert.equal((await rig.call('DELETE', '/v1/externals/akme', 'operator')).status, 204);
  await again.until('its end is told', () => again.snapshot.externals?.length === 0);
  assert.equal((await rig.call('DELETE', '/v1/externals/akme', 'operator')).status, 404);
  const audit = await rig.call('GET', '/v1/audit', 'operator');
  const entries = audit.body['entries'] as { who: string; what: string; detail: string }[];
  assert.deepEqual(
    entries.filter(({ what }) => what.startsWith('external')).map(({ who, what }) => [who, what]),
    [
      ['the-operator', 'external CDN removed'],
      ['the-operator', 'external CDN changed'],
      ['the-operator', 'external CDN added'],
    ],
  );
});

test('what cannot be an external CDN is refused with the reason, a secret above all', async (t) => {
  const rig = await Rig.start(t);
  await rig.putSite();
  await rig.box('box-1');
  const secret = 'c2VjcmV0LXRoYXQtbm9ib2R5LW1heS1zZWU';
  const region = external('x').regions[0];
  const cases: readonly [string, object, number, RegExp][] = [
    ['a secret', { ...external('akme'), key: secret }, 400, /key/],
    [
      'a secret in a region',
      external('akme', { regions: [{ ...region, key: secret } as never] }),
      400,
      /key/,
    ],
    ['no region', external('akme', { regions: [] }), 400, /regions/],
    ['another adapter', { ...external('akme'), tokens: 'none' }, 400, /tokens/],
    ['a URL with a path', external('akme', { baseUrl: 'https://x.example/cdn' }), 400, /baseUrl/],
    ['the name of a box', external('box-1'), 409, /name of an appliance/],
    ['the name of the origin', external('origin'), 409, /the origin/],
    [
      'a cap below the commit',
      external('akme', { regions: [{ countries: ['FR'], commitBps: 2, capBps: 1 }] }),
      400,
      /commit of 2 bit\/s is above the cap of 1/,
    ],
  ];
  for (const [title, body, status, words] of cases) {
    const answer = await rig.call('POST', '/v1/externals', 'operator', body);
    assert.equal(answer.status, status, `${title}: ${answer.bytes.toString()}`);
    assert.match(answer.bytes.toString(), words, title);
    assert.ok(!answer.bytes.toString().includes(secret), `${title}: the secret comes back`);
  }
  assert.equal((await rig.call('POST', '/v1/externals', 'steering', external('akme'))).status, 403);
  assert.equal((await rig.call('GET', '/v1/externals', null)).status, 401);
  for (let at = 0; at < EXTERNALS_MAX; at++) {
    const answer = await rig.call('POST', '/v1/externals', 'operator', external(`cdn-${at}`));
    assert.equal(answer.status, 201);
  }
  const full = await rig.call('POST', '/v1/externals', 'operator', external('one-more'));
  assert.match(String(full.body['message']), /16 external CDNs are registered/);
  const twice = external('cdn-0', { baseUrl: 'https://cdn-1.example' });
  const taken = await rig.call('POST', '/v1/externals', 'operator', twice);
  assert.match(String(taken.body['message']), /cdn-1 already/);
  const wanted = { applianceId: 'cdn-0', siteId: 'paris', clusterId: 'paris' };
  const box = await rig.call('POST', '/v1/enrolment-tokens', 'operator', wanted);
  assert.equal(box.status, 409, 'no box takes the name of an external CDN');
});

test('regions as an operator types them: table', () => {
  assert.deepEqual(regionOfText('FR, BE:1e9:20e9'), {
    countries: ['FR', 'BE'],
    commitBps: 1e9,
    capBps: 20e9,
  });
  assert.deepEqual(regionOfText('*:0:5'), { countries: ['*'], commitBps: 0, capBps: 5 });
  for (const text of ['FR', 'FR:1', 'FR:1:2:3', 'FR:x:2', 'FR::2', 'FR:-1:2']) {
    assert.throws(() => regionOfText(text), /--region/, text);
  }
});

test('nightfill externals adds, lists and removes, and says where an HMAC key belongs', async (t) => {
  const rig = await Rig.start(t);
  const tokenFile = path.join(rig.directory, 'operator.token');
  writeFileSync(tokenFile, 'token-operator\n');
  const run = (...args: string[]): Promise<string> => {
    return new Promise((resolve, reject) => {
      execFile(
        PROGRAM,
        ['externals', ...args, '--control-plane', rig.url, '--token-file', tokenFile],
        (error, stdout, stderr) => {
          if (error === null) resolve(stdout);
          else reject(new Error(stderr));
        },
      );
    });
  };
  const added = await run(
    'add',
    'akme',
    '--url',
    'https://akme.example',
    '--cost',
    '0.01',
    '--tokens',
    'hmac',
    '--region',
    'FR,BE:1e9:20e9',
    '--region',
    '*:0:5e9',
    '--budget',
    '250',
  );
  assert.match(added, /akme .*FR,BE 1 Gbit\/s committed, 20 Gbit\/s at most; \* 0 Gbit\/s/);
  assert.match(added, /externalKeys: akme/);
  assert.match(await run('list'), /akme .*hmac .*0\.01 a GB, 250 a day/);
  await assert.rejects(
    run('add', 'akme', '--url', 'https://akme.example', '--cost', 'much', '--region', '*:0:1'),
    /--cost: "much" is no amount/,
  );
  assert.match(await run('remove', 'akme'), /akme is removed/);
  assert.match(await run('list'), /no external CDN is registered/);
});
