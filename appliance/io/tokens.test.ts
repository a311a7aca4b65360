import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateSigningKey } from '#base/jws.ts';
import { signViewerToken, VIEWER_TOKEN_SLACK_SECONDS } from '#steering/contract.ts';
import { CHUNK_BYTES, signedContentUrl } from '#upstream/contract.ts';
import { get, makeFile, nowSeconds, World } from './test-world.ts';

const FILM = makeFile(1, 5 * CHUNK_BYTES + 77);
const OTHER = makeFile(3, 3 * CHUNK_BYTES + 1);

const refusals: readonly [name: string, word: string, url: (world: World) => Promise<string>][] = [
  ['no token', 'token-missing', async (world) => `${world.contentUrl}/t/film/${FILM.fileId}`],
  [
    'an expired token',
    'token-expired',
    async (world) => {
      const scope = { titleId: 'film', durationSeconds: 60, home: 'c', reason: 'home' as const };
      const signedAt = nowSeconds() - VIEWER_TOKEN_SLACK_SECONDS - 100;
      const token = await signViewerToken(world.keys.token, scope, signedAt);
      return signedContentUrl(world.contentUrl, token, 'film', FILM.fileId);
    },
  ],
  [
    'a token of another title',
    'token-uri',
    async (world) =>
      signedContentUrl(world.contentUrl, await world.token('other'), 'film', FILM.fileId),
  ],
  [
    'a token of title A on a file of title B',
    'token-title',
    async (world) =>
      signedContentUrl(world.contentUrl, await world.token('other'), 'other', FILM.fileId),
  ],
  [
    'a token by a key that no root signed',
    'token-key-unknown',
    async (world) => {
      const stranger = (await generateSigningKey('ES256')).key;
      const scope = { titleId: 'film', durationSeconds: 60, home: 'c', reason: 'home' as const };
      const token = await signViewerToken(stranger, scope, nowSeconds());
      return signedContentUrl(world.contentUrl, token, 'film', FILM.fileId);
    },
  ],
  [
    'a token whose algorithm says HS256',
    'token-algorithm',
    async (world) => {
      const [, payload] = (await world.token('film')).split('.');
      const header = Buffer.from(
        JSON.stringify({ alg: 'HS256', typ: 'JWT', kid: world.keys.token.kid }),
      );
      const token = `${header.toString('base64url')}.${payload}.${Buffer.alloc(32).toString('base64url')}`;
      return signedContentUrl(world.contentUrl, token, 'film', FILM.fileId);
    },
  ],
  [
    'a token whose algorithm says none',
    'token-algorithm',
    async (world) => {
      const [, payload] = (await world.token('film')).split('.');
      const header = Buffer.from(
        JSON.stringify({ alg: 'none', typ: 'JWT', kid: world.keys.token.kid }),
      );
      return signedContentUrl(
        world.contentUrl,
        `${header.toString('base64url')}.${payload}.`,
        'film',
        FILM.fileId,
      );
    },
  ],
  [
    'a token with a changed signature',
    'token-signature',
    async (world) => {
      const token = await world.token('film');
      const at = token.lastIndexOf('.') + 5;
      const changed = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
      return signedContentUrl(world.contentUrl, changed, 'film', FILM.fileId);
    },
  ],
];

test('every request without the right token gets 403, its word, and nothing is fetched for it', async () => {
  await using world = await World.open();
  world.origin.add(FILM, OTHER);
  await world.controlPlane.list('film', [FILM]);
  await world.controlPlane.list('other', [OTHER]);
  await world.start();
  for (const [name, word, url] of refusals) {
    for (const round of ['first', 'cached']) {
      const got = await get(await url(world));
      assert.equal(got.status, 403, `${name} (${round}): ${got.body.toString()}`);
      assert.equal(got.headers['nightfill-refused'], word, `${name} (${round})`);
      assert.equal(got.headers['cache-control'], 'no-store');
      assert.match(String(got.headers['proxy-status']), /error=http_request_denied/);
    }
  }
  assert.deepEqual(world.origin.requests, [], 'nothing was fetched');
  assert.equal((await get(`${world.contentUrl}/etc/passwd`)).status, 404);
  assert.equal(
    (await get(`${await world.url('film', FILM.fileId)}.chunks`)).status,
    403,
    'chunk lists are for boxes',
  );
});
