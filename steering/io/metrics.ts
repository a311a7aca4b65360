/**
 * Prometheus metrics: figures are read when somebody scrapes.
 */
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';

export type Figures = () => Readonly<Record<string, number>>;

export function createMetrics(
  figures: Figures,
): () => Promise<{ readonly text: string; readonly contentType: string }> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of Object.keys(figures())) {
    const full = `nightfill_steering_${name}`;
    const help = name.replaceAll('_', ' ');
    if (name.endsWith('_total')) {
      const counter = new Counter({
        name: full,
        help,
        registers: [registry],
        collect() {
          counter.reset();
          counter.inc(figures()[name]);
        },
      });
    } else {
      const gauge = new Gauge({
        name: full,
        help,
        registers: [registry],
        collect() {
          gauge.set(figures()[name]);
        },
      });
    }
  }
  return async () => ({ text: await registry.metrics(), contentType: registry.contentType });
}
