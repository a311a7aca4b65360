import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import type { FileEntry } from '../contract.ts';
import { inspectCmaf, type CmafFile } from '../encoder/cmaf.ts';
import { OriginStore } from './origin-store.ts';
import { publishFile, type PublishFileOptions } from './publish-file.ts';
import { publishSample } from './sample.ts';
import type { PublishProgress, PublishTarget } from './publishing.ts';
import { makeTestKeys, TestControlPlane } from './test-control-plane.ts';

const hasFfmpeg = ['ffmpeg', 'ffprobe'].every(
  (tool) => spawnSync(tool, ['-version'], { stdio: 'ignore' }).status === 0,
);
const needsFfmpeg = {
  skip: hasFfmpeg ? false : 'ffmpeg is not installed (apt-get install ffmpeg)',
};

let directory: string;
before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'nightfill-encode-'));
});
after(() => rm(directory, { recursive: true, force: true }));

interface Place {
  readonly controlPlane: TestControlPlane;
  readonly target: PublishTarget;
  readonly store: OriginStore;
}

async function placeOf(context: TestContext): Promise<Place> {
  const controlPlane = new TestControlPlane(await makeTestKeys());
  const controlPlaneUrl = await controlPlane.start();
  context.after(() => controlPlane.stop());
  const originDir = await mkdtemp(path.join(directory, 'origin-'));
  const target = { controlPlaneUrl, token: 'publish-token', originDir };
  return { controlPlane, target, store: new OriginStore(originDir) };
}

/** A source from ffmpeg's generators. */
function generate(name: string, ...args: readonly string[]): string {
  const file = path.join(directory, name);
  const made = spawnSync('ffmpeg', ['-v', 'error', '-y', ...args, file], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  return file;
}
const picture = (form: string): readonly string[] => ['-f', 'lavfi', '-i', `testsrc2=${form}`];
const sound = (seconds: number): readonly string[] =>
  `-f lavfi -i sine=frequency=440:duration=${seconds}`.split(' ');

async function publish(source: string, place: Place, options: PublishFileOptions = {}) {
  const outcome = await publishFile(source, options, place.target);
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.failure.detail);
  return outcome.value;
}

async function cmafOf(store: OriginStore, entry: FileEntry): Promise<CmafFile> {
  const bytes = await readFile(store.filePath(entry.fileId));
  const verdict = inspectCmaf(bytes, bytes.length);
  assert.ok(verdict.kind === 'cmaf');
  return verdict.file;
}

async function keyframeSecondsOf(file: string): Promise<readonly number[]> {
  const args = ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=pts_time,flags'];
  const probed = spawnSync('ffprobe', [...args, '-of', 'csv=p=0', file], { encoding: 'utf8' });
  return probed.stdout
    .split('\n')
    .filter((line) => line.includes('K'))
    .map((line) => Number(line.split(',')[0]));
}

test(
  'a video becomes a ladder with aligned keyframes, one index a file, and sound apart',
  needsFfmpeg,
  async (context) => {
    const source = generate(
      'plain.mkv',
      ...picture('size=640x360:rate=30000/1001:duration=5'),
      ...sound(5),
    );
    const place = await placeOf(context);
    const steps: PublishProgress[] = [];
    const report = await publish(source, place, {
      name: 'Plain',
      onProgress: (step) => steps.push(step),
    });
    assert.equal(report.titleId, 'plain');
    assert.deepEqual(
      report.files.map(({ kind, height }) => [kind, height]),
      [
        ['video', 240],
        ['video', 360],
        ['audio', undefined],
      ],
    );
    assert.deepEqual(
      report.files.map(({ codec }) => codec?.slice(0, 5)),
      ['avc1.', 'avc1.', 'mp4a.'],
    );
    const [low, high] = report.files;
    assert.equal(high.frameRate, 29.97);
    assert.ok(low.peakBps! >= low.bitrateBps! && low.bitrateBps! > 1000);
    const indexes = await Promise.all([low, high].map((entry) => cmafOf(place.store, entry)));
    const durations = indexes.map(({ index }) => index.segments.map((one) => one.durationTicks / index.timescale)); // prettier-ignore
    assert.deepEqual(durations[0], durations[1]);
    assert.deepEqual(
      durations[0].map((seconds) => Math.round(seconds * 1000)),
      [2002, 2002, 1001],
    );
    const keyframes = await Promise.all([low, high].map(({ fileId }) => keyframeSecondsOf(place.store.filePath(fileId)))); // prettier-ignore
    assert.deepEqual(keyframes[0], keyframes[1]);
    assert.equal(keyframes[0].length, 3);
    for (const entry of report.files) {
      const cmaf = await cmafOf(place.store, entry);
      const { initEndInclusive, sidxStart, sidxEndInclusive } = cmaf;
      assert.deepEqual(entry.index, { initEndInclusive, sidxStart, sidxEndInclusive });
    }
    const encoding = steps.filter((step) => step.step === 'encoding');
    assert.equal(encoding[0].doneSeconds, 0);
    assert.equal(encoding.at(-1)?.doneSeconds, encoding.at(-1)?.totalSeconds);
  },
);

