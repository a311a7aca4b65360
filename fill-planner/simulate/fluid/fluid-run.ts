/**
 * A fluid run from scenario to result: what every thread prepares alike, which countries each takes, and the hours at the end.
 *
 * Invariants: (1) the same bytes out for any number of threads: countries do not touch each other's rows
 */
import type { Outcome } from '#base/outcome.ts';
import { calendarOf } from '../network/calendar.ts';
import type { TopologySite } from '../network/topology.ts';
import { networkOf, type Network } from '../network/units.ts';
import type { SimulationResult } from '../result.ts';
import type { Scenario } from '../scenario.ts';
import { Diurnal } from '../workload/day-curve.ts';
import { ladderOf } from '../workload/ladder.ts';
import { NOISE_VIEWS_PER_GBPS } from '../workload/parameters.ts';
import { CountryViewing, Moods } from '../workload/popularity.ts';
import { programmesOf, type Cell } from '../workload/programmes.ts';
import { cellSeconds, ladderBins } from './bins.ts';
import {
  CountryRun,
  ROW_LENGTH,
  type ExchangeCuts,
  type FluidInput,
  type Truth,
} from './country-run.ts';
import { Flows } from './flows.ts';
import { Gatherer } from './gather.ts';
import { HISTORY_DAYS, NightForecast } from './night-forecast.ts';

/** What all threads of a run share. */
export interface FluidMemory {
  readonly rows: SharedArrayBuffer; // (unit, day, ROW_LENGTH), float32
  /** (country, HISTORY_DAYS + days, cell + 1), float32: views of one title of each cell, then the release share. */
  readonly truth: SharedArrayBuffer;
  readonly exchanges: SharedArrayBuffer; // (exchange, day, cell), int16
  /** [0]: stop; [1]: countries done, for the progress bar. */
  readonly control: SharedArrayBuffer;
}

export function fluidInput(
  scenario: Scenario,
  topology: readonly TopologySite[],
  seed: number,
): Outcome<FluidInput & { readonly diurnal: Diurnal; readonly streamBps: number }, string> {
  const network = networkOf(topology, scenario, seed);
  if (!network.ok) return network;
  const ladder = ladderOf(scenario.catalogue.variants);
  const cells = cellsOf(scenario, seed, true);
  const diurnal = new Diurnal(scenario.startDate, seed);
  const views = new Map<string, number>();
  for (const unit of network.value.units) {
    const { country } = network.value.sites[unit.site];
    const own = (unit.peakBps / 1e9) * NOISE_VIEWS_PER_GBPS;
    views.set(country, (views.get(country) ?? 0) + own);
  }
  return {
    ok: true,
    value: {
      scenario,
      network: network.value,
      calendar: calendarOf(scenario, network.value, seed),
      cells,
      seconds: cellSeconds(cells),
      ladder: ladderBins(ladder),
      peakToMean: diurnal.peakToMean,
      moods: new Moods(cells, seed, -HISTORY_DAYS),
      seed,
      viewsOf: (country) => views.get(country) ?? 1,
      diurnal,
      streamBps: ladder.streamBps,
    },
  };
}

export function cellsOf(scenario: Scenario, seed: number, isBundled: boolean): readonly Cell[] {
  const { catalogue, workload, events, days } = scenario;
  return programmesOf({
    seed,
    programmes: Math.round(catalogue.programmes * catalogue.growth),
    days,
    releaseScale: workload.releaseScale,
    isBundled,
    releases: events.flatMap((event) =>
      event.kind === 'release' ? [{ ...event, countries: event.countries ?? null }] : [],
    ),
  });
}

export function fluidMemory(input: FluidInput): FluidMemory {
  const { scenario, network, cells } = input;
  const exchanges = network.sites.filter((site) => site.isExchange).length;
  return {
    truth: new SharedArrayBuffer(
      countriesOf(network).length * (HISTORY_DAYS + scenario.days) * (cells.length + 1) * 4,
    ),
    rows: new SharedArrayBuffer(network.units.length * scenario.days * ROW_LENGTH * 4),
    exchanges: new SharedArrayBuffer(Math.max(2, exchanges * scenario.days * cells.length * 2)),
    control: new SharedArrayBuffer(8),
  };
}

/** Countries, the largest first, so that threads end at about the same time. */
export function countriesOf(network: Network): readonly string[] {
  const units = new Map<string, number>();
  for (const unit of network.units) {
    const { country } = network.sites[unit.site];
    units.set(country, (units.get(country) ?? 0) + 1);
  }
  return [...units].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name);
}

/** The steps of a run, one after the other; each is done for all countries, on any thread, before the next begins. */
export const STEPS = ['truth', 'exchanges', 'countries'] as const;
export type Step = (typeof STEPS)[number];

/** One thread's hands: does a step for a country. */
export class FluidThread {
  readonly #input: FluidInput;
  readonly #memory: FluidMemory;
  readonly #countries: readonly string[];
  readonly #forecast: NightForecast;

