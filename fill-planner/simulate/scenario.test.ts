import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readScenario, scenarioVariants } from './scenario.ts';

const problemsOf = (text: string): readonly string[] => {
  const read = readScenario(text, 's.yaml');
  return read.ok ? [] : read.failure;
};

test('a name is enough: every other field has its default', () => {
  const read = readScenario('name: a normal month', 's.yaml');
  assert.ok(read.ok);
  assert.equal(read.value.days, 30);
  assert.equal(read.value.fleet.boxes.storage.storageTb, 240);
  assert.equal(read.value.policy.fillWindow.hours, 12);
});

test('JSON is read as well as YAML', () => {
  const read = readScenario('{"name": "a", "days": 3}', 's.json');
  assert.ok(read.ok);
  assert.equal(read.value.days, 3);
});

test('all problems are listed at once, each with its line and column', () => {
  const problems = problemsOf(
    [
      'name: a',
      'days: 0',
      'speed: 1',
      'fleet: {boxes: {storage: {storageTb: -1}}}',
      'events:',
      '  - {kind: releas, day: 1}',
      '  - {kind: release, day: 1, name: x, episodes: 0}',
    ].join('\n'),
  );
  assert.deepEqual(problems, [
    's.yaml:3:8: (top level): there is no field "speed"',
    's.yaml:2:7: /days: must be >= 1',
    's.yaml:4:38: /fleet/boxes/storage/storageTb: must be >= 0',
    's.yaml:6:12: /events/0/kind: "releas" is none of release, outage, maintenance, link-upgrade, surge, fill-window, new-box',
    's.yaml:7:48: /events/1/episodes: must be >= 1',
  ]);
});

test('text that is no YAML is refused with its place', () => {
  assert.match(problemsOf('name: [a\n')[0], /^s\.yaml:2:1: /);
});

for (const [text, problem] of [
  ['fleet: {scale: {serving: 0}}', /no box serves anything: the fleet has no capacity/],
  ['fleet: {scale: {storage: 0}}', /no box has storage/],
  ['fleet: {source: planner-input}', /\/fleet\/file: a planner input is read from a file/],
  ['workload: {source: trace}', /\/workload\/file: trace are read from a file/],
  ['policy: {reactiveShare: 1}', /leaves nothing for the plan/],
  ['startDate: 2026-13-40', /2026-13-40 is no date/],
  [
    'events: [{kind: surge, day: 40, factor: 2}]',
    /\/events\/0\/day: 40 lies after the last day, 29/,
  ],
  ['compare: [{name: a, change: {days: -1}}]', /\/compare: a: \/days: must be >= 1/],
  ['compare: [{name: base, change: {}}]', /names must differ/],
] as const) {
  test(`a scenario with "${text}" is refused, and it is said why`, () => {
    assert.match(problemsOf(`name: a\n${text}`).join('\n'), problem);
  });
}

test('a variant is the scenario with its change merged in; null takes a field out', () => {
  const read = readScenario(
    'name: a\nnetwork: {externalCdn: {usdPerTb: 9}}\ncompare: [{name: none, change: {days: 7, network: {externalCdn: null}}}]',
    's.yaml',
  );
  assert.ok(read.ok);
  const [base, none] = scenarioVariants(read.value);
  assert.equal(base.scenario.network.externalCdn?.usdPerTb, 9);
  assert.equal(none.scenario.network.externalCdn, undefined);
  assert.equal(none.scenario.days, 7);
  assert.equal(none.scenario.network.peeringShare, base.scenario.network.peeringShare);
});
