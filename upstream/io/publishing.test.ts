import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test, type TestContext } from 'node:test';
import { CHUNK_BYTES, decodeChunkList, type TitleListing } from '../contract.ts';
import { openListing } from '#control-plane/contract.ts';
import { ChunkHasher } from '../chunk-hasher.ts';
import { opaqueBytes, opaqueTitles, parseOpaqueSpec, type OpaqueSpec } from '../opaque.ts';
import { OriginStore } from './origin-store.ts';
import { publishOpaque, type PublishTarget } from './publishing.ts';
import { makeTestKeys, TestControlPlane, type TestKeys } from './test-control-plane.ts';

interface Bench {
  readonly keys: TestKeys;
  readonly controlPlane: TestControlPlane;
  readonly target: PublishTarget;
}

async function benchOf(context: TestContext): Promise<Bench> {
  const directory = await mkdtemp(path.join(tmpdir(), 'nightfill-publish-'));
  const keys = await makeTestKeys();
  const controlPlane = new TestControlPlane(keys);
  const controlPlaneUrl = await controlPlane.start();
  context.after(async () => {
    await controlPlane.stop();
    await rm(directory, { recursive: true, force: true });
  });
  const originDir = path.join(directory, 'origin');
  return { keys, controlPlane, target: { controlPlaneUrl, token: 'publish-token', originDir } };
}

function specOf(text: string): OpaqueSpec {
  const parsed = parseOpaqueSpec(text);
  assert.ok(parsed.ok);
  return parsed.value;
}

const SPEC = specOf(`files=${2 * CHUNK_BYTES + 5},1000;seed=3`);

test('an opaque title is stored, announced, and its signed listing is kept', async (context) => {
  const { keys, controlPlane, target } = await benchOf(context);
  const outcome = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(outcome.ok);
  const [report] = outcome.value;
  assert.equal(report.outcome, 'published');
  assert.equal(report.version, 1);
  assert.equal(report.bytesStored, 2 * CHUNK_BYTES + 1005);
  assert.deepEqual(controlPlane.titles.get('a')?.files, report.files);

  const store = new OriginStore(target.originDir);
  for (const [at, { seed, sizeBytes }] of opaqueTitles(SPEC)[0].files.entries()) {
    const { fileId } = report.files[at];
    const expected = Buffer.concat([...opaqueBytes(seed, sizeBytes)]);
    assert.deepEqual(await readFile(store.filePath(fileId)), expected);
    const list = decodeChunkList(await readFile(store.chunkListPath(fileId)), fileId);
    assert.ok(list.ok);
    assert.equal(list.value.sizeBytes, sizeBytes);
    const hasher = new ChunkHasher();
    hasher.update(expected);
    assert.equal(hasher.finish()?.fileId, fileId);
  }
  const signed = await openListing((await store.readListing('a')) ?? '', keys.ring);
  assert.ok(signed.ok);
  assert.deepEqual(signed.value, controlPlane.titles.get('a'));
  assert.deepEqual(await readdir(path.join(target.originDir, 'tmp')), []);
});

test('publishing the same again says so and announces nothing', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  await publishOpaque(SPEC, { titleId: 'a' }, target);
  const before = await treeOf(target.originDir);
  const outcome = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(outcome.ok);
  assert.equal(outcome.value[0].outcome, 'unchanged');
  assert.equal(outcome.value[0].version, 1);
  assert.equal(outcome.value[0].bytesStored, 0);
  assert.equal(controlPlane.posts.length, 1);
  assert.deepEqual(await treeOf(target.originDir), before);
});

test('other content under the same id is the next version, and the old files stay', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  const first = await publishOpaque(SPEC, { titleId: 'a' }, target);
  const second = await publishOpaque(specOf('files=1000;seed=4'), { titleId: 'a' }, target);
  assert.ok(first.ok && second.ok);
  assert.equal(second.value[0].outcome, 'updated');
  assert.equal(controlPlane.titles.get('a')?.version, 2);
  const record = await new OriginStore(target.originDir).readRecord('a');
  assert.deepEqual(
    record?.formerFileIds,
    first.value[0].files.map(({ fileId }) => fileId),
  );
});

test('many titles are announced in order, each with its own files', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  const seen: number[] = [];
  const outcome = await publishOpaque(
    specOf('titles=12;files=1x1KiB..8KiB;seed=5'),
    {
      titleId: 'small',
      onProgress: (progress) => {
        if (progress.step === 'title') seen.push(progress.done);
      },
    },
    target,
  );
  assert.ok(outcome.ok);
  const ids = controlPlane.posts.map(({ titleId }) => titleId);
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(ids.length, 12);
  assert.deepEqual(
    seen,
    Array.from({ length: 12 }, (_, at) => at + 1),
  );
  assert.equal(new Set(outcome.value.map(({ files }) => files[0].fileId)).size, 12);
});

