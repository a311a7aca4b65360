/**
 * Power cuts on a disk that forgets, tears and reorders whatever was not synced, directory entries included.
 *
 * npm run bench -- power-cuts --json      1,000 cuts; --cuts N --seed N
 *
 * Exit status 1 where a chunk that is called present is not, or a file of the catalogue is missing.
 */
import { cutPower } from '#appliance/appliance.ts';
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';

export async function run(options: BenchOptions): Promise<unknown> {
  const cuts = options.smoke ? 50 : (numberArgument(options.args, '--cuts') ?? 1000);
  const seed = numberArgument(options.args, '--seed') ?? 20261121;
  const report = await cutPower(cuts, seed);
  console.error(
    `${cuts} power cuts of seed ${seed}: ${report.chunksChecked} chunks called present, ${report.chunksWrong} of them wrong, ${report.filesLost} files lost`,
  );
  if (report.first !== null) throw new Error(report.first);
  return { powerCuts: { seed, ...report } };
}
