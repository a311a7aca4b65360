/**
 * The two live plots: what goes to viewers, and what fills. Drawn by uPlot (a global of its script).
 *
 * The time axis always spans ten minutes, so that the curve moves and nothing else does.
 */
import { element, setText } from './dom.js';
import { formatBps } from './format.js';

/** @typedef {import('../../fleet-view.ts').SeriesPoint} SeriesPoint */
/** @typedef {{ label: string, colour: string, of: (point: SeriesPoint) => number, top?: (point: SeriesPoint) => number }} Curve */

const SPAN_SECONDS = 600;
const HEIGHT_OF = () => (matchMedia('(max-width: 640px)').matches ? 104 : 118);
const CURSOR_KEY = 'nightfill-fleet';

/** Later curves are drawn over earlier ones; `top` is where a stacked curve ends. */
const VIEWERS = /** @type {readonly Curve[]} */ ([
  { label: 'To viewers', colour: '--box', of: (point) => point.viewerBps },
  {
    label: 'of it, origin on demand',
    colour: '--origin',
    of: (point) => point.originServeBps,
  },
]);
const FILL = /** @type {readonly Curve[]} */ ([
  {
    label: 'Fill from peers, tiers',
    colour: '--peer',
    of: (point) => point.peerFillBps,
    top: (point) => point.peerFillBps + point.originFillBps,
  },
  { label: 'from the origin', colour: '--origin', of: (point) => point.originFillBps },
]);

export function makeCharts() {
  const charts = [
    new Chart('chart-viewers', 'legend-viewers', VIEWERS),
    new Chart('chart-fill', 'legend-fill', FILL),
  ];
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    for (const chart of charts) chart.remake();
  });
  return {
    /** @param {readonly SeriesPoint[]} series @param {number} nowMs */
    show(series, nowMs) {
      for (const chart of charts) chart.show(series, nowMs);
    },
  };
}

class Chart {
  #host;
  #curves;
  /** @type {any} */
  #plot = null;
  /** @type {HTMLElement[]} */
  #values = [];
  /** @type {readonly SeriesPoint[]} */
  #series = [];
  #nowMs = 0;
  /** @type {number | null} */
  #pointed = null;

  /**
   * @param {string} hostId
   * @param {string} legendId
   * @param {readonly Curve[]} curves
   */
  constructor(hostId, legendId, curves) {
    this.#host = /** @type {HTMLElement} */ (document.getElementById(hostId));
    this.#curves = curves;
    const legend = /** @type {HTMLElement} */ (document.getElementById(legendId));
    for (const curve of curves) {
      const value = element('b', {}, '–');
      const swatch = element('i');
      swatch.style.background = `var(${curve.colour})`;
      legend.append(element('span', {}, swatch, curve.label, value));
      this.#values.push(value);
    }
    if (!('uPlot' in globalThis)) {
      this.#host.append(
        element(
          'p',
          { class: 'quiet small' },
          'The plot’s script /vendor/uPlot.iife.min.js did not load.',
        ),
      );
      return;
    }
    new ResizeObserver(() => {
      this.#plot?.setSize({ width: this.#host.clientWidth, height: HEIGHT_OF() });
    }).observe(this.#host);
  }

  /** @param {readonly SeriesPoint[]} series @param {number} nowMs */
  show(series, nowMs) {
    this.#series = series;
    this.#nowMs = nowMs;
    this.#showValues();
    if (!('uPlot' in globalThis)) return;
    if (this.#plot === null) this.remake();
    else this.#plot.setData(this.#data());
  }

  /** Colours are read once by the plot: another scheme needs another plot. */
  remake() {
    if (!('uPlot' in globalThis) || this.#nowMs === 0) return;
    this.#plot?.destroy();
    const colour = (/** @type {string} */ name) =>
      getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const grid = { stroke: colour('--line'), width: 1 };
    const axis = {
      stroke: colour('--ink-3'),
      grid,
      ticks: { show: false },
      font: '11px system-ui',
    };
    const UPlot = /** @type {any} */ (globalThis).uPlot;
    this.#plot = new UPlot(
      {
        width: this.#host.clientWidth,
        height: HEIGHT_OF(),
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: CURSOR_KEY } },
        scales: {
          x: { time: true, range: () => [this.#nowMs / 1000 - SPAN_SECONDS, this.#nowMs / 1000] },
          y: {
            range: (
              /** @type {any} */ _plot,
              /** @type {number} */ _low,
              /** @type {number} */ high,
            ) => [0, roundUp(high)],
          },
        },
        axes: [
          { ...axis, size: 24, space: 60, incrs: [60, 120, 300], values: clockLabels },
          {
            ...axis,
            size: 76,
            space: 26,
            values: (/** @type {any} */ _plot, /** @type {number[]} */ ticks) =>
              ticks.map((tick) => formatBps(tick)),
          },
        ],
        series: [
          {},
          ...this.#curves.map((curve) => ({
            stroke: colour(curve.colour),
            fill: `${colour(curve.colour)}${curve.top === undefined ? '30' : '38'}`,
            width: 1.5,
            points: { show: false },
          })),
        ],
        hooks: {
          setCursor: [
            (/** @type {any} */ plot) => {
              this.#pointed = plot.cursor.idx ?? null;
              this.#showValues();
            },
          ],
        },
      },
      this.#data(),
      this.#host,
    );
  }

  #data() {
    const curves = this.#curves.map((curve) => this.#series.map(curve.top ?? curve.of));
    return [this.#series.map((point) => point.atMs / 1000), ...curves];
  }

  #showValues() {
    const point =
      (this.#pointed === null ? undefined : this.#series[this.#pointed]) ?? this.#series.at(-1);
    this.#curves.forEach((curve, index) => {
      setText(this.#values[index], point === undefined ? '–' : formatBps(curve.of(point)));
    });
  }
}

/** 1, 2, 2.5, 5, 10 times a power of ten: the axis changes seldom. @param {number | null} high */
function roundUp(high) {
  if (high === null || high <= 0) return 1000;
  const power = 10 ** Math.floor(Math.log10(high));
  const steps = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
  const step = steps.find((step) => step * power >= high * 1.05) ?? 20;
  return step * power;
}

/** @param {any} _plot @param {number[]} ticks Unix seconds */
function clockLabels(_plot, ticks) {
  return ticks.map((tick) =>
    new Date(tick * 1000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' }),
  );
}
