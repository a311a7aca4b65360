import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attachKit, continuingLoader, SETTINGS } from './dash-kit.js';

const FILE_ID = 'f'.repeat(43);
const URL_AT_A = `http://127.0.1.1:8080/;URISigningPackage=e30.e30.sig/t/film/${FILE_ID}`;
const BASES = { a: 'http://127.0.1.1:8080', b: 'http://127.0.1.2:8080' };
const CONTENT = Uint8Array.from({ length: 1000 }, (_, at) => at % 251);

/** Boxes that answer, are dead, or never say anything. The network itself is in range-continuation.test.ts. */
function fetchFrom(dead: readonly string[], isSilent = false): typeof fetch {
  return (url, init) => {
    if (isSilent) {
      return new Promise((_, reject) => {
        init?.signal?.addEventListener('abort', () => reject(new TypeError('aborted')));
      });
    }
    const { host } = new URL(url as string);
    if (dead.some((one) => host.startsWith(one))) return Promise.reject(new TypeError('refused'));
    const { range } = init!.headers as { range: string };
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(range)!;
    const headers = { etag: `"${FILE_ID}"`, 'content-range': `bytes ${from}-${to}/1000` };
    const body = CONTENT.slice(Number(from), Number(to) + 1);
    return Promise.resolve(new Response(body, { status: 206, headers }));
  };
}

interface Ask {
  readonly url?: string;
  readonly range?: string;
  readonly timeout?: number;
  readonly fetch?: typeof fetch;
  readonly onStart?: (request: { customData: { abort?: () => void } }) => void;
}

/** What dash.js is told, in order, and what it then finds in the response. */
async function load(ask: Ask): Promise<{
  readonly told: readonly string[];
  readonly response: { status: number; data?: ArrayBuffer };
}> {
  const told: string[] = [];
  const response: { status: number; data?: ArrayBuffer } = { status: 0 };
  const Loader = continuingLoader({
    bases: BASES,
    fetch: ask.fetch,
    limits: { roundDelayMs: 1 },
  }) as (this: { parent: object }) => { load(request: object, response: object): void };
  const parent = {
    load: () => {
      told.push('loaded by dash.js');
      end();
    },
  };
  let end = (): void => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const customData: { abort?: () => void; [callback: string]: unknown } = {
    onprogress: ({ loaded, total }: { loaded: number; total: number }) =>
      told.push(`${loaded} of ${total}`),
    onloadend: () => {
      told.push('ended');
      end();
    },
    onabort: () => {
      told.push('aborted');
      end();
    },
    ontimeout: () => told.push('timed out'),
  };
  const request = {
    url: ask.url ?? URL_AT_A,
    headers: { Range: ask.range ?? 'bytes=100-599' },
    timeout: ask.timeout ?? 0,
    customData,
  };
  Loader.call({ parent }).load(request, response);
  ask.onStart?.(request);
  await ended;
  await new Promise((resolve) => {
    setTimeout(resolve, 5); // whatever would come too late
  });
  return { told, response };
}

test('dash.js gets the segment’s bytes, from another box where its own is dead', async () => {
  for (const dead of [[], ['127.0.1.1']]) {
    const { told, response } = await load({ fetch: fetchFrom(dead) });
    assert.deepEqual(told, ['500 of 500', 'ended'], dead.join());
    assert.equal(response.status, 206);
    assert.deepEqual(new Uint8Array(response.data!), CONTENT.slice(100, 600));
  }
});

test('when every box failed dash.js is told so and tries again by its own rules', async () => {
  const { told, response } = await load({ fetch: fetchFrom(['127.0.1.1', '127.0.1.2']) });
  assert.deepEqual(told, ['ended']);
  assert.equal(response.status, 0);
  assert.equal(response.data, undefined);
});

test('what is no byte range of a file is loaded by dash.js itself', async () => {
  for (const ask of [
    { url: 'http://127.0.1.1:8080/play/film/manifest.mpd' },
    { url: `http://127.0.1.1:8080/t/film/${FILE_ID}`, range: 'bytes=100-' },
    { url: 'not a URL' },
  ]) {
    assert.deepEqual((await load(ask)).told, ['loaded by dash.js'], JSON.stringify(ask));
  }
});

test('an aborted segment is reported as that once, and a silent one when dash.js’s own time is over', async () => {
  const silent = fetchFrom([], true);
  const aborted = await load({
    fetch: silent,
    onStart: ({ customData }) => {
      customData.abort?.();
      customData.abort?.();
    },
  });
  assert.deepEqual(aborted.told, ['aborted']);
  const late = await load({ fetch: silent, timeout: 20 });
  assert.deepEqual(late.told, ['timed out', 'ended']);
  assert.equal(late.response.status, 0);
});

test('without bases only the settings are changed; with them dash.js’s loader too', () => {
  const calls: unknown[] = [];
  const player = {
    updateSettings: (settings: object) => calls.push(settings),
    extend: (name: string, _: unknown, keepsParent: boolean) => calls.push([name, keepsParent]),
  };
  attachKit(player);
  assert.deepEqual(calls.splice(0), [SETTINGS]);
  attachKit(player, { bases: BASES });
  const [settings, extended] = calls as [typeof SETTINGS, unknown];
  assert.ok(settings.streaming.fragmentRequestTimeout > SETTINGS.streaming.fragmentRequestTimeout);
  assert.deepEqual(settings.streaming.retryAttempts, SETTINGS.streaming.retryAttempts);
  assert.deepEqual(extended, ['XHRLoader', true]);
});
