/**
 * Draws a Vega-Lite specification as SVG, without a browser or a DOM; the same bytes for the same specification.
 *
 * Errors: a specification that Vega-Lite warns about is a bug here: it throws with the warning
 */
import { assert } from '#base/outcome.ts';
import type { TopLevelSpec } from 'vega-lite';

/** Drawing loads a megabyte of library: only who draws pays for it. */
export async function svgOf(spec: TopLevelSpec): Promise<string> {
  const [{ compile }, vega] = await Promise.all([import('vega-lite'), import('vega')]);
  const warnings: string[] = [];
  const logger = {
    level: () => logger,
    warn: (...words: readonly unknown[]) => {
      warnings.push(words.join(' '));
      return logger;
    },
    info: () => logger,
    debug: () => logger,
    error: (...words: readonly unknown[]) => {
      warnings.push(words.join(' '));
      return logger;
    },
  };
  const { spec: compiled } = compile(spec, { logger: logger });
  assert(warnings.length === 0, `the plot's specification: ${warnings.join('; ')}`);
  const view = new vega.View(vega.parse(compiled), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}
