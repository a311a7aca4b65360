/**
 * What the forecaster offers the rest of the planner and, through the folder's door, the benches.
 */
export {
  forecastDemand,
  type DemandForecast,
  type ForecastOptions,
  type ForecastVerdict,
} from './demand-forecast.ts';
export type { DemandRecord } from './demand-records.ts';
export type { ForecastTitle } from './programmes.ts';
export type { ForecastCluster } from './region-tree.ts';
export {
  QUIET_TREND,
  stepTrend,
  worthFilling,
  type TrendBin,
  type TrendState,
  type TrendVerdict,
} from './trend.ts';
export { NO_DATA, runBacktests, type BacktestData } from './backtest/suite.ts';
export { roundedScores, scoreText } from './backtest/report.ts';
export type { ModelScore } from './backtest/metrics.ts';
export { readBacktestData } from './io/backtest-data.ts';