test('when a title is announced, the origin can serve every file of it', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  let checked = 0;
  controlPlane.beforePost = async () => {
    const store = new OriginStore(target.originDir);
    const record = await store.readRecord('a');
    assert.ok(record !== null);
    for (const { fileId, sizeBytes } of record.listing.files) {
      assert.ok(await store.holds(fileId, sizeBytes));
      checked++;
    }
  };
  assert.ok((await publishOpaque(SPEC, { titleId: 'a' }, target)).ok);
  assert.equal(checked, 2);
});

test('with the control plane gone nothing is stored, and the message says where it was looked for', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  await controlPlane.stop();
  const outcome = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(!outcome.ok);
  assert.equal(outcome.failure.code, 'control-plane-unreachable');
  assert.ok(outcome.failure.detail.includes(target.controlPlaneUrl));
  assert.deepEqual(await readdir(path.join(target.originDir, 'files')), []);
  assert.deepEqual(await readdir(path.join(target.originDir, 'tmp')), []);
});

test('a control plane that goes away while it is told leaves the files stored, and the next publish ends the work', async (context) => {
  const { keys, controlPlane, target } = await benchOf(context);
  controlPlane.beforePost = () => controlPlane.stop();
  const broken = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(!broken.ok);
  assert.match(broken.failure.detail, /stored in the origin but not announced.*publish again/is);
  assert.equal(controlPlane.titles.size, 0);

  const next = new TestControlPlane(keys);
  const controlPlaneUrl = await next.start();
  context.after(() => next.stop());
  const mended = await publishOpaque(SPEC, { titleId: 'a' }, { ...target, controlPlaneUrl });
  assert.ok(mended.ok);
  assert.equal(mended.value[0].bytesStored, 0);
  assert.equal(next.titles.get('a')?.version, 1);
});

test('a title announced whose signed listing could not be fetched is mended by publishing again', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  controlPlane.refuseSigned = true;
  const broken = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(!broken.ok);
  controlPlane.refuseSigned = false;
  const mended = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(mended.ok);
  assert.equal(mended.value[0].outcome, 'unchanged');
  assert.ok((await new OriginStore(target.originDir).readListing('a')) !== null);
});

test('somebody else who publishes the same title meanwhile is not overwritten: the next version is taken', async (context) => {
  const { controlPlane, target } = await benchOf(context);
  controlPlane.beforePost = () => {
    controlPlane.beforePost = null;
    const other: TitleListing = {
      titleId: 'a',
      version: 1,
      kind: 'opaque',
      name: 'other',
      durationSeconds: 0,
      class: 'catalogue',
      availability: [{ countries: ['FR'] }],
      files: [{ fileId: 'x'.repeat(43), sizeBytes: 1, kind: 'opaque', protection: 'none' }],
    };
    controlPlane.titles.set('a', other);
  };
  const outcome = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(outcome.ok);
  assert.equal(outcome.value[0].version, 2);
});

test('a refused token is explained', async (context) => {
  const { target } = await benchOf(context);
  const outcome = await publishOpaque(SPEC, { titleId: 'a' }, { ...target, token: 'wrong' });
  assert.ok(!outcome.ok);
  assert.match(outcome.failure.detail, /role "publish"/);
});

test('an origin directory of another format is refused', async (context) => {
  const { target } = await benchOf(context);
  await mkdir(target.originDir, { recursive: true });
  await writeFile(path.join(target.originDir, 'format'), '7\n');
  const outcome = await publishOpaque(SPEC, { titleId: 'a' }, target);
  assert.ok(!outcome.ok);
  assert.match(outcome.failure.detail, /written by format 7/);
});

test('what a killed publish left in tmp/ is removed by the next one; a running one keeps its corner', async (context) => {
  const { target } = await benchOf(context);
  const script = `
    import { OriginStore } from ${JSON.stringify(path.join(import.meta.dirname, 'origin-store.ts'))};
    import { writeFileSync } from 'node:fs';
    const run = await new OriginStore(${JSON.stringify(target.originDir)}).beginRun();
    writeFileSync(run.directory + '/half', 'x'.repeat(100000));
    console.log('written');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: path.join(import.meta.dirname, '../..'),
  });
  context.after(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const temporary = path.join(target.originDir, 'tmp');

  assert.ok((await publishOpaque(SPEC, { titleId: 'a' }, target)).ok);
  assert.equal((await readdir(temporary)).length, 1, 'the running publish keeps its directory');

  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  const [left] = await readdir(temporary);
  assert.equal((await stat(path.join(temporary, left, 'half'))).size, 100_000);
  assert.ok((await publishOpaque(SPEC, { titleId: 'a' }, target)).ok);
  assert.deepEqual(await readdir(temporary), []);
});

/** Every file with its size and time of change: what did not change at all is equal. */
async function treeOf(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory, { recursive: true });
  const lines: string[] = [];
  for (const name of names.toSorted()) {
    const { size, mtimeMs, ino } = await stat(path.join(directory, name));
    if (name !== 'tmp') lines.push(`${name} ${size} ${mtimeMs} ${ino}`);
  }
  return lines;
}
