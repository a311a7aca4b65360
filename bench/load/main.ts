/**
 * The load generator's own process: one LoadSpec as JSON in the first argument, one LoadReport as JSON on stdout.
 */
import { runLoad, type LoadSpec } from './generator.ts';

const spec = JSON.parse(process.argv[2] ?? 'null') as LoadSpec | null;
if (spec === null) {
  console.error('usage: node bench/load/main.ts SPEC (see LoadSpec in bench/load/generator.ts)');
  process.exitCode = 2;
} else {
  process.stdout.write(`${JSON.stringify(runLoad(spec))}\n`);
}
