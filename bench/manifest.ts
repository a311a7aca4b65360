/**
 * `npm run bench -- manifest --json`: one box's manifest of 400,000 files, full and as a delta of 2.7 %: seconds to make it, bytes
 * on the wire, peak memory above what the catalogue itself takes; and seconds for the box to check and apply each.
 *
 * Runs in a process of its own (bench/manifest/expansion.ts), so that memory is this work's and nobody else's.
 * Goals: 2 s, 64 MB, 20 MB full, 1 MB delta.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { ManifestMeasure } from './manifest/expansion.ts';

const FILES = 400_000;
const FILES_SMOKE = 20_000;
const REPEATS = 3;

export async function run(options: {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly args: readonly string[];
}): Promise<unknown> {
  const files = options.smoke ? FILES_SMOKE : FILES;
  const measures: ManifestMeasure[] = [];
  for (let at = 0; at < (options.smoke ? 1 : REPEATS); at++) measures.push(await measure(files));
  const of = (pick: (one: ManifestMeasure) => number): { median: number; worst: number } => {
    const values = measures.map(pick).sort((a, b) => a - b);
    return { median: values[values.length >> 1], worst: values[values.length - 1] };
  };
  const result = {
    manifest: {
      files,
      repeats: measures.length,
      fullSeconds: of((one) => one.fullSeconds),
      deltaSeconds: of((one) => one.deltaSeconds),
      fullPeakBytes: of((one) => one.fullPeakBytes),
      deltaPeakBytes: of((one) => one.deltaPeakBytes),
      fullWireBytes: measures[0].fullWireBytes,
      deltaWireBytes: measures[0].deltaWireBytes,
      deltaShare: measures[0].deltaShare,
      readFullSeconds: of((one) => one.readFullSeconds),
      readDeltaSeconds: of((one) => one.readDeltaSeconds),
      goals: { fullSeconds: 2, fullPeakBytes: 64e6, fullWireBytes: 20e6, deltaWireBytes: 1e6 },
    },
  };
  const { fullSeconds, fullPeakBytes, fullWireBytes, deltaWireBytes } = result.manifest;
  process.stderr.write(
    `${files} files: full in ${fullSeconds.median.toFixed(2)} s, ${(fullPeakBytes.median / 1e6).toFixed(0)} MB above the catalogue, ` +
      `${(fullWireBytes / 1e6).toFixed(2)} MB on the wire; delta of ${(100 * result.manifest.deltaShare).toFixed(1)} %: ` +
      `${(deltaWireBytes / 1e6).toFixed(2)} MB\n`,
  );
  return result;
}

function measure(files: number): Promise<ManifestMeasure> {
  const script = path.join(import.meta.dirname, 'manifest', 'expansion.ts');
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--expose-gc', script, String(files)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (part: Buffer) => {
      text += part.toString('utf8');
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as ManifestMeasure);
      else reject(new Error(`the measuring process ended with status ${code}`));
    });
  });
}
