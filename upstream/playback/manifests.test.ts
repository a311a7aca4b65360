import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { PlayAnswer } from '#steering/contract.ts';
import type { FileEntry, TitleListing } from '../contract.ts';
import { walkBoxes } from '../encoder/boxes.ts';
import { inspectCmaf } from '../encoder/cmaf.ts';
import { mediaPresentation } from './dash.ts';
import { mediaPlaylist, multivariantPlaylist } from './hls.ts';
import { pathwaysOf } from './pathways.ts';
import { audioNames, tracksOf, type StreamFile, type Tracks } from './tracks.ts';

const SAMPLE = path.join(import.meta.dirname, '..', 'sample');
const sample = JSON.parse(readFileSync(path.join(SAMPLE, 'sample.json'), 'utf8')) as {
  durationSeconds: number;
  files: { name: string; entry: FileEntry }[];
};
const bytesOf = (fileId: string): Buffer => {
  const found = sample.files.find(({ entry }) => entry.fileId === fileId);
  assert.ok(found !== undefined);
  return readFileSync(path.join(SAMPLE, found.name));
};

function listingOf(files: readonly FileEntry[]): TitleListing {
  return {
    titleId: 'sample',
    version: 1,
    kind: 'film',
    name: 'Sample',
    durationSeconds: sample.durationSeconds,
    class: 'catalogue',
    availability: [{ countries: ['*'] }],
    files: [...files],
  };
}

function streamable(files: readonly FileEntry[]): Tracks {
  const tracks = tracksOf(listingOf(files));
  assert.ok(typeof tracks !== 'string');
  return tracks;
}

const entries = sample.files.map(({ entry }) => entry);
const tracks = streamable(entries);
const [audioEntry] = tracks.audio;

/** Steering's answer: each file's boxes in order, the origin last. */
function answerOf(boxesOf: Readonly<Record<string, readonly string[]>>): PlayAnswer {
  return {
    titleId: 'sample',
    ttlSeconds: 30,
    home: 'paris',
    epochs: { snapshot: 1, prefixes: 1, holdings: 1, load: 1 },
    files: Object.entries(boxesOf).map(([fileId, boxes]) => ({
      fileId,
      reason: 'home',
      urls: [...boxes, 'origin'].map((pathwayId) => ({
        url: `http://${pathwayId}.test/;URISigningPackage=T/t/sample/${fileId}`,
        pathwayId,
        kind: pathwayId === 'origin' ? 'origin' : 'appliance',
      })),
    })),
    steering: { hls: 'https://steer.test/v1/hls/s', dash: 'https://steer.test/v1/dash/s' },
  };
}

const everywhere = (...boxes: readonly string[]): PlayAnswer =>
  answerOf(Object.fromEntries(entries.map(({ fileId }) => [fileId, boxes])));

function multivariantOf(answer: PlayAnswer, of: Tracks = tracks): readonly string[] {
  const text = multivariantPlaylist({
    tracks: of,
    pathways: pathwaysOf(answer),
    steeringUrl: answer.steering.hls,
    playlistUrl: (pathwayId, fileId) =>
      `https://play.test/hls/S/${pathwayId}/${fileId}.m3u8?title=a`,
  });
  assert.ok(text.endsWith('\n'));
  return text.trimEnd().split('\n');
}

function attribute(line: string, name: string): string | undefined {
  return new RegExp(`[:,]${name}=("[^"]*"|[^",]*)`).exec(line)?.[1].replaceAll('"', '');
}

const idsOf = (answer: PlayAnswer): readonly string[] =>
  pathwaysOf(answer).map(({ pathwayId }) => pathwayId);

test('pathways are the boxes in steering’s order, four at most, the origin last', () => {
  assert.deepEqual(idsOf(everywhere('a', 'b')), ['a', 'b', 'origin']);
  assert.deepEqual(idsOf(everywhere('a', 'b', 'c', 'd')), ['a', 'b', 'c', 'origin']);
  assert.deepEqual(idsOf(everywhere()), ['origin']);
});

test('a box that is first for more files comes first', () => {
  const [x, y, z] = entries.map(({ fileId }) => fileId);
  const answer = answerOf({ [x]: ['b', 'a'], [y]: ['a', 'b'], [z]: ['a'] });
  assert.deepEqual(idsOf(answer), ['a', 'b', 'origin']);
});

test('a pathway whose box is not ranked for a file leads to the best box of that file', () => {
  const [x, y] = entries.map(({ fileId }) => fileId);
  const [a, b] = pathwaysOf(answerOf({ [x]: ['a', 'b'], [y]: ['a'] }));
  assert.equal(b.urls.get(x), `http://b.test/;URISigningPackage=T/t/sample/${x}`);
  assert.equal(b.urls.get(y), a.urls.get(y));
  assert.equal(b.baseUrl, 'http://b.test/;URISigningPackage=T/t/sample/');
});

