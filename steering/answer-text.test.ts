import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import type { ExternalCdn } from '#control-plane/contract.ts';
import { signedContentUrl } from '#upstream/contract.ts';
import { answerText, type AnswerSigning } from './answer-text.ts';
import { decidePlay, pathwayOf, type PlayDecision } from './answer.ts';
import { createWorld, type World } from './candidates.ts';
import { VIEWER_TOKEN_SLACK_SECONDS, type PlayAnswer } from './contract.ts';
import { EXAMPLE_AT_MS, EXAMPLE_TITLE, exampleSnapshot } from './example-fleet.ts';
import { externalUrl } from './external-tokens.ts';
import { createFleet } from './fleet.ts';
import { LoadLedger } from './load.ts';
import type { Target } from './ranking.ts';

const FILES = 30;
const DURATION_SECONDS = 100.5;
const STEERING = { hls: 'http://s/h"\\é', dash: 'http://s/d' };

/** The slow way: an object, URL by URL. */
function expected(world: World, decision: PlayDecision, signing: AnswerSigning): PlayAnswer {
  const { titleId } = decision.title.title;
  const urlOf = (target: Target, token: string, fileId: string): string => {
    if (target.kind === 'appliance') {
      return signedContentUrl(target.appliance.baseUrl, token, titleId, fileId);
    }
    const { origin } = world.fleet.snapshot;
    if (target.kind === 'origin') return signedContentUrl(origin.baseUrl, token, titleId, fileId);
    const expiresAtSeconds =
      EXAMPLE_AT_MS / 1000 + Math.ceil(DURATION_SECONDS) + VIEWER_TOKEN_SLACK_SECONDS;
    const ask = { titleId, fileId, viewerToken: token, expiresAtSeconds };
    return externalUrl(target.external, signing.externalKeys, ask) ?? '';
  };
  return {
    titleId,
    ttlSeconds: 77,
    home: decision.home,
    epochs: decision.epochs,
    files: decision.files.map(({ fileId, ranking: { candidates, reason } }) => {
      const token = signing.tokens.get(reason) ?? 'none';
      return {
        fileId,
        reason,
        urls: candidates.map((target) => {
          const url = urlOf(target, token, fileId);
          return { url, pathwayId: pathwayOf(target), kind: target.kind };
        }),
      };
    }),
    steering: STEERING,
  };
}

test('the text says what the decision says, whoever holds which files, and whatever CDN stands last', () => {
  const random = seededRandom(5);
  const pick = <T>(of: readonly T[]): T => of[random.below(of.length)];
  const shapes = new Set<string>();
  for (let round = 0; round < 300; round++) {
    const share = pick([0, 0.5, 0.95, 1]);
    const held = (): number[] =>
      Array.from({ length: FILES }, (_, at) => at).filter(() => random.next() < share);
    const tokens = pick(['none', 'rfc9246', 'hmac'] as const);
    const externals: ExternalCdn[] =
      tokens === 'none'
        ? []
        : [
            {
              externalId: 'ext',
              name: 'ext',
              baseUrl: 'http://ext.example',
              tokens,
              costPerGb: 1,
              regions: [{ countries: ['*'], commitBps: 0, capBps: 1e9 }],
            },
          ];
    const fleet = createFleet(
      exampleSnapshot({
        appliances: { 'lyon-b': { baseUrl: 'http://a"\\b-é' } },
        holdings: { 'lyon-a': held(), 'lyon-b': held(), 'paris-a': held(), 'oslo-a': held() },
        snapshot: {
          externals,
          titles: [
            {
              titleId: EXAMPLE_TITLE,
              availability: [{ countries: ['*'] }],
              durationSeconds: DURATION_SECONDS,
              files: Array.from({ length: FILES }, (_, ordinal) => {
                return { fileId: `f${ordinal}`.padEnd(43, '_'), ordinal, sizeBytes: 1e6 };
              }),
            },
          ],
        },
      }),
    );
    const loads = externals.map(() => {
      return { evidence: 'unknown', regionBps: [0], spentToday: 0 } as const;
    });
    const ledger = new LoadLedger(1, EXAMPLE_AT_MS);
    const world = createWorld(fleet, ledger.freeze(fleet, [], EXAMPLE_AT_MS, loads));
    const decision = decidePlay(world, {
      titleId: EXAMPLE_TITLE,
      clientAddress: pick(['10.1.2.3', '10.2.2.3', '203.0.113.1']),
      session: `s${round}`,
    });
    assert.ok(decision.kind === 'play');
    const signing = {
      tokens: new Map(decision.reasons.map((reason) => [reason, `${reason}.t-o_k`.repeat(40)])),
      externalKeys: new Map([['ext', Buffer.alloc(32, 3)]]),
    };
    const text = answerText(world, decision, signing, STEERING, 77);
    assert.deepEqual(JSON.parse(text), expected(world, decision, signing));
    const distinct = new Set(decision.files.map(({ ranking }) => ranking)).size;
    shapes.add(`${tokens} ${distinct === 1 ? 'one' : distinct === FILES ? 'all' : 'some'}`);
  }
  assert.ok(shapes.size >= 8, `too few shapes were met: ${[...shapes].sort().join('; ')}`);
});
