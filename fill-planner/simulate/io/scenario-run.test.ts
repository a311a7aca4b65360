import assert from 'node:assert/strict';
import { globSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { checkResult } from '../result.ts';
import { readScenario } from '../scenario.ts';
import { summaryOf } from '../run-summary.ts';
import { readScenarioFile, runVariants, writeResults } from './scenario-run.ts';

const READY = path.join(import.meta.dirname, '..', '..', 'scenarios');
const SMALL = `name: small
days: 2
catalogue: {programmes: 300, variants: 60}
fleet:
  source: generated
  sitesMax: 8
  boxes: {storage: {storageTb: 1}, small: {storageTb: 0.5}, flash: {storageTb: 0.2}}
compare: [{name: empty, change: {fleet: {start: empty}}}]
`;

const options = {
  engine: 'fluid' as const,
  sampleShare: 1,
  firstSeed: 1,
  seeds: 2,
  threads: 1,
  signal: new AbortController().signal,
  onProgress: (): void => {},
};

test('every ready scenario is read without a problem', () => {
  const files = globSync('*.yaml', { cwd: READY });
  assert.ok(files.length >= 9, `${files.length} scenarios`);
  for (const file of files) {
    const read = readScenario(readFileSync(path.join(READY, file), 'utf8'), file);
    assert.ok(read.ok, read.ok ? '' : read.failure.join('\n'));
  }
});

test('a scenario becomes results of every variant with bands, a report, Parquet and a summary', async (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-scenario-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = path.join(directory, 'small.yaml');
  writeFileSync(file, SMALL);
  const read = readScenarioFile(file, undefined, 'fluid');
  assert.ok(read.ok, read.ok ? '' : read.failure.join('\n'));
  const run = await runVariants(read.value, options);
  assert.ok(run.ok);
  assert.deepEqual(
    run.value.map(({ meta }) => [meta.variant, meta.seeds]),
    [
      ['base', [1, 2]],
      ['empty', [1, 2]],
    ],
  );
  assert.equal(run.value[0].bands.length > 10, true);
  const written = await writeResults(run.value, { directory, withReport: true });
  for (const name of written) assert.ok(statSync(name).size > 500, name);
  const kept: unknown = JSON.parse(readFileSync(path.join(directory, 'result.json'), 'utf8'));
  assert.ok(Array.isArray(kept));
  for (const result of kept as unknown[]) assert.ok(checkResult(result).ok);
  assert.match(summaryOf(run.value), /offload \(served at home\)/);
});

for (const [what, text, problem] of [
  ['no tables', 'name: a\n', /give --data DIR, a fleet.file, or source: generated/],
  [
    'a file that is not there',
    'name: a\nfleet: {file: no.csv}\n',
    /no\.csv: there is no such file/,
  ],
  ['a topology without its columns', 'name: a\nfleet: {file: s.yaml}\n', /line 1 lacks Country/],
  [
    'a planner input that is none',
    'name: a\nfleet: {source: planner-input, file: s.yaml}\n',
    /s\.yaml: /,
  ],
  [
    'a trace as workload',
    'name: a\nworkload: {source: trace, file: t}\n',
    /trace are read with --engine analytic, or by simulate cache/,
  ],
] as const) {
  test(`a scenario with ${what} is refused, and it is said why`, (t) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-scenario-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const file = path.join(directory, 's.yaml');
    writeFileSync(file, text);
    const read = readScenarioFile(file, undefined, 'fluid');
    assert.ok(!read.ok);
    assert.match(read.failure.join('\n'), problem);
  });
}
