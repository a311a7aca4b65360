/**
 * The report of a simulation: one HTML file that holds its plots, its tables, its scenario and its seed, and loads nothing.
 *
 * Shape:      headline + drawn plots + tables + the scenario -> HTML text
 * Invariants: (1) no script, style, font or image comes from elsewhere; it opens from a disk and prints
 *             (2) every text from a scenario is escaped
 */
import { escaped } from '#base/markup.ts';
import { stringify } from 'yaml';
import { totalsWithMeaning, type SimulationResult } from '../../simulate/result.ts';
import { bandOf, FIGURES } from './figures.ts';
import type { Plot } from './plots.ts';
import { SCRIPT, STYLE } from './page-assets.ts';
import type { Table } from './tables.ts';

export interface DrawnPlot extends Omit<Plot, 'spec'> {
  readonly svg: string;
}

export interface Page {
  readonly title: string;
  readonly question: string;
  readonly facts: readonly string[];
  readonly warnings: readonly string[];
  readonly leftOut: readonly string[]; // what the engine does not know
  readonly tiles: readonly {
    readonly label: string;
    readonly value: string;
    readonly note: string;
  }[];
  readonly conclusions: readonly string[];
  readonly first: readonly Table[]; // before the plots
  readonly plots: readonly DrawnPlot[];
  readonly tables: readonly Table[];
  readonly scenario: string; // YAML that runs again
}

const TILES = [
  'offloadShare',
  'netOffloadShare',
  'contentMissShare',
  'healthMissShare',
  'originGbps95',
  'churnShareNight',
  'startsRefused',
  'streamHoursDegraded',
] as const;

/** What stands above the plots of a run. */
export function headOf(
  results: readonly SimulationResult[],
): Pick<Page, 'title' | 'question' | 'facts' | 'warnings' | 'leftOut' | 'tiles' | 'scenario'> {
  const [base] = results;
  const { meta } = base;
  const errors = meta.errors.map(
    (error) =>
      `${error.metric}: mean ${error.meanPoints.toFixed(2)}, at most ${error.maxPoints.toFixed(2)} points off (${error.against})`,
  );
  return {
    title: meta.name,
    question: meta.question,
    facts: [
      `${meta.sites.toLocaleString('en-US')} sites, ${meta.appliances.toLocaleString('en-US')} appliances, ${meta.files.toLocaleString('en-US')} files`,
      `${meta.days} days from ${meta.startDate}`,
      `${meta.engine} engine, ${meta.seeds.length === 1 ? `seed ${meta.seed}` : `seeds ${meta.seeds.join(', ')}`}`,
      ...(errors.length > 0
        ? [`against the request level: ${errors.join('; ')}`]
        : ['not checked against the request level in this run']),
    ],
    warnings: results
      .filter((result) => result.meta.isPartial)
      .map(
        (result) =>
          `Partial: “${result.meta.variant}” was interrupted after ${result.meta.hoursDone} of ${24 * result.meta.days} hours. All figures are of those hours.`,
      ),
    leftOut: [...new Set(results.flatMap((result) => result.meta.notes))],
    tiles: TILES.filter((metric) => totalsWithMeaning(meta.engine).includes(metric)).map(
      (metric) => {
        const figure = FIGURES.find((entry) => entry.metric === metric);
        const band = bandOf(base, metric);
        if (figure === undefined) throw new Error(`no figure is called ${metric}`);
        return {
          label: figure.label,
          value: figure.print(band?.mean ?? base.totals[metric]),
          note: band === null ? '' : `${figure.print(band.low)} to ${figure.print(band.high)}`,
        };
      },
    ),
    scenario: stringify(base.scenario),
  };
}

export function htmlOf(page: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(page.title)} – Nightfill simulation</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<p class="kind">Nightfill simulation</p>
<h1>${escaped(page.title)}</h1>
${page.question === '' ? '' : `<p class="question">${escaped(page.question)}</p>`}
<p class="facts">${page.facts.map(escaped).join(' · ')}</p>
</header>
${page.warnings.map((warning) => `<p class="warning">${escaped(warning)}</p>`).join('\n')}
<section class="tiles">
${page.tiles.map(({ label, value, note }) => `<div><b>${escaped(value)}</b><i>${escaped(note)}</i><span>${escaped(label)}</span></div>`).join('\n')}
</section>
${page.conclusions.length === 0 ? '' : `<section><h2>What stands out</h2><ul>${page.conclusions.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul></section>`}
${page.leftOut.length === 0 ? '' : `<section class="left-out"><h2>What this engine leaves out</h2><ul>${page.leftOut.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul></section>`}
${page.first.map(tableHtml).join('\n')}
${page.plots.map(plotHtml).join('\n')}
${page.tables.map(tableHtml).join('\n')}
<details><summary>The scenario, as it was run (YAML)</summary>
<button class="copy" data-copies="scenario">Copy</button>
<pre id="scenario">${escaped(page.scenario)}</pre></details>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function plotHtml({ id, title, reading, svg }: DrawnPlot): string {
  return `<figure id="plot-${escaped(id)}"><h2>${escaped(title)}</h2><p class="reading">${escaped(reading)}</p>${svg}</figure>`;
}

function tableHtml({ id, title, note, columns, rows }: Table): string {
  const head = columns
    .map(({ title, isNumber }) => `<th${isNumber ? ' class="n"' : ''}>${escaped(title)}</th>`)
    .join('');
  const body = rows
    .map(
      (row) =>
        `<tr>${row.map((cell, at) => `<td${columns[at].isNumber ? ' class="n"' : ''}>${escaped(cell)}</td>`).join('')}</tr>`,
    )
    .join('\n');
  return `<section class="table"><h2>${escaped(title)}</h2>
<p class="reading">${escaped(note)} <button class="copy" data-copies="table-${escaped(id)}">Copy</button></p>
<div class="scroll"><table id="table-${escaped(id)}"><thead><tr>${head}</tr></thead><tbody>
${body}
</tbody></table></div></section>`;
}
