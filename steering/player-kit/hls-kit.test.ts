import assert from 'node:assert/strict';
import { test } from 'node:test';
import Hls from 'hls.js';
import { basesOf, sourcesOf } from './bases.js';
import { attachKit, failedPathway, kitConfig, LOAD_POLICY, rotate } from './hls-kit.js';

const FILE_ID = 'f'.repeat(43);
const URL_AT_A = `http://127.0.1.1:8080/;URISigningPackage=e30.e30.sig/t/film/${FILE_ID}`;
const BASES = {
  a: 'http://127.0.1.1:8080',
  b: 'http://127.0.1.2:8080',
  origin: 'http://127.0.0.1:8000',
};

test('the load policy is of the form that hls.js has', () => {
  for (const name of ['fragLoadPolicy', 'playlistLoadPolicy'] as const) {
    const theirs = Hls.DefaultConfig[name].default;
    const ours = LOAD_POLICY[name].default;
    assert.deepEqual(Object.keys(ours).sort(), Object.keys(theirs).sort());
    assert.ok(ours.maxTimeToFirstByteMs < theirs.maxTimeToFirstByteMs);
    assert.ok((ours.errorRetry.maxNumRetry ?? 0) >= 1);
  }
});

test('a media URL is at the same path on every base, its own box first', () => {
  const sources = sourcesOf(URL_AT_A.replace('127.0.1.1', '127.0.1.2'), BASES);
  assert.deepEqual(
    sources.map(({ id }) => id),
    ['b', 'a', 'origin'],
  );
  for (const { url } of sources)
    assert.ok(url.endsWith(`/;URISigningPackage=e30.e30.sig/t/film/${FILE_ID}`));
  const stranger = sourcesOf(URL_AT_A.replace('127.0.1.1', '127.0.9.9'), BASES);
  assert.equal(stranger.length, 4);
  assert.equal(stranger[0].id, 'http://127.0.9.9:8080');
});

test('bases come out of a play answer in order of rank, the origin last', () => {
  const urls = (ids: readonly string[]) =>
    ids.map((id) => ({
      pathwayId: id,
      kind: id === 'origin' ? 'origin' : 'appliance',
      url: `http://${id}:80/;URISigningPackage=x/t/film/${FILE_ID}`,
    }));
  const answer = {
    files: [{ urls: urls(['a', 'b', 'origin']) }, { urls: urls(['c', 'a', 'origin']) }],
  };
  assert.deepEqual(Object.keys(basesOf(answer)), ['a', 'c', 'b', 'origin']);
  assert.deepEqual(
    basesOf({ session: 's', play: answer }),
    basesOf(answer),
    'as playback wraps it',
  );
});

test('which pathway an error is about: table', () => {
  const hls = {
    pathwayPriority: ['a', 'b'],
    levels: [{ pathwayId: 'a' }, { pathwayId: 'b' }],
  };
  const cases: readonly [string, object, string | null][] = [
    ['a fragment, by its box', { frag: { type: 'main', level: 1, url: URL_AT_A } }, 'a'],
    [
      'audio, by its box',
      { frag: { type: 'audio', level: 0, url: URL_AT_A.replace('1.1:', '1.2:') } },
      'b',
    ],
    ['a playlist, by its path', { url: 'http://play/hls/s1/b/x.m3u8' }, 'b'],
    [
      'audio of an unknown box, by its playlist',
      {
        frag: {
          type: 'audio',
          level: 0,
          url: 'http://x/t',
          baseurl: 'http://play/hls/s1/b/x.m3u8',
        },
      },
      'b',
    ],
    [
      'a fragment of an unknown box, by its variant',
      { frag: { type: 'main', level: 1, url: 'http://x/t' } },
      'b',
    ],
    [
      'audio of which nothing is known',
      { frag: { type: 'audio', level: 1, url: 'http://x/t' } },
      null,
    ],
  ];
  for (const [title, data, expected] of cases) {
    assert.equal(failedPathway(hls, data, BASES), expected, title);
  }
});