  constructor(input: FluidInput, memory: FluidMemory) {
    this.#input = input;
    this.#memory = memory;
    this.#countries = countriesOf(input.network);
    const { cells } = input;
    this.#forecast = new NightForecast(cells, input.scenario.startDate, (day) => {
      const views = new Float64Array(cells.length);
      for (const country of this.#countries) {
        const own = this.#truthOf(country).titleViews(day);
        const all = input.viewsOf(country);
        for (let at = 0; at < views.length; at++) views[at] += own[at] * all * cells[at].titles;
      }
      return views;
    });
  }

  run(step: Step, country: string): void {
    if (step === 'truth') this.#truth(country);
    else if (step === 'exchanges') this.#exchanges(country);
    else this.#units(country);
  }

  #truth(country: string): void {
    const { cells, seed, moods, scenario } = this.#input;
    const viewing = new CountryViewing(cells, seed, country, moods);
    const truth = new Float32Array(this.#memory.truth);
    for (let day = -HISTORY_DAYS; day < scenario.days; day++) {
      const { titleViews, releaseShare } = viewing.on(day);
      const at = this.#truthAt(country, day);
      truth.set(titleViews, at);
      truth[at + cells.length] = releaseShare;
    }
  }

  /** The nights of the country's exchanges, whose cuts every site below them reads. */
  #exchanges(country: string): void {
    const { network, scenario, cells } = this.#input;
    const exchanges = exchangeCuts(this.#input, this.#memory);
    const units = mainUnits(network, country);
    if (units.length === 0) return;
    this.#countryRun(country, units).run(
      null,
      exchanges,
      (site, day, cuts) => {
        const index = exchanges.indexOf.get(site) ?? 0;
        exchanges.cuts.set(cuts, (index * scenario.days + day) * cells.length);
      },
      this.#isStopped,
    );
  }

  #units(country: string): void {
    const { network } = this.#input;
    const units = network.units.flatMap((unit, at) =>
      network.sites[unit.site].country === country ? [at] : [],
    );
    const rows = new Float32Array(this.#memory.rows);
    const exchanges = exchangeCuts(this.#input, this.#memory);
    this.#countryRun(country, units).run(rows, exchanges, null, this.#isStopped);
  }

  #countryRun(country: string, units: readonly number[]): CountryRun {
    return new CountryRun(this.#input, country, units, this.#truthOf(country), this.#forecast);
  }

  #truthOf(country: string): Truth {
    const truth = new Float32Array(this.#memory.truth);
    const { length } = this.#input.cells;
    return {
      titleViews: (day) => {
        const at = this.#truthAt(country, day);
        return truth.subarray(at, at + length);
      },
      releaseShare: (day) => truth[this.#truthAt(country, day) + length],
    };
  }

  #truthAt(country: string, day: number): number {
    const { scenario, cells } = this.#input;
    const days = HISTORY_DAYS + scenario.days;
    return (this.#countries.indexOf(country) * days + HISTORY_DAYS + day) * (cells.length + 1);
  }

  readonly #isStopped = (): boolean => Atomics.load(new Int32Array(this.#memory.control), 0) === 1;
}

/** The hours, once all rows are there. Without all of them (interrupted) only whole days that every country reached. */
export function fluidResult(
  input: FluidInput & { readonly diurnal: Diurnal; readonly streamBps: number },
  memory: FluidMemory,
  variant: string,
  daysDone: number,
): SimulationResult {
  const { scenario, network, calendar, cells, diurnal, seed, streamBps } = input;
  const rows = new Float32Array(memory.rows);
  const flows = new Flows(scenario, network, calendar, diurnal, rows);
  const titles = cells.reduce((sum, cell) => sum + cell.titles, 0);
  const gatherer = new Gatherer({
    scenario,
    variant,
    network,
    calendar,
    rows,
    seed,
    engine: 'fluid',
    files: Math.round(titles) * scenario.catalogue.variants,
    streamBps,
  });
  for (let hour = 0; hour < daysDone * 24; hour++) gatherer.add(hour, flows.hour(hour));
  return gatherer.result(daysDone < scenario.days);
}

function exchangeCuts({ network }: FluidInput, memory: FluidMemory): ExchangeCuts {
  const indexOf = new Map<number, number>();
  network.sites.forEach((site, at) => {
    if (site.isExchange) indexOf.set(at, indexOf.size);
  });
  return { indexOf, cuts: new Int16Array(memory.exchanges) };
}

/** Of each exchange of the country the unit that holds most. */
function mainUnits({ units, sites }: Network, country: string): readonly number[] {
  const best = new Map<number, number>();
  units.forEach((unit, at) => {
    const site = sites[unit.site];
    if (!site.isExchange || site.country !== country) return;
    const known = best.get(unit.site);
    const bytes = (index: number): number => units[index].boxes * units[index].storageBytes;
    if (known === undefined || bytes(at) > bytes(known)) best.set(unit.site, at);
  });
  return [...best.values()];
}
