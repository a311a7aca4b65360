/**
 * `npm run bench -- steer`: how many decisions a second, in process and over HTTP, how large the tables are, and what a night's changes cost.
 *
 *   --data DIR          the measured sites and prefixes; drawn from a seed where absent
 *   --boxes N           boxes with holdings (default 1,700: a region shard of a tenth); the fleet always has 17,000
 *   --files N           whole files a box holds (default 400,000)
 *   --seconds S         of each measurement (default 5)
 */
import { numberArgument, machineFacts, textArgument } from './load/facts.ts';
import type { BenchOptions } from './main.ts';
import { measureHttp } from './steer/http.ts';
import { measureDecisions, measureHoldings } from './steer/in-process.ts';
import { measurePrefixes } from './steer/prefixes.ts';
import { makeTopology, type TopologySize } from './steer/topology.ts';

const SEED = 20_261_121;

export async function run({ smoke, args }: BenchOptions): Promise<unknown> {
  const size: TopologySize = smoke
    ? { appliances: 170, sites: 60, titles: 50, filesPerTitle: 8, v4: 5000, v6: 1000 }
    : { appliances: 17_000, sites: 6000, titles: 2000, filesPerTitle: 40, v4: 1e6, v6: 2e5 };
  const boxes = numberArgument(args, '--boxes') ?? (smoke ? 60 : 1700);
  const files = numberArgument(args, '--files') ?? (smoke ? 5000 : 400_000);
  const seconds = numberArgument(args, '--seconds') ?? (smoke ? 0.3 : 5);
  const data = textArgument(args, '--data');
  const plan = { data, size, seed: SEED, boxes: Math.min(boxes, size.appliances), files };
  console.error('steer: making the fleet and its prefixes');
  const topology = makeTopology(data, size, SEED);
  const { table, figures: prefixes } = measurePrefixes(topology.prefixes, SEED, smoke);
  console.error(`steer: prefixes ${JSON.stringify(prefixes)}`);
  const { fleet, figures: holdings } = measureHoldings(topology.snapshot, table, plan);
  console.error(`steer: holdings ${JSON.stringify(holdings)}`);
  const inProcess = measureDecisions(fleet, topology.prefixes, seconds);
  console.error(`steer: in process ${JSON.stringify(inProcess)}`);
  const http = await measureHttp(plan, seconds);
  return {
    steer: {
      machine: machineFacts(),
      source: topology.source,
      size: { ...size, boxesWithHoldings: plan.boxes, filesHeld: files },
      prefixes,
      holdings,
      inProcess,
      http,
    },
  };
}