test('the multivariant playlist has the whole ladder per pathway, groups apart, and one steering tag', () => {
  const lines = multivariantOf(everywhere('a', 'b'));
  const steering = lines.filter((line) => line.startsWith('#EXT-X-CONTENT-STEERING:'));
  assert.equal(steering.length, 1);
  assert.equal(attribute(steering[0], 'SERVER-URI'), 'https://steer.test/v1/hls/s');
  assert.equal(attribute(steering[0], 'PATHWAY-ID'), 'a');
  assert.ok(lines.includes('#EXT-X-INDEPENDENT-SEGMENTS'));

  const variants = lines.filter((line) => line.startsWith('#EXT-X-STREAM-INF:'));
  assert.equal(variants.length, 2 * 3);
  assert.equal(attribute(variants[0], 'PATHWAY-ID'), 'a');
  const ladderOf = (pathwayId: string): readonly (string | undefined)[] =>
    variants
      .filter((line) => attribute(line, 'PATHWAY-ID') === pathwayId)
      .map((line) => attribute(line, 'STABLE-VARIANT-ID'));
  assert.deepEqual(
    ladderOf('a'),
    tracks.video.map(({ fileId }) => fileId),
  );
  assert.deepEqual(ladderOf('b'), ladderOf('a'));
  assert.deepEqual(ladderOf('origin'), ladderOf('a'));

  const media = lines.filter((line) => line.startsWith('#EXT-X-MEDIA:'));
  assert.deepEqual(
    media.map((line) => attribute(line, 'GROUP-ID')),
    ['a-a', 'a-b', 'a-origin'],
  );
  assert.ok(media.every((line) => attribute(line, 'STABLE-RENDITION-ID') === audioEntry.fileId));
  for (const line of variants) {
    assert.equal(attribute(line, 'AUDIO'), `a-${attribute(line, 'PATHWAY-ID')}`);
    const uri = lines[lines.indexOf(line) + 1];
    assert.equal(
      uri,
      `https://play.test/hls/S/${attribute(line, 'PATHWAY-ID')}/${attribute(line, 'STABLE-VARIANT-ID')}.m3u8?title=a`,
    );
  }
});

test('a variant says the rates of picture and sound together, codecs, size and frame rate', () => {
  const [low] = tracks.video;
  const [line] = multivariantOf(everywhere('a')).filter((one) => one.startsWith('#EXT-X-STREAM'));
  assert.equal(attribute(line, 'BANDWIDTH'), String(low.peakBps + audioEntry.peakBps));
  const average = low.bitrateBps + audioEntry.bitrateBps;
  assert.equal(attribute(line, 'AVERAGE-BANDWIDTH'), String(average));
  assert.equal(attribute(line, 'CODECS'), 'avc1.4d4015,mp4a.40.2');
  assert.equal(attribute(line, 'RESOLUTION'), '426x240');
  assert.equal(attribute(line, 'FRAME-RATE'), '25.000');
});

test('without sound there is no group; without pictures each sound track is a variant', () => {
  const silent = multivariantOf(everywhere('a'), streamable(entries.filter(({ kind }) => kind === 'video'))); // prettier-ignore
  assert.ok(!silent.some((line) => line.includes('AUDIO') || line.startsWith('#EXT-X-MEDIA:')));
  const sound = multivariantOf(everywhere('a'), streamable([audioEntry]));
  assert.ok(!sound.some((line) => line.startsWith('#EXT-X-MEDIA:')));
  const variants = sound.filter((line) => line.startsWith('#EXT-X-STREAM-INF:'));
  assert.equal(variants.length, 2);
  assert.equal(attribute(variants[0], 'CODECS'), 'mp4a.40.2');
});

test('sound tracks are named by language, each name once', () => {
  const of = (language?: string) => ({ ...audioEntry, ...(language === undefined ? {} : { language }) }) as StreamFile; // prettier-ignore
  assert.deepEqual(audioNames([of('en'), of('fr'), of('en'), of()]), ['English', 'French', 'English 2', 'Audio']); // prettier-ignore
});

test('nothing in a listing can break out of an attribute or a line', () => {
  const nasty = { ...audioEntry, language: 'x"\n#EXT-X-EVIL:y', codec: 'mp4a"\n<evil/>' };
  const of = streamable([tracks.video[0], nasty]);
  const lines = multivariantOf(everywhere('a'), of);
  assert.ok(lines.every((line) => !line.startsWith('#EXT-X-EVIL')));
  const mpd = mediaPresentation({ durationSeconds: 1, tracks: of, pathways: pathwaysOf(everywhere('a')), steeringUrl: 'x' }); // prettier-ignore
  assert.ok(!mpd.includes('<evil/>'));
});

