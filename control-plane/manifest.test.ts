import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { importSigningKey, signCompact, type SigningKey } from '#base/jws.ts';
import { orderVersionOf, type Order, type Plan } from '#fill-planner/contract.ts';
import {
  JWS_TYPE,
  MANIFEST_DROP_CHARACTERS,
  openKeys,
  setDigestOf,
  type KeyRing,
  type ManifestEntry,
  type ManifestHeader,
} from './contract.ts';
import { readManifest, type BaseFile, type ManifestRefusal } from './manifest-reader.ts';
import {
  canNameDrops,
  contentKeyOf,
  encodeManifest,
  compressLines,
  deltaLines,
  digestOfFiles,
  manifestContent,
  manifestEntries,
  plannedFiles,
  type ManifestCatalogue,
} from './manifest.ts';
import { makeKeySet } from './trust.ts';

const NOW_MS = Date.UTC(2026, 5, 1);

async function makeKeys(): Promise<{ key: SigningKey; ring: KeyRing }> {
  const set = await makeKeySet(NOW_MS);
  const ring = await openKeys(
    { root: { ...set.rootPublic }, online: set.online },
    set.rootFingerprint,
  );
  assert.ok(ring.ok);
  return { key: await importSigningKey(set.privateOf.manifest), ring: ring.value };
}

const keys = await makeKeys();
const stranger = await makeKeys();

function fileIdFor(n: number): string {
  return createHash('sha256').update(`file ${n}`).digest('base64url');
}

const catalogue: ManifestCatalogue = {
  fileIdOf: (ordinal) => (ordinal < 10 ? fileIdFor(ordinal) : undefined),
  sizeOf: () => 1000,
  titlesOf: (fileId) => (fileId === fileIdFor(7) ? [] : ['title-a', 'title-b']),
};

function makePlan(over: Partial<Plan> = {}): { plan: Plan; order: Order } {
  const content = {
    orderId: 'c1',
    epoch: 3,
    ordinals: [4, 2, 7, 9, 11, 5],
    densities: [90, 80, 70, 5, 4, 1],
  };
  const order = { ...content, orderVersion: orderVersionOf(content) };
  const plan: Plan = {
    applianceId: 'box-1',
    clusterId: 'c1',
    planDate: '2026-06-01',
    epoch: 3,
    orderVersion: order.orderVersion,
    everywhereDensity: 2,
    shareDensity: 2,
    fillDensity: 3,
    members: [{ applianceId: 'box-1', weight: 1 }],
    pins: [0],
    drops: [2],
    ...over,
  };
  return { plan, order };
}

async function encoded(signedBy = keys.key, version = 2): Promise<Buffer> {
  const { plan, order } = makePlan();
  const content = manifestContent(manifestEntries(plan, order, catalogue));
  return encodeManifest(signedBy, plan, version, content, NOW_MS);
}

/** A manifest with any body and any header, signed by `signedBy`. */
async function forged(
  body: Buffer,
  over: Partial<ManifestHeader>,
  signedBy = keys.key,
): Promise<Buffer> {
  const header: ManifestHeader = {
    applianceId: 'box-1',
    clusterId: 'c1',
    version: 2,
    kind: 'full',
    baseVersion: 0,
    epoch: 3,
    planDate: '2026-06-01',
    issuedAtMs: NOW_MS,
    entries: 1,
    bodySha256: createHash('sha256').update(body).digest('base64url'),
    setDigest: setDigestOf([fileIdFor(1)]),
    fillDensity: 0,
    ...over,
  };
  const line = await signCompact(signedBy, JWS_TYPE.manifest, header);
  return Buffer.concat([Buffer.from(`${line}\n`), body]);
}

const entry: ManifestEntry = { fileId: fileIdFor(1), sizeBytes: 5, titles: ['t'], density: 1 };
const bodyOf = (...lines: readonly unknown[]): Buffer =>
  zstdCompressSync(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));

