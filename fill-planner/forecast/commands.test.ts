import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import type { ModelScore } from './backtest/metrics.ts';
import { roundedScores, scoreText } from './backtest/report.ts';
import { runBacktests } from './backtest/suite.ts';
import { readBacktestData } from './io/backtest-data.ts';

const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-forecast-'));
after(() => rmSync(directory, { recursive: true }));

const LIST = [
  'week\tcategory\tweekly_rank\tshow_title\tseason_title\tweekly_hours_viewed',
  ...Array.from({ length: 40 }, (_, week) =>
    Array.from({ length: 4 }, (_, i) => {
      const day = new Date(Date.UTC(2024, 0, 7 + 7 * week)).toISOString().slice(0, 10);
      const start = week - i;
      return [day, 'Films', i + 1, `title ${start}`, 'N/A', Math.round(1e6 * 0.5 ** i)].join('\t');
    }),
  ).flat(),
].join('\n');

test('a directory is searched, its tables are scored, and the printed figures are those of the JSON', () => {
  mkdirSync(path.join(directory, 'netflix'));
  writeFileSync(path.join(directory, 'netflix', 'weeks.tsv'), LIST);
  writeFileSync(path.join(directory, 'netflix', 'notes.txt'), 'not a table');
  const data = readBacktestData(directory);
  assert.deepEqual(data.problems, []);
  const scores = roundedScores(runBacktests(data, { generated: 'none' }));
  const last = scores.find(({ model, step }) => model === 'last period' && step === 1);
  assert.ok(last !== undefined && last.data === 'top10');
  assert.equal(last.wape, 1, 'every title halves: the last value is twice too much');
  const ours = scores.find(({ model, step }) => model === 'ours' && step === 1);
  assert.ok((ours?.wape ?? 1) < 0.05);
  const text = scoreText(scores);
  assert.match(text, /top10, 1 step ahead/);
  assert.match(text, /last period +\d+ +1\.000 +\+1\.000/);
});

test('a table says whether ours is below every baseline, the oracle aside', () => {
  const score = (model: string, wape: number): ModelScore => ({
    data: 'made up',
    model,
    step: 1,
    cases: 1,
    wape,
    bias: 0,
    classes: {},
  });
  const others = [score('last period', 0.7), score('median decay', 0.3), score('oracle', 0)];
  assert.match(
    scoreText([score('ours', 0.2), ...others]),
    /ours 0\.200 is below every baseline; the best is median decay, 0\.300/,
  );
  assert.match(scoreText([score('ours', 0.3), ...others]), /is NOT below every baseline/);
});

test('one file is enough, and its bad rows are named with the file', () => {
  const file = path.join(directory, 'one.tsv');
  writeFileSync(file, `${LIST}\n2024-01-07\tFilms\t9\tX\tN/A\t-3`);
  const { lists, problems } = readBacktestData(file);
  assert.equal(lists.length, 1);
  assert.match(problems[0], /one\.tsv: line 162 is left out: weekly_hours_viewed "-3"/);
});

test('a path that holds nothing is refused with what is wanted', () => {
  const empty = path.join(directory, 'empty');
  mkdirSync(empty);
  assert.throws(() => readBacktestData(empty), /holds no weekly list/);
  assert.throws(
    () => readBacktestData(path.join(directory, 'none')),
    /does not exist: name a weekly list/,
  );
  writeFileSync(path.join(empty, 'bad.tsv'), 'a\tb\n');
  assert.throws(() => readBacktestData(empty), /bad\.tsv cannot be read: line 1 is no header/);
});