test(
  'the same file again is not encoded, changes nothing and says so; another name is the next version',
  needsFfmpeg,
  async (context) => {
    const source = generate('again.mkv', ...picture('size=320x240:rate=25:duration=2'));
    const place = await placeOf(context);
    const first = await publish(source, place, { titleId: 'again' });
    let encodings = 0;
    const onProgress = (step: PublishProgress): void => {
      if (step.step === 'encoding') encodings++;
    };
    const second = await publish(source, place, { titleId: 'again', onProgress });
    assert.equal(second.outcome, 'unchanged');
    const third = await publish(source, place, { titleId: 'again', name: 'New name', onProgress });
    assert.equal(third.version, 2);
    assert.deepEqual(third.files, first.files);
    assert.equal(encodings, 0);
    // A file lost from the origin is made again, byte for byte: the same id.
    await rm(place.store.filePath(first.files[0].fileId));
    const fourth = await publish(source, place, { titleId: 'again', name: 'New name', onProgress });
    assert.ok(encodings > 0);
    assert.equal(fourth.outcome, 'unchanged');
    assert.equal(fourth.bytesStored, first.files[0].sizeBytes);
  },
);

test(
  'portrait with odd sides, sound only, and a picture without sound are published as what they are',
  needsFfmpeg,
  async (context) => {
    const place = await placeOf(context);
    const odd = generate('odd.mkv', ...picture('size=243x431:rate=24:duration=1'), '-c:v', 'ffv1');
    const portrait = await publish(odd, place);
    assert.deepEqual(
      portrait.files.map(({ width, height }) => [width, height]),
      [[240, 426]],
    );
    const soundOnly = await publish(generate('sound.wav', ...sound(3)), place);
    assert.deepEqual(
      soundOnly.files.map(({ kind, channels }) => [kind, channels]),
      [['audio', 1]],
    );
    assert.equal(place.controlPlane.titles.get('sound')?.durationSeconds, 3);
  },
);

test('files that are no video are refused with what ffprobe said, and nothing is left behind', async (context) => {
  const place = await placeOf(context);
  const text = path.join(directory, 'text.mp4');
  await writeFile(text, 'certainly no video\n'.repeat(100));
  const empty = path.join(directory, 'empty.mp4');
  await writeFile(empty, '');
  const table: [source: string, why: RegExp][] = [
    [empty, /it is empty/],
    [path.join(directory, 'missing.mp4'), /no such file/],
    [directory, /no regular file/],
  ];
  if (hasFfmpeg) {
    table.push([text, /Invalid data found/]);
    table.push([generate('still.png', ...picture('size=64x64'), '-frames:v', '1'), /picture/]);
  }
  for (const [source, why] of table) {
    const outcome = await publishFile(source, {}, place.target);
    assert.ok(!outcome.ok);
    assert.equal(outcome.failure.code, 'not-a-video');
    assert.match(outcome.failure.detail, why);
    assert.match(outcome.failure.detail, /Nothing was stored/);
  }
  assert.deepEqual(await readdir(path.join(place.target.originDir, 'files')), []);
  assert.deepEqual(await readdir(path.join(place.target.originDir, 'tmp')), []);
  assert.equal(place.controlPlane.posts.length, 0);
});

test('without ffmpeg the message says how to install it', async (context) => {
  const place = await placeOf(context);
  const source = path.join(directory, 'any.mp4');
  await writeFile(source, 'x');
  const tools = { ffmpeg: '/nonexistent/ffmpeg', ffprobe: '/nonexistent/ffprobe' };
  const outcome = await publishFile(source, { tools }, place.target);
  assert.ok(!outcome.ok);
  assert.equal(outcome.failure.code, 'ffmpeg-missing');
  assert.match(outcome.failure.detail, /apt-get install ffmpeg/);
});

test('an interrupted encode leaves nothing and announces nothing', needsFfmpeg, async (context) => {
  const place = await placeOf(context);
  const source = generate(
    'long.mkv',
    ...picture('size=640x360:rate=25:duration=20'),
    '-c:v',
    'mpeg4',
  );
  const abort = new AbortController();
  const outcome = await publishFile(
    source,
    { signal: abort.signal, onProgress: () => abort.abort() },
    place.target,
  );
  assert.ok(!outcome.ok);
  assert.equal(outcome.failure.code, 'interrupted');
  assert.deepEqual(await readdir(path.join(place.target.originDir, 'tmp')), []);
  assert.deepEqual(await readdir(path.join(place.target.originDir, 'files')), []);
  assert.equal(place.controlPlane.posts.length, 0);
});

test('with the control plane gone nothing is encoded', needsFfmpeg, async (context) => {
  const place = await placeOf(context);
  const source = generate('gone.mkv', ...picture('size=320x240:rate=25:duration=1'));
  await place.controlPlane.stop();
  const outcome = await publishFile(
    source,
    { onProgress: () => assert.fail('nothing should have been done') },
    place.target,
  );
  assert.ok(!outcome.ok);
  assert.equal(outcome.failure.code, 'control-plane-unreachable');
});

test('the committed sample is published without ffmpeg, whole and small', async (context) => {
  const place = await placeOf(context);
  const first = await publishSample({}, place.target);
  assert.ok(first.ok, first.ok ? '' : first.failure.detail);
  assert.equal(first.value.titleId, 'sample');
  assert.ok(first.value.bytes <= 1024 * 1024);
  for (const entry of first.value.files) {
    const cmaf = await cmafOf(place.store, entry);
    assert.equal(cmaf.track.codec, entry.codec);
    assert.equal(cmaf.sidxStart, entry.index?.sidxStart);
  }
  const second = await publishSample({}, place.target);
  assert.ok(second.ok);
  assert.equal(second.value.outcome, 'unchanged');
});
