import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#base/clock.ts';
import { generateSigningKey } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import type { FleetDelta } from '../contract.ts';
import type { FleetParts } from '../snapshot.ts';
import { SnapshotPublisher } from './snapshot-publisher.ts';

/** A fleet of one box whose parts take `costMs` to gather, on a clock that moves by that and by `rest`. */
async function publishing(costMs: number) {
  let nowMs = 0;
  let egressBps = 0;
  const periodic: (() => void)[] = [];
  const clock: Clock = {
    monotonicMs: () => nowMs,
    wallMs: () => 1_800_000_000_000 + nowMs,
    after: () => ({ cancel: () => {} }),
    every: (_periodMs, run) => {
      periodic.push(run);
      return { cancel: () => {} };
    },
  };
  const parts = (): FleetParts => {
    nowMs += costMs;
    const box = { applianceId: 'box-1', siteId: 's', clusterId: 's', baseUrl: 'http://box.test' };
    const figures = { since: 0, weight: 1, servingBps: 10, egressBps, heartbeatAtMs: 0 };
    return {
      epoch: 1,
      prefixesVersion: 1,
      clusters: [],
      appliances: [{ ...box, ...figures, standing: 'serving', reasons: [] }],
      holdings: [],
      titles: [],
      originBaseUrl: 'http://origin.test',
    };
  };
  const publisher = new SnapshotPublisher({
    parts,
    freezeLoads: () => {},
    key: (await generateSigningKey('EdDSA')).key,
    clock,
    log: createLogger('test', 'silent'),
    reservedVersion: 0,
    reserveVersions: () => {},
  });
  publisher.start();
  const told: string[] = [];
  publisher.subscribe({ write: (text) => told.push(text), close: () => {}, backlogBytes: 0 });
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
  await settle();
  return {
    told,
    change: async (to: number): Promise<void> => {
      egressBps = to;
      publisher.changed('now');
      await settle();
    },
    rest: async (forMs: number): Promise<void> => {
      nowMs += forMs;
      periodic[0](); // looks whether something changed
      await settle();
    },
  };
}

test('a change is published at once, each one, while that is quick', async () => {
  const { change, told } = await publishing(1);
  for (let n = 1; n <= 5; n++) await change(n);
  assert.equal(told.length, 1 + 5);
});

test('after a long publication the next one rests as long, and then tells all that happened meanwhile', async () => {
  const { change, rest, told } = await publishing(400);
  assert.equal(told.length, 1, 'the whole fleet');
  for (let n = 1; n <= 5; n++) await change(n);
  assert.equal(told.length, 1, 'half of the time is for heartbeats');
  await rest(300);
  assert.equal(told.length, 1);
  await rest(100);
  assert.equal(told.length, 2);
  const [, payload] = told[1].slice(told[1].indexOf('data: ')).split('.');
  const delta = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as FleetDelta;
  assert.equal(delta.appliances[0].egressBps, 5);
  await rest(1000);
  assert.equal(told.length, 2, 'nothing changed since');
});
