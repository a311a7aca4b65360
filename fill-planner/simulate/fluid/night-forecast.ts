/**
 * What the fleet planner expects of a country's day, from what was counted on the fourteen days before: the planner's own forecast, run
 * on cells instead of titles.
 *
 * A cell of many titles counts as one: a forecast is by shares, and its titles are alike.
 */
import type { FleetDescription } from '../../fleet/fleet-files.ts';
import { regionOrderOf, worldSharesOf, type WorldShares } from '../../fleet/region-demand.ts';
import type { Cell } from '../workload/programmes.ts';

const DAY_MS = 86_400_000;
export const HISTORY_DAYS = 14; // what the fleet planner looks back on
const OLD_DAYS = 1000; // a catalogue title: out for longer than anybody counts

export class NightForecast {
  readonly #cells: readonly Cell[];
  readonly #startMs: number;
  readonly #placeable: Uint8Array;
  readonly #world = new Map<number, WorldShares>();
  readonly #worldViews: (day: number) => Float64Array;

  /** `worldViews`: of each cell on a day, all countries together. */
  constructor(
    cells: readonly Cell[],
    startDate: string,
    worldViews: (day: number) => Float64Array,
  ) {
    this.#cells = cells;
    this.#startMs = Date.parse(startDate);
    this.#placeable = new Uint8Array(cells.length).fill(1);
    this.#worldViews = worldViews;
  }

  /** Share of the country's title views that one title of each cell is expected to get on `day`. */
  titleViews(day: number, counted: (day: number) => Float64Array): Float64Array {
    const order = regionOrderOf(this.#fleet(day), this.#worldOn(day), {
      views: this.#history(day, counted),
      variants: ONE_VARIANT,
      placeable: this.#placeable,
      pins: null,
      previous: null,
    });
    return Float64Array.from(order.titles, (share, at) => share / this.#cells[at].titles);
  }

  #worldOn(day: number): WorldShares {
    let world = this.#world.get(day);
    if (world === undefined) {
      const firstDay = Math.round(this.#startMs / DAY_MS);
      world = worldSharesOf(this.#fleet(day), {
        views: this.#history(day, this.#worldViews),
        variants: ONE_VARIANT,
        released: Int32Array.from(this.#cells, (cell) => firstDay + (cell.releaseDay ?? -OLD_DAYS)),
        classes: Uint8Array.from(this.#cells, (cell) => (cell.releaseDay === null ? 0 : 1)),
      });
      this.#world.set(day, world);
    }
    return world;
  }

  /** Views of whole cells, fourteen days a cell, oldest first. */
  #history(day: number, counted: (day: number) => Float64Array): Float32Array {
    const views = new Float32Array(this.#cells.length * HISTORY_DAYS);
    for (let back = 0; back < HISTORY_DAYS; back++) {
      const ofDay = counted(day - HISTORY_DAYS + back);
      for (let at = 0; at < ofDay.length; at++) views[at * HISTORY_DAYS + back] = ofDay[at];
    }
    return views;
  }

  #fleet(day: number): FleetDescription {
    return {
      planDate: new Date(this.#startMs + day * DAY_MS).toISOString().slice(0, 10),
      epoch: 1,
      titles: this.#cells.length,
      variants: 1,
      days: HISTORY_DAYS,
      regions: [],
    };
  }
}

const ONE_VARIANT = Float32Array.of(1);