test('a plan expands to its files in order of falling density, without drops and files of no title', () => {
  const { plan, order } = makePlan();
  const entries = manifestEntries(plan, order, catalogue);
  assert.deepEqual(
    entries.map(({ fileId, density }) => [fileId, density]),
    [
      [fileIdFor(4), 90],
      [fileIdFor(9), 5],
      [fileIdFor(0), 0],
    ],
  );
  assert.deepEqual(entries[0].titles, ['title-a', 'title-b']);
});

test('a manifest that was served is opened by a box with its header and the same entries', async () => {
  const { plan, order } = makePlan();
  const opened = await readManifest(await encoded(), keys.ring, {
    applianceId: 'box-1',
    versionInUse: 1,
    clusterId: 'c1',
    epoch: 3,
  });
  assert.ok(opened.ok);
  assert.deepEqual(opened.value.entries, manifestEntries(plan, order, catalogue));
  assert.equal(opened.value.header.version, 2);
  assert.equal(opened.value.header.fillDensity, 3);
});

test('the same plan gives the same body, and another plan date gives no new content', async () => {
  const { plan, order } = makePlan();
  const first = manifestEntries(plan, order, catalogue);
  const again = manifestEntries(plan, order, catalogue);
  assert.deepEqual(manifestContent(first).body, manifestContent(again).body);
  const nextNight = { ...plan, planDate: '2026-06-02' };
  const text = async (entries: readonly ManifestEntry[]): Promise<string> =>
    (await compressLines(entries)).textSha256;
  const key = contentKeyOf(await text(first), plan);
  assert.equal(contentKeyOf(await text(again), nextNight), key);
  assert.notEqual(contentKeyOf(await text(first), { ...plan, fillDensity: 4 }), key);
  assert.notEqual(contentKeyOf(await text(first.slice(1)), plan), key);
});

/** Two nights: file 9 goes, file 5 comes, file 4 is wanted a little more, file 0 as it was. */
async function deltaManifest(base = 2): Promise<{
  bytes: Buffer;
  before: ReadonlyMap<string, BaseFile>;
  after: readonly ManifestEntry[];
}> {
  const { plan, order } = makePlan();
  const nextPlan = { ...plan, drops: [2, 9], everywhereDensity: 0, shareDensity: 0 };
  const densities = [95, 80, 70, 5, 4, 1];
  const first = plannedFiles(plan, order, catalogue);
  const next = plannedFiles(nextPlan, { ...order, densities }, catalogue);
  const lines = await compressLines(deltaLines(first, next, catalogue));
  const content = { ...lines, setDigest: digestOfFiles(next, catalogue) };
  const from = { version: base, digest: digestOfFiles(first, catalogue) };
  return {
    bytes: await encodeManifest(keys.key, nextPlan, 3, content, NOW_MS, from),
    before: new Map(
      manifestEntries(plan, order, catalogue).map(({ fileId, ...rest }) => [
        fileId,
        { ...rest, isUrgent: false },
      ]),
    ),
    after: manifestEntries(nextPlan, { ...order, densities }, catalogue),
  };
}

test('a delta leads from one set to the next, and names only what comes, goes or is wanted far more', async () => {
  const { bytes, before, after } = await deltaManifest();
  const text = zstdDecompressSync(bytes.subarray(bytes.indexOf(0x0a) + 1)).toString('utf8');
  assert.deepEqual(
    text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { fileId?: string; drop?: string })
      .map(({ fileId, drop }) => fileId ?? `- ${drop}`),
    [fileIdFor(5), `- ${fileIdFor(9).slice(0, MANIFEST_DROP_CHARACTERS)}`],
  );
  const opened = await readManifest(bytes, keys.ring, {
    applianceId: 'box-1',
    versionInUse: 2,
    base: { files: before },
  });
  assert.ok(opened.ok);
  const ids = (entries: readonly ManifestEntry[]): string[] =>
    entries.map(({ fileId }) => fileId).sort();
  assert.deepEqual(ids(opened.value.entries), ids(after));
});

