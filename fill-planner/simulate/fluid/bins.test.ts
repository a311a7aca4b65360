import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { binnedOrder, ladderBins } from './bins.ts';

test('the bins of a whole catalogue weigh exactly what its files do: nobody is served more than is asked for', () => {
  const random = seededRandom(20261121);
  for (let run = 0; run < 20; run++) {
    const shares = Float64Array.from({ length: 50 }, (_, at) => 0.3 * 0.85 ** at);
    const bytesPerSecond = Float64Array.from(shares, () => 1e5 * (1 + 10 * random.next()));
    const views = Float64Array.from({ length: 200 }, (_, at) => 0.1 / (at + 1 + random.next()));
    const seconds = Float64Array.from(views, () => 1000 + 5000 * random.next());
    const ladder = ladderBins({ shares, bytesPerSecond });
    const order = binnedOrder(views, seconds, ladder, Infinity);
    assert.ok(order.isWhole);
    let sum = 0;
    for (let bin = 0; bin < order.bins; bin++) sum += order.bytes[bin] * order.densities[bin];
    assert.ok(Math.abs(sum / order.viewBytes - 1) < 1e-9, `${sum / order.viewBytes}`);
  }
});
