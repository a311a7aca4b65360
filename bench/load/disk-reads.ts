/**
 * The disk by itself: 1 MiB reads of one file past the page cache, many at once, by no server. A process of its own:
 * node bench/load/disk-reads.ts FILE BYTES_OF_FILE WALK_FROM DURATION_MS; one line of JSON: { bytesPerSecond }.
 */
import { closeSync, constants, openSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { loadLinux, whyNoLinux } from '#base/io/linux.ts';
import { MIB } from '#base/units.ts';
import { scatteredPlace } from './generator.ts';

const READS_AT_ONCE = 32; // wants as many threads: UV_THREADPOOL_SIZE=32

const [file = '', ...numbers] = process.argv.slice(2);
const [fileBytes, walkFrom, durationMs] = numbers.map(Number);
const linux = loadLinux();
if (linux === null) throw new Error(`the disk is read through native calls: ${whyNoLinux()}`);

const readInto = promisify(read);
const places = Math.floor(fileBytes / MIB);
const fd = openSync(file, constants.O_RDONLY | constants.O_DIRECT);
const startMs = performance.now();
let walked = 0;
let bytes = 0;
await Promise.all(
  Array.from({ length: READS_AT_ONCE }, async () => {
    const memory = linux.memory(MIB).bytes;
    while (performance.now() - startMs < durationMs) {
      const at = scatteredPlace(walkFrom + walked++, places) * MIB;
      const { bytesRead } = await readInto(fd, memory, 0, MIB, at);
      bytes += bytesRead; // not "+= await": that would add to what bytes was before the wait
    }
  }),
);
const seconds = (performance.now() - startMs) / 1000;
closeSync(fd);
process.stdout.write(`${JSON.stringify({ bytesPerSecond: Math.round(bytes / seconds) })}\n`);