test('a delta on another version, on another set, cut off, or where none was asked for is refused', async () => {
  const { bytes, before } = await deltaManifest();
  const wrongSet = new Map(before);
  wrongSet.delete(fileIdFor(0));
  const refusalOf = async (
    delta: Uint8Array,
    versionInUse: number,
    files: ReadonlyMap<string, BaseFile> | null,
  ): Promise<string> => {
    const base = files === null ? {} : { base: { files } };
    const expected = { applianceId: 'box-1', versionInUse, ...base };
    const outcome = await readManifest(delta, keys.ring, expected);
    return outcome.ok ? 'taken' : outcome.failure.refusal;
  };
  assert.equal(await refusalOf(bytes, 1, before), 'manifest-delta');
  assert.equal(await refusalOf(bytes, 2, null), 'manifest-delta');
  assert.equal(await refusalOf(bytes, 2, wrongSet), 'manifest-digest');
  assert.equal(await refusalOf(bytes.subarray(0, -5), 2, before), 'manifest-body');
  assert.equal(await refusalOf(bytes, 2, before), 'taken');
});

test('a drop that means no file of the base, or two of them, is refused before anything is deleted', async () => {
  const twin = fileIdFor(1).slice(0, MANIFEST_DROP_CHARACTERS).padEnd(43, 'A');
  const one: BaseFile = { sizeBytes: 5, titles: ['t'], density: 1, isUrgent: false };
  const delta = await forged(bodyOf({ drop: twin.slice(0, MANIFEST_DROP_CHARACTERS) }), {
    kind: 'delta',
    baseVersion: 1,
    setDigest: setDigestOf([fileIdFor(2)]),
  });
  const refusalOf = async (...base: readonly string[]): Promise<string> => {
    const files = new Map(base.map((id) => [id, one]));
    const expected = { applianceId: 'box-1', versionInUse: 1, base: { files } };
    const outcome = await readManifest(delta, keys.ring, expected);
    return outcome.ok ? 'taken' : outcome.failure.refusal;
  };
  assert.equal(await refusalOf(fileIdFor(2)), 'manifest-delta', 'none begins so');
  assert.equal(await refusalOf(fileIdFor(1), twin, fileIdFor(2)), 'manifest-delta', 'two do');
  assert.equal(await refusalOf(fileIdFor(1), fileIdFor(3)), 'manifest-digest', 'another set');
  assert.equal(await refusalOf(fileIdFor(1), fileIdFor(2)), 'taken');
});

test('a base with two ids that begin alike is no base for a delta', () => {
  const ids = [
    fileIdFor(1),
    fileIdFor(2),
    fileIdFor(1).slice(0, MANIFEST_DROP_CHARACTERS).padEnd(43, 'A'),
  ];
  const alike = { ...catalogue, fileIdOf: (ordinal: number) => ids[ordinal] };
  const filesOf = (...ordinals: number[]) => ({
    ordinals: Uint32Array.from(ordinals),
    densities: new Float64Array(ordinals.length),
  });
  assert.equal(canNameDrops(filesOf(0, 1), alike), true);
  assert.equal(canNameDrops(filesOf(2, 1), alike), true);
  assert.equal(canNameDrops(filesOf(0, 1, 2), alike), false);
});

test('an ordinal that an order and its pins name more than once is one line', () => {
  const { plan, order } = makePlan({ pins: [9, 0] });
  const twice = { ...order, ordinals: [4, 4, 9, 0], densities: [90, 80, 70, 60] };
  const files = plannedFiles(plan, twice, catalogue);
  assert.deepEqual([...files.ordinals], [4, 9, 0]);
  assert.deepEqual([...files.densities], [90, 70, 60]);
});

