import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { CACHE_POLICIES, runPolicy } from '#fill-planner/fill-planner.ts';
import { readFootprint, videoTrace } from './video-trace.ts';

test('a trace made from a descriptor has its LRU hit ratio at a size, and is the same for the same seed', () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'nightfill-footprint-'));
  try {
    // 1,000 requests for 800,000 KB over 1,000 s, 400 of them new; the others come back within 200 MB, or within 4 to 4.2 GB.
    const descriptor = '1000 800000 0 1000 400 320000\n0 0 0.4\n200 4000000 0.2\n';
    writeFileSync(path.join(directory, 'footprint_desc_all.txt'), descriptor);
    writeFileSync(path.join(directory, 'iat_sz_all.txt'), '-1\n600 0.2\n1000 0.2\n0\n7 0.6\n');
    const footprint = readFootprint(directory);
    assert.equal(footprint.newShare, 0.4);
    assert.equal(footprint.sizeKbMean, 800);
    const trace = videoTrace(footprint, 30_000, 7);
    assert.deepEqual(trace.ids, videoTrace(footprint, 30_000, 7).ids);
    assert.deepEqual(new Set(trace.sizes), new Set([600_000, 1_000_000]));
    const hits = (bytes: number): number =>
      1 - runPolicy(trace, CACHE_POLICIES['lru'], bytes).objectMissRatio;
    assert.ok(Math.abs(hits(1e9) - 0.4) < 0.02, `${hits(1e9)} within 1 GB`);
    // What comes back after 4 GB is new while the trace is younger than that: a sixth of it.
    assert.ok(Math.abs(hits(6e9) - 0.57) < 0.04, `${hits(6e9)} within 6 GB`);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
