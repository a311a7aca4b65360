/**
 * Scores as a person reads them: one table per data set and step, ours first, every baseline below it.
 */
import type { ModelScore, Score } from './metrics.ts';

export function scoreText(scores: readonly ModelScore[]): string {
  const groups = new Map<string, ModelScore[]>();
  for (const score of scores) {
    const key = `${score.data}, ${score.step} step${score.step === 1 ? '' : 's'} ahead`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [score]);
    else group.push(score);
  }
  return [...groups].map(([title, group]) => tableOf(title, group)).join('\n\n');
}

function tableOf(title: string, group: readonly ModelScore[]): string {
  const classes = Object.keys(group[0].classes);
  const columns: readonly [string, (score: ModelScore) => string][] = [
    ['model', (score) => score.model],
    ['cases', (score) => String(score.cases)],
    ['WAPE', (score) => figure(score.wape)],
    ['bias', (score) => signed(score.bias)],
    ...classes.map((name): [string, (score: ModelScore) => string] => [
      name,
      (score) => figure((score.classes[name] as Score | undefined)?.wape ?? null),
    ]),
    ['in band', (score) => share(score.coverage)],
    ['leavers', (score) => figure(score.leaverError ?? null)],
    ['Brier', (score) => figure(score.brier ?? null)],
    ['regret', (score) => share(score.regret)],
    ['/ floor', (score) => figure(score.floorRatio ?? null)],
  ];
  const rows = [
    columns.map(([name]) => name),
    ...group.map((score) => columns.map(([, cell]) => cell(score))),
  ];
  const used = columns.map((_, at) => rows.slice(1).some((row) => row[at] !== ''));
  const widths = columns.map((_, at) => Math.max(...rows.map((row) => row[at].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at])))
      .filter((_, at) => used[at])
      .join('  '),
  );
  return [title, ...lines.map((line) => `  ${line}`), ...verdictOf(group)].join('\n');
}

/** Whether ours beats whatever anybody could do without it: said, so that nobody has to look for it. The oracle sees the future. */
function verdictOf(group: readonly ModelScore[]): readonly string[] {
  const ours = group.find(({ model }) => model === 'ours')?.wape ?? null;
  const baselines = group
    .flatMap(({ model, wape }) =>
      model === 'ours' || model === 'oracle' || wape === null ? [] : [{ model, wape }],
    )
    .sort((a, b) => a.wape - b.wape);
  if (ours === null || baselines.length === 0) return [];
  const [best] = baselines;
  const isBelow = ours < best.wape ? 'below every baseline' : 'NOT below every baseline';
  return [
    `  WAPE: ours ${figure(ours)} is ${isBelow}; the best is ${best.model}, ${figure(best.wape)}`,
  ];
}

function figure(value: number | null): string {
  return value === null ? '' : value.toFixed(3);
}

function signed(value: number | null): string {
  return value === null ? '' : `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
}

function share(value: number | undefined): string {
  return value === undefined ? '' : `${(100 * value).toFixed(2)} %`;
}

/** The scores as they go into JSON: figures to five digits, which is beyond what they mean. */
export function roundedScores(scores: readonly ModelScore[]): readonly ModelScore[] {
  return JSON.parse(
    JSON.stringify(scores, (_, value: unknown) =>
      typeof value === 'number' ? Math.round(value * 1e5) / 1e5 : value,
    ),
  ) as readonly ModelScore[];
}