test('an empty plan is a manifest of nothing, and opens', async () => {
  const { plan } = makePlan();
  const bytes = await encodeManifest(keys.key, plan, 1, manifestContent([]), NOW_MS);
  const opened = await readManifest(bytes, keys.ring, { applianceId: 'box-1', versionInUse: 0 });
  assert.ok(opened.ok);
  assert.deepEqual(opened.value.entries, []);
});

test('a manifest that is not whole, not ours, not new or not signed by us is refused with its reason', async () => {
  const good = await encoded();
  const altered = Buffer.from(good);
  altered[altered.length - 3] ^= 1;
  const headerAltered = Buffer.from(good);
  headerAltered[120] ^= 2;
  const bomb = zstdCompressSync(Buffer.alloc(20 * 1024 * 1024));
  const cases: readonly [what: string, bytes: Buffer, refusal: ManifestRefusal][] = [
    ['nothing at all', Buffer.alloc(0), 'manifest-malformed'],
    ['no newline', Buffer.from('abc'), 'manifest-malformed'],
    ['a header that is no JWS', Buffer.from('abc\nrest'), 'manifest-signature'],
    ['signed by a stranger', await encoded(stranger.key), 'manifest-signature'],
    ['an altered header', headerAltered, 'manifest-signature'],
    ['an altered body', altered, 'manifest-body'],
    ['a cut body', good.subarray(0, -4), 'manifest-body'],
    ['for another box', await forged(bodyOf(entry), { applianceId: 'box-2' }), 'manifest-not-ours'],
    ['for another cluster', await forged(bodyOf(entry), { clusterId: 'c2' }), 'manifest-not-ours'],
    ['of another epoch', await forged(bodyOf(entry), { epoch: 4 }), 'manifest-epoch'],
    ['the version in use', await forged(bodyOf(entry), { version: 1 }), 'manifest-stale'],
    ['a delta', await forged(bodyOf(entry), { kind: 'delta' }), 'manifest-delta'],
    ['a body that is no zstd', await forged(Buffer.from('x'), {}), 'manifest-body'],
    ['a decompression bomb', await forged(bomb, {}), 'manifest-body'],
    ['too few entries', await forged(bodyOf(entry), { entries: 2 }), 'manifest-entries'],
    ['too many entries', await forged(bodyOf(entry, entry), {}), 'manifest-entries'],
    ['a file twice', await forged(bodyOf(entry, entry), { entries: 2 }), 'manifest-entries'],
    ['an unknown field', await forged(bodyOf({ ...entry, evil: 1 }), {}), 'manifest-entries'],
    ['no JSON', await forged(zstdCompressSync('{\n'), {}), 'manifest-entries'],
    [
      'another set',
      await forged(bodyOf({ ...entry, fileId: fileIdFor(2) }), {}),
      'manifest-digest',
    ],
  ];
  for (const [what, bytes, refusal] of cases) {
    const outcome = await readManifest(bytes, keys.ring, {
      applianceId: 'box-1',
      versionInUse: 1,
      clusterId: 'c1',
      epoch: 3,
    });
    assert.equal(outcome.ok ? 'taken' : outcome.failure.refusal, refusal, what);
    assert.ok(outcome.ok || outcome.failure.detail.length > 0, what);
  }
});

test('a listing signed by the same key does not pass for a manifest', async () => {
  const body = bodyOf(entry);
  const line = await signCompact(keys.key, JWS_TYPE.listing, { version: 2 });
  const outcome = await readManifest(Buffer.concat([Buffer.from(`${line}\n`), body]), keys.ring, {
    applianceId: 'box-1',
    versionInUse: 0,
  });
  assert.equal(outcome.ok ? 'taken' : outcome.failure.refusal, 'manifest-signature');
});

test('the body is NDJSON that any zstd reads', async () => {
  const good = await encoded();
  const text = zstdDecompressSync(good.subarray(good.indexOf(0x0a) + 1)).toString('utf8');
  assert.equal(text.trimEnd().split('\n').length, 3);
});