test('only the pathway in use moves to the end: a second error of the same box changes nothing', () => {
  assert.deepEqual(rotate(['a', 'b', 'origin'], 'a'), ['b', 'origin', 'a']);
  assert.equal(rotate(['b', 'origin', 'a'], 'a'), null);
  assert.equal(rotate(['a'], 'a'), null);
  assert.equal(rotate(null, 'a'), null);
});

test('the first failed fragment moves the player, other errors do not', () => {
  const handlers: ((name: string, data: object) => void)[] = [];
  const hls = {
    pathwayPriority: ['a', 'b', 'origin'],
    levels: [],
    on: (_name: string, handler: (name: string, data: object) => void) => handlers.push(handler),
  };
  const switches: object[] = [];
  attachKit(hls, kitConfig({ bases: BASES, onSwitch: (event) => switches.push(event) }));
  const [raise] = handlers;
  const frag = { type: 'main', level: 0, url: URL_AT_A };
  raise('hlsError', { details: 'bufferAppendError', frag });
  assert.deepEqual(hls.pathwayPriority, ['a', 'b', 'origin']);
  raise('hlsError', { details: 'fragLoadError', frag });
  raise('hlsError', { details: 'fragLoadTimeOut', frag: { ...frag, type: 'audio' } });
  assert.deepEqual(hls.pathwayPriority, ['b', 'origin', 'a']);
  assert.deepEqual(switches, [{ kind: 'pathway', from: 'a', to: 'b', why: 'fragLoadError' }]);
});

const CONTENT = Uint8Array.from({ length: 1000 }, (_, at) => at % 251);

/** Boxes that answer, or do not, without a network: the network is in range-continuation.test.ts. */
function fetchFrom(dead: readonly string[]): typeof fetch {
  return (url, init) => {
    const { host } = new URL(url as string);
    if (dead.some((one) => host.startsWith(one)))
      return Promise.reject(new TypeError('fetch failed'));
    const { range } = init!.headers as { range: string };
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(range)!;
    return Promise.resolve(
      new Response(CONTENT.slice(Number(from), Number(to) + 1), {
        status: 206,
        headers: { etag: `"${FILE_ID}"`, 'content-range': `bytes ${from}-${to}/1000` },
      }),
    );
  };
}

interface Loaded {
  readonly kind: 'success' | 'error' | 'timeout';
  readonly data: unknown;
  readonly loaded: number;
}

function load(dead: readonly string[], url = URL_AT_A, rangeEnd = 600): Promise<Loaded> {
  const kit = kitConfig({ bases: BASES, fetch: fetchFrom(dead), limits: { roundDelayMs: 1 } });
  const { fLoader } = kit.config as unknown as {
    fLoader: new (config: object) => {
      load(context: object, config: object, callbacks: object): void;
      stats: { loaded: number; loading: { start: number; first: number; end: number } };
    };
  };
  const loader = new fLoader({});
  return new Promise((resolve) => {
    const end = (kind: Loaded['kind']) => (result: { data?: unknown; text?: string }) => {
      resolve({ kind, data: result.data ?? result.text, loaded: loader.stats.loaded });
    };
    loader.load(
      { url, rangeStart: 100, rangeEnd, responseType: 'arraybuffer', frag: { level: 0 } },
      { loadPolicy: { maxLoadTimeMs: 5000 } },
      { onSuccess: end('success'), onError: end('error'), onTimeout: end('timeout') },
    );
  });
}

test('the loader gives hls.js the fragment’s bytes, from another box where its own is dead', async () => {
  for (const dead of [[], ['127.0.1.1'], ['127.0.1.1', '127.0.1.2']]) {
    const { kind, data, loaded } = await load(dead);
    assert.equal(kind, 'success', dead.join());
    assert.deepEqual(new Uint8Array(data as ArrayBuffer), CONTENT.slice(100, 600));
    assert.equal(loaded, 500);
  }
});

test('the loader tells hls.js when every box failed, and refuses what is no range of a file', async () => {
  const all = await load(['127.0.1.1', '127.0.1.2', '127.0.0.1']);
  assert.equal(all.kind, 'error');
  assert.match(String(all.data), /no box gave the range: a fetch failed/);
  assert.equal((await load([], 'http://127.0.1.1:8080/other')).kind, 'error');
  assert.equal((await load([], URL_AT_A, 0)).kind, 'error');
});
