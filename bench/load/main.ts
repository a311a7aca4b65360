/**
 * The load generator's own process: one LoadSpec as JSON in the first argument, one LoadReport as JSON on stdout.
 */
import { runLoad, type LoadSpec } from './generator.ts';
import { runTlsLoad } from './tls-generator.ts';

const spec = JSON.parse(process.argv[2] ?? 'null') as LoadSpec | null;
if (spec === null) {
  console.error('usage: node bench/load/main.ts SPEC (see LoadSpec in bench/load/generator.ts)');
  process.exitCode = 2;
} else {
  const report = spec.isTls === true ? await runTlsLoad(spec) : runLoad(spec);
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
