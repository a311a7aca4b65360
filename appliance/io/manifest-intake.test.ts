import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { signCompact } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { success } from '#base/outcome.ts';
import {
  JWS_TYPE,
  MANIFEST_DROP_CHARACTERS,
  openKeys,
  setDigestOf,
  type KeyRing,
  type ManifestEntry,
} from '#control-plane/contract.ts';
import { KeptDocuments } from './kept-documents.ts';
import { ManifestIntake } from './manifest-intake.ts';
import { makeKeys, manifestOf, type Keys } from './test-world.ts';

const FILES = 100;

function entries(from: number, to: number): ManifestEntry[] {
  return Array.from({ length: to - from }, (_, at) => ({
    fileId: createHash('sha256')
      .update(`file ${from + at}`)
      .digest('base64url'),
    sizeBytes: 1000,
    titles: ['film'],
    density: 1,
  }));
}

/** A control plane's side of the intake: what it would answer, and what it was asked. */
class Desk {
  readonly keys: Keys;
  readonly asked: [version: number, mayBeDelta: boolean][] = [];
  full: Buffer | null = null;
  delta: Buffer | null = null;

  constructor(keys: Keys) {
    this.keys = keys;
  }

  async put(version: number, set: readonly ManifestEntry[]): Promise<void> {
    this.full = await manifestOf(version, set, this.keys.manifest);
    this.delta = null;
  }

  /** Lines of a delta; `set` is what it leads to. */
  async putDelta(
    version: number,
    baseVersion: number,
    lines: readonly unknown[],
    set: readonly ManifestEntry[],
  ): Promise<void> {
    await this.put(version, set);
    const body = zstdCompressSync(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const header = await signCompact(this.keys.manifest, JWS_TYPE.manifest, {
      applianceId: 'box-1',
      clusterId: 'cluster-1',
      version,
      kind: 'delta',
      baseVersion,
      epoch: 1,
      planDate: '2026-11-20',
      issuedAtMs: Date.now(),
      entries: lines.length,
      bodySha256: createHash('sha256').update(body).digest('base64url'),
      setDigest: setDigestOf(set.map(({ fileId }) => fileId)),
      fillDensity: 0,
    });
    this.delta = Buffer.concat([Buffer.from(`${header}\n`, 'latin1'), body]);
  }
}

interface Bench {
  readonly desk: Desk;
  readonly intake: () => ManifestIntake;
  readonly used: number[];
}

async function bench(t: TestContext): Promise<Bench> {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-intake-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const keys = await makeKeys();
  const opened = await openKeys(keys.answer, keys.fingerprint);
  assert.ok(opened.ok);
  const ring: KeyRing = opened.value;
  const desk = new Desk(keys);
  const used: number[] = [];
  const log = createLogger('test', 'silent');
  const intake = (): ManifestIntake =>
    new ManifestIntake({
      identity: {
        applianceId: 'box-1',
        siteId: 'site-1',
        clusterId: 'cluster-1',
        controlPlaneUrl: 'http://127.0.0.1:1',
        rootFingerprint: keys.fingerprint,
      },
      kept: new KeptDocuments(directory, log),
      log,
      keys: () => ring,
      fetch: (version, mayBeDelta) => {
        desk.asked.push([version, mayBeDelta]);
        const bytes = mayBeDelta ? (desk.delta ?? desk.full) : desk.full;
        return Promise.resolve(success(bytes ?? ('none' as const)));
      },
      roomBytes: () => 1_000_000,
      isHeld: () => true,
      use: (manifest) => {
        used.push(manifest.version);
        return Promise.resolve();
      },
    });
  return { desk, intake, used };
}

test('a delta is taken on its base, kept, and read again after a restart', async (t) => {
  const { desk, intake } = await bench(t);
  const first = intake();
  await desk.put(1, entries(0, FILES));
  await first.pull();
  const [gone, ...rest] = entries(0, FILES);
  const come = entries(FILES, FILES + 3);
  await desk.putDelta(
    2,
    1,
    [...come, { drop: gone.fileId.slice(0, MANIFEST_DROP_CHARACTERS) }],
    [...rest, ...come],
  );
  await first.pull();
  assert.equal(first.current.version, 2);
  assert.equal(first.current.files.size, FILES + 2);
  assert.equal(first.current.files.has(gone.fileId), false);
  assert.deepEqual(desk.asked, [
    [0, false],
    [1, true],
  ]);
  const restarted = intake();
  await restarted.loadKept();
  assert.equal(restarted.current.version, 2);
  assert.equal(restarted.current.files.size, FILES + 2);
});

test('a delta on the wrong base makes the box ask for the full one', async (t) => {
  const { desk, intake } = await bench(t);
  const box = intake();
  await desk.put(1, entries(0, FILES));
  await box.pull();
  await desk.putDelta(3, 2, entries(FILES, FILES + 1), entries(0, FILES + 1));
  await box.pull();
  assert.deepEqual(desk.asked.slice(1), [
    [1, true],
    [1, false],
  ]);
  assert.equal(box.current.version, 3);
  assert.equal(box.problem, null);
});

test('a manifest that deletes more than a tenth of what is held waits for a second one', async (t) => {
  const { desk, intake, used } = await bench(t);
  const box = intake();
  await desk.put(1, entries(0, FILES));
  await box.pull();
  await desk.put(2, entries(15, FILES));
  await box.pull();
  assert.equal(box.current.version, 1);
  assert.match(box.problem ?? '', /^manifest-held: version 2 would delete 15\.0 %/);
  assert.equal(box.latestKnown, 2, 'it is not pulled again each second');
  const restarted = intake();
  await restarted.loadKept();
  await restarted.pull();
  assert.equal(restarted.current.version, 1, 'the same version is no second one');
  await desk.put(3, entries(15, FILES));
  await restarted.pull();
  assert.equal(restarted.current.version, 3);
  assert.equal(restarted.problem, null);
  assert.deepEqual(used, [1, 1, 3]);
});

test('an operator confirms a manifest that was held back; one that deletes a tenth needs nobody', async (t) => {
  const { desk, intake } = await bench(t);
  const box = intake();
  await desk.put(1, entries(0, FILES));
  await box.pull();
  await desk.put(2, entries(10, FILES));
  await box.pull();
  assert.equal(box.current.version, 2);
  await desk.put(3, entries(50, FILES));
  await box.pull();
  assert.equal(box.current.version, 2);
  const status = await box.confirm();
  assert.deepEqual([status.version, status.heldBackVersion, status.problem], [3, null, null]);
});

test('a manifest that is bigger than the volumes is refused, and the one in use stays', async (t) => {
  const { desk, intake } = await bench(t);
  const box = intake();
  await desk.put(1, entries(0, FILES));
  await box.pull();
  await desk.put(2, entries(0, 1001));
  await box.pull();
  assert.equal(box.current.version, 1);
  assert.match(box.problem ?? '', /^manifest-too-large/);
});
