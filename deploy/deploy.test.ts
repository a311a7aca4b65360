/**
 * What stands here for an operator to copy is tried: configurations by their own daemons, units by systemd, pages by their links.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { parse } from 'yaml';

const ROOT = path.join(import.meta.dirname, '..');
const HERE = import.meta.dirname;
const run = promisify(execFile);
const WHY_NO_SYSTEMD =
  spawnSync('systemd-analyze', ['--version']).error === undefined
    ? false
    : 'systemd-analyze is not installed';

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

function text(...parts: readonly string[]): string {
  return readFileSync(path.join(HERE, ...parts), 'utf8');
}

function alerts(): readonly Alert[] {
  const { groups } = parse(text('monitoring', 'alerts.yml')) as {
    groups: readonly { readonly rules: readonly Alert[] }[];
  };
  return groups.flatMap(({ rules }) => rules);
}

test('every example configuration is accepted by the daemon that it is for', async () => {
  const files = readdirSync(path.join(HERE, 'systemd', 'etc')).sort();
  assert.deepEqual(files, [
    'appliance.json',
    'control-plane.json',
    'origin.json',
    'playback.json',
    'steering.json',
  ]);
  await Promise.all(
    files.map(async (file) => {
      const config = path.join(HERE, 'systemd', 'etc', file);
      const command = [path.basename(file, '.json'), '--config', config, '--check-config'];
      const { stdout } = await run(path.join(ROOT, 'bin', 'nightfill'), command);
      assert.match(stdout, /is valid/, file);
    }),
  );
});

test(
  'systemd reads the units without a complaint, and they call commands that exist',
  { skip: WHY_NO_SYSTEMD },
  () => {
    const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-units-'));
    try {
      for (const [unit, name] of [
        ['nightfill-appliance.service', 'nightfill-appliance.service'],
        ['nightfill@.service', 'nightfill@steering.service'],
      ]) {
        const copy = path.join(directory, name);
        writeFileSync(copy, text('systemd', unit).replaceAll('/opt/nightfill', ROOT));
        const verified = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' });
        assert.deepEqual([verified.status, verified.stdout, verified.stderr], [0, '', ''], unit);
        const broken = text('systemd', unit).replaceAll('ProtectSystem=strict', 'ProtectSystm=yes');
        writeFileSync(copy, broken);
        const noticed = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' });
        assert.match(noticed.stderr, /ProtectSystm|not executable/, 'the check can fail');
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);

test('every alert has a page that says what to do and when it is over; no page is without an alarm', () => {
  const pages = new Set(readdirSync(path.join(HERE, 'runbook')).filter((f) => f !== 'README.md'));
  const named = alerts().map(({ alert }) => `${alert}.md`);
  assert.ok(named.length > 10);
  for (const { alert, annotations, labels } of alerts()) {
    assert.equal(annotations.runbook, `deploy/runbook/${alert}.md`);
    assert.match(labels.severity, /^(page|ticket)$/);
    assert.ok(pages.has(`${alert}.md`), `${alert} has no page`);
    const page = text('runbook', `${alert}.md`);
    for (const part of ['**Over when:**', '**Look:**|**Do:**'])
      assert.ok(
        part.split('|').some((words) => page.includes(words)),
        `${alert}: ${part}`,
      );
  }
  const raised = [...pages].filter((page) => !named.includes(page));
  for (const page of raised) {
    assert.match(page, /^[a-z-]+\.md$/, `${page}: no alert is called so`);
    const quoted = /\*Alarm on the fleet page:\* "([^"]+)"/.exec(text('runbook', page))?.[1];
    assert.ok(quoted !== undefined, `${page} quotes no alarm`);
    assert.ok(
      raisedWords().some((words) => fits(quoted, words)),
      `nobody raises "${quoted}"`,
    );
  }
});

/** The texts of alarms in the control plane, with a capital word in place of what is filled in. */
function raisedWords(): readonly string[] {
  const io = path.join(ROOT, 'control-plane', 'io');
  const sources = readdirSync(io).filter((file) => /^[a-z-]+\.ts$/.test(file));
  const found = sources.flatMap((file) =>
    [...readFileSync(path.join(io, file), 'utf8').matchAll(/raise\(\s*`([^`]+)`/g)].map(
      ([, words]) => words.replaceAll(/\$\{[^}]*\}/g, 'X'),
    ),
  );
  assert.ok(found.length > 5, 'the search found the alarms');
  return found;
}

function fits(quoted: string, raised: string): boolean {
  const plain = (words: string): string => words.replaceAll(/\b[A-Z]+\b/g, 'X');
  return plain(raised).startsWith(plain(quoted));
}

test('links between the pages lead somewhere', () => {
  const folders = ['.', 'runbook', 'monitoring', 'systemd', 'bgp'];
  let links = 0;
  for (const folder of folders) {
    for (const file of readdirSync(path.join(HERE, folder)).filter((f) => f.endsWith('.md'))) {
      for (const [, target] of text(folder, file).matchAll(/\]\(([^)#:]+)\)/g)) {
        links++;
        const where = path.join(HERE, folder, target);
        assert.doesNotThrow(() => readdirSync(path.dirname(where)), `${folder}/${file}: ${target}`);
        assert.ok(
          target.endsWith('/') || readdirSync(path.dirname(where)).includes(path.basename(where)),
          `${folder}/${file}: ${target}`,
        );
      }
    }
  }
  assert.ok(links > 30);
});
