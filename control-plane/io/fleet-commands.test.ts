import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { exampleSite } from './test-examples.ts';
import { Rig, RigBox } from './test-rig.ts';

const PROGRAM = path.join(import.meta.dirname, '..', '..', 'bin', 'nightfill');
const run = promisify(execFile);

/** One command against the rig's control plane: what it printed, or its one line of refusal. */
function commands(rig: Rig, tokenFile: string): (...args: string[]) => Promise<string> {
  return async (...args) => {
    const where = ['--control-plane', rig.url, '--token-file', tokenFile];
    try {
      return (await run(PROGRAM, [...args, ...where])).stdout;
    } catch (thrown) {
      return (thrown as { stderr: string }).stderr;
    }
  };
}

test('a box comes into the fleet and leaves it by commands alone', async (t) => {
  // With a password on the pages: a program has only its token.
  const rig = await Rig.start(t, {
    pagesAuthentication: { user: 'noc', passwordSha256: 'x'.repeat(43) },
  });
  const tokenFile = path.join(rig.directory, 'operator.token');
  writeFileSync(tokenFile, 'token-operator\n');
  const nightfill = commands(rig, tokenFile);
  const lyon = exampleSite('lyon', '198.51.100.0/24');
  const siteFile = path.join(rig.directory, 'sites.json');
  writeFileSync(siteFile, JSON.stringify([exampleSite('paris'), lyon]));
  assert.match(await nightfill('site', 'add', siteFile), /site paris is as .*\nsite lyon is as /);
  assert.match(await nightfill('site', 'list'), /^paris {2}.*prefixes\nlyon {2}/);
  assert.match(await nightfill('appliance', 'list'), /paris {2}no box yet/);

  const invitation = path.join(rig.directory, 'paris-1.token');
  const place = ['--site', 'paris', '--cluster', 'paris'];
  const invite = ['appliance', 'invite', 'paris-1', ...place, '--out', invitation];
  assert.match(await nightfill(...invite), /enrols paris-1 at paris\/paris, until 20/);
  assert.equal(statSync(invitation).mode & 0o777, 0o600);
  assert.match(await nightfill(...invite), /could not be written .*EEXIST.*invite again/);

  const box = await RigBox.make(rig, 'paris-1');
  const enrolled = await box.enrol(readFileSync(invitation, 'utf8').trim());
  assert.equal(enrolled.status, 200);
  assert.match(await nightfill('appliance', 'list'), /paris {2}paris-1 .*no heartbeat since/);

  assert.match(await nightfill('appliance', 'remove', 'paris-1'), /paris-1 is out of the fleet/);
  assert.match(await nightfill('appliance', 'list'), /paris {2}no box yet/);
});

test('what the control plane refuses is said in its own words, and what is no JSON before it is asked', async (t) => {
  const rig = await Rig.start(t);
  const tokenFile = path.join(rig.directory, 'operator.token');
  writeFileSync(tokenFile, 'token-operator\n');
  const nightfill = commands(rig, tokenFile);
  const nowhere = await nightfill(
    'appliance',
    'invite',
    'x',
    '--site',
    'rome',
    '--cluster',
    'rome',
  );
  assert.match(nowhere, /there is no cluster rome at a site rome/);
  assert.match(await nightfill('appliance', 'remove', 'nobody'), /nobody/);
  const broken = path.join(rig.directory, 'sites.json');
  writeFileSync(broken, '{"siteId": "paris",');
  assert.match(await nightfill('site', 'add', broken), /sites\.json: .*JSON/);
  writeFileSync(broken, JSON.stringify({ ...exampleSite('paris'), country: 'France' }));
  assert.match(await nightfill('site', 'add', broken), /country/);
});
