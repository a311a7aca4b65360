/** Draws a plot into a file. */
import { writeFileSync } from 'node:fs';
import type { TopLevelSpec } from 'vega-lite';
import { svgOf } from '../../../report/simulation/render.ts';

export async function writeSvg(path: string, spec: TopLevelSpec): Promise<void> {
  writeFileSync(path, await svgOf(spec));
}