for (const file of [...tracks.video, ...tracks.audio]) {
  test(`the media playlist of ${file.kind} ${file.height ?? ''} covers the file: init, then moof after moof, to the last byte`, () => {
    const bytes = bytesOf(file.fileId);
    const verdict = inspectCmaf(bytes, bytes.length);
    assert.ok(verdict.kind === 'cmaf');
    const url = 'http://box.test/;URISigningPackage=T/t/sample/x';
    const lines = mediaPlaylist(file, verdict.file.index, url).trimEnd().split('\n');
    const map = lines.find((line) => line.startsWith('#EXT-X-MAP:')) ?? '';
    assert.equal(attribute(map, 'URI'), url);
    const initBytes = Number(/BYTERANGE="(\d+)@0"/.exec(map)?.[1]);
    const init = walkBoxes(bytes, 0, initBytes);
    assert.equal(init.problem, null);
    assert.deepEqual(
      init.boxes.map(({ type }) => type),
      ['ftyp', 'moov'],
    );
    const target = Number(/TARGETDURATION:(\d+)/.exec(lines.join('\n'))?.[1]);
    let next = file.index.sidxEndInclusive + 1;
    let seconds = 0;
    for (const [at, line] of lines.entries()) {
      const range = /^#EXT-X-BYTERANGE:(\d+)@(\d+)$/.exec(line);
      if (range === null) continue;
      assert.equal(Number(range[2]), next);
      assert.equal(bytes.toString('latin1', next + 4, next + 8), 'moof');
      next += Number(range[1]);
      const duration = Number(/^#EXTINF:([\d.]+),$/.exec(lines[at - 1])?.[1]);
      assert.ok(Math.round(duration) <= target);
      seconds += duration;
      assert.equal(lines[at + 1], url);
    }
    assert.equal(next, bytes.length);
    assert.ok(Math.abs(seconds - sample.durationSeconds) < 0.1);
    assert.equal(lines.at(-1), '#EXT-X-ENDLIST');
  });
}

test('the DASH manifest’s ranges are the file’s, and its URLs are base and fileId', () => {
  const pathways = pathwaysOf(everywhere('a', 'b'));
  const steeringUrl = 'https://steer.test/v1/dash/s?a=1&b=2';
  const text = mediaPresentation({ durationSeconds: 24, tracks, pathways, steeringUrl });
  assert.match(text, /<MPD [^>]*type="static"[^>]*mediaPresentationDuration="PT24S"/);
  assert.match(text, /<ContentSteering defaultServiceLocation="a"[^>]*>[^<]*a=1&amp;b=2</);
  assert.deepEqual(
    [...text.matchAll(/<BaseURL serviceLocation="([^"]+)">([^<]+)</g)].map((match) => match[1]),
    ['a', 'b', 'origin'],
  );
  const found = [...text.matchAll(/<Representation id="([^"]+)"[\s\S]*?<\/Representation>/g)];
  assert.equal(found.length, 3);
  for (const [representation, fileId] of found) {
    const bytes = bytesOf(fileId);
    const [, start, end] = /indexRange="(\d+)-(\d+)"/.exec(representation) ?? [];
    const { boxes } = walkBoxes(bytes, Number(start), Number(end) + 1);
    assert.deepEqual(
      boxes.map(({ type }) => type),
      ['sidx'],
    );
    const initEnd = Number(/Initialization range="0-(\d+)"/.exec(representation)?.[1]);
    const init = walkBoxes(bytes, 0, initEnd + 1);
    assert.deepEqual([init.problem, ...init.boxes.map(({ type }) => type)], [null, 'ftyp', 'moov']);
    const url = new URL(`${pathways[0].baseUrl}${/<BaseURL>([^<]+)</.exec(representation)?.[1]}`);
    assert.equal(url.href, pathways[0].urls.get(fileId));
  }
  assert.match(text, /contentType="audio"[\s\S]*AudioChannelConfiguration[^>]*value="1"/);
});

test('a frame rate of 29.97 is written as the fraction that it is', () => {
  const film = { ...tracks, video: [{ ...tracks.video[0], frameRate: 29.97 }] };
  const text = mediaPresentation({ durationSeconds: 24, tracks: film, pathways: pathwaysOf(everywhere('a')), steeringUrl: 'x' }); // prettier-ignore
  assert.match(text, /frameRate="30000\/1001"/);
});

test('opaque titles and titles without an index are told apart from what streams', () => {
  const opaque: FileEntry = { fileId: 'x'.repeat(43), sizeBytes: 1, kind: 'opaque', protection: 'none' }; // prettier-ignore
  assert.equal(tracksOf(listingOf([opaque])), 'opaque');
  const { index: _index, ...bare } = audioEntry;
  assert.equal(tracksOf(listingOf([bare])), 'no-index');
});

test('of a very large title as many files are shown as one question to steering covers, video and audio', () => {
  const many = Array.from({ length: 100 }, (_, at): FileEntry => {
    const fileId = String(at).padStart(43, 'f');
    return { ...(at < 60 ? tracks.video[0] : audioEntry), fileId };
  });
  const { video, audio } = streamable(many);
  assert.deepEqual([video.length, audio.length], [32, 32]);
});
