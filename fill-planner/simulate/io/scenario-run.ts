/**
 * A scenario's files, its variants over seeds, and what is written of them.
 *
 * Errors: files that cannot be read or make no sense are refused by name, before anything runs
 */
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { codeOf, messageOf, type Outcome } from '#base/outcome.ts';
import { checkPlannerInput } from '../../contract.ts';
import { reportOf } from '../../report/simulation/report.ts';
import { withBands } from '../bands.ts';
import {
  generatedTopology,
  parseTopology,
  topologyOfInput,
  type TopologySite,
} from '../network/topology.ts';
import type { Engine, SimulationResult } from '../result.ts';
import { readScenario, scenarioVariants, type Scenario } from '../scenario.ts';
import { runRequest } from '../request/request-engine.ts';
import { runAnalytic } from '../analytic/analytic-run.ts';
import { runFluid } from './fluid-pool.ts';
import { readMeasured } from './measured-workload.ts';
import { writeParquet } from './parquet.ts';

const FILE_BYTES_MAX = 1 << 30;
const TOPOLOGY_FILE = 'openconnect/netflix-ocas-2023-08-02.csv';

export interface ScenarioInput {
  readonly scenario: Scenario;
  readonly topology: readonly TopologySite[];
  /** What files of the workload are relative to. */
  readonly directory: string;
}

export function readScenarioFile(
  file: string,
  dataDirectory: string | undefined,
  engine: Engine,
): Outcome<ScenarioInput, readonly string[]> {
  const text = readText(file);
  if (!text.ok) return { ok: false, failure: [text.failure] };
  const read = readScenario(text.value, file);
  if (!read.ok) return read;
  const scenario = read.value;
  const measured = scenarioVariants(scenario).filter(
    (variant) => variant.scenario.workload.source !== 'generated',
  );
  if (measured.length > 0 && engine !== 'analytic') {
    const [{ name, scenario: own }] = measured;
    return {
      ok: false,
      failure: [
        `${file}: /workload/source (${name}): the ${engine} engine generates its viewing, as it needs every file’s title and forecast; ${own.workload.source} are read with --engine analytic${own.workload.source === 'trace' ? ', or by simulate cache' : ''}`,
      ],
    };
  }
  const topology = topologyOf(scenario, path.dirname(file), dataDirectory);
  return topology.ok
    ? { ok: true, value: { scenario, topology: topology.value, directory: path.dirname(file) } }
    : { ok: false, failure: [`${file}: ${topology.failure}`] };
}

function topologyOf(
  { fleet, seed }: Scenario,
  beside: string,
  dataDirectory: string | undefined,
): Outcome<readonly TopologySite[], string> {
  if (fleet.source === 'generated') return { ok: true, value: generatedTopology(seed) };
  if (fleet.source === 'topology' && fleet.file === undefined && dataDirectory === undefined) {
    return {
      ok: false,
      failure:
        '/fleet/source: the topology is read from the shared tables: give --data DIR, a fleet.file, or source: generated',
    };
  }
  const file =
    fleet.file === undefined
      ? path.join(dataDirectory ?? '', TOPOLOGY_FILE)
      : path.resolve(beside, fleet.file);
  const text = readText(file);
  if (!text.ok) return text;
  if (fleet.source === 'topology') {
    const parsed = parseTopology(text.value);
    return parsed.ok ? parsed : { ok: false, failure: `${file}: ${parsed.failure}` };
  }
  let value: unknown;
  try {
    value = JSON.parse(text.value);
  } catch (thrown) {
    return { ok: false, failure: `${file}: ${messageOf(thrown)}` };
  }
  const checked = checkPlannerInput(value);
  if (!checked.ok) {
    return { ok: false, failure: `${file}: ${checked.failure.slice(0, 5).join('; ')}` };
  }
  return { ok: true, value: topologyOfInput(checked.value) };
}

function readText(file: string): Outcome<string, string> {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) return { ok: false, failure: `${file}: over 1 GiB` };
    return { ok: true, value: readFileSync(file, 'utf8') };
  } catch (thrown) {
    const why = codeOf(thrown) === 'ENOENT' ? 'there is no such file' : messageOf(thrown);
    return { ok: false, failure: `${file}: ${why}` };
  }
}

export interface VariantsOptions {
  readonly engine: Engine;
  /** Of the keys, at the request level. */
  readonly sampleShare: number;
  readonly firstSeed: number;
  readonly seeds: number;
  readonly threads: number | undefined;
  readonly signal: AbortSignal;
  readonly onProgress: (share: number, what: string) => void;
}

/** The scenario itself first, then its variants, each over the same seeds. Stopped: what has at least one day. */
export async function runVariants(
  { scenario, topology, directory }: ScenarioInput,
  options: VariantsOptions,
): Promise<Outcome<readonly SimulationResult[], string>> {
  const variants = scenarioVariants(scenario);
  const runs = variants.length * options.seeds;
  const results: SimulationResult[] = [];
  let done = 0;
  for (const variant of variants) {
    const perSeed: SimulationResult[] = [];
    const measured = await readMeasured(variant.scenario, directory);
    if (!measured.ok) return { ok: false, failure: `variant ${variant.name}: ${measured.failure}` };
    for (let at = 0; at < options.seeds; at++) {
      if (options.signal.aborted) break;
      const seed = options.firstSeed + at;
      const common = {
        variant: variant.name,
        signal: options.signal,
        onProgress: (share: number) => {
          options.onProgress((done + share) / runs, `${variant.name}, seed ${seed}`);
        },
      };
      const own = { ...variant.scenario, seed };
      const threads = options.threads ?? Math.min(8, availableParallelism());
      if (options.engine === 'analytic') await setImmediate();
      const run =
        options.engine === 'analytic'
          ? runAnalytic(own, topology, seed, variant.name, measured.value)
          : options.engine === 'request'
            ? await runRequest(own, topology, seed, {
                ...common,
                sampleShare: options.sampleShare,
                pause: setImmediate,
              })
            : await runFluid(own, topology, seed, { ...common, threads });
      if (!run.ok) return { ok: false, failure: `variant ${variant.name}: ${run.failure}` };
      done++;
      if (run.value.meta.hoursDone > 0 || options.engine === 'analytic') perSeed.push(run.value);
    }
    // Of seeds only those that went as far as the first make bands with it.
    const alike = perSeed.filter((run) => run.meta.hoursDone === perSeed[0].meta.hoursDone);
    if (alike.length > 0) results.push(withBands(alike));
  }
  return results.length > 0
    ? { ok: true, value: results }
    : { ok: false, failure: 'stopped before the first day was done: there is nothing to report' };
}

/** Results as JSON and Parquet, and the report; returns what was written, for people. */
export async function writeResults(
  results: readonly SimulationResult[],
  { directory, withReport }: { readonly directory: string; readonly withReport: boolean },
): Promise<readonly string[]> {
  mkdirSync(directory, { recursive: true });
  const json = path.join(directory, 'result.json');
  writeWhole(json, `${JSON.stringify(results)}\n`);
  const written = [json, ...(await writeParquet(results, directory))];
  if (withReport) {
    const html = path.join(directory, 'report.html');
    writeWhole(html, await reportOf(results));
    written.push(html);
  }
  return written;
}

function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.part`, text);
  renameSync(`${file}.part`, file);
}
