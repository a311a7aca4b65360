/**
 * A million random inputs to the parsers that stand before everybody: request heads against llhttp, Range headers against a slow rule.
 *
 * npm run bench -- fuzz --json      1,000,000 of each; --inputs N --seed N
 *
 * Exit status 1 at the first crash or disagreement, with the input and the seed.
 */
import { fuzzHeads } from '#appliance/appliance.ts';
import { fuzzRanges } from '#upstream/upstream.ts';
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';

export async function run(options: BenchOptions): Promise<unknown> {
  const inputs = options.smoke ? 20_000 : (numberArgument(options.args, '--inputs') ?? 1_000_000);
  const seed = numberArgument(options.args, '--seed') ?? 20261121;
  const requestHead = fuzzHeads(inputs, seed);
  console.error(
    `request heads: ${inputs}, of which ${requestHead.plain} plain and the same to llhttp, ${requestHead.notPlain} handed over, ${requestHead.incomplete} incomplete; ${requestHead.crashes} crashes`,
  );
  const range = fuzzRanges(inputs, seed);
  console.error(
    `Range headers: ${inputs}, of which ${range.part} a part, ${range.unsatisfiable} unsatisfiable, ${range.whole} whole; ${range.crashes} crashes`,
  );
  const first = requestHead.first ?? range.first;
  if (first !== null) throw new Error(`seed ${seed}, ${first}`);
  return { fuzz: { seed, requestHead, range } };
}
