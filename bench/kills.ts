/**
 * kill -9 at random points of writes, drops and evictions in a store on a real disk.
 *
 * npm run bench -- kills --json      200 kills; --kills N --seed N
 *
 * Exit status 1 where a chunk that is called present is not, or a file of the catalogue is missing.
 */
import { killAgainAndAgain } from '#appliance/appliance.ts';
import { numberArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';

export async function run(options: BenchOptions): Promise<unknown> {
  const kills = options.smoke ? 3 : (numberArgument(options.args, '--kills') ?? 200);
  const seed = numberArgument(options.args, '--seed') ?? 20261121;
  const report = await killAgainAndAgain(kills, seed);
  console.error(
    `${kills} kills of seed ${seed}: ${report.chunksChecked} chunks called present, ${report.chunksWrong} of them wrong, ${report.filesLost} files lost`,
  );
  if (report.first !== null) throw new Error(report.first);
  return { kills: { seed, ...report } };
}
