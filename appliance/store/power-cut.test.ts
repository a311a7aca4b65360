import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { PowerCutDisk } from './power-cut-disk.ts';
import { cutPower } from './power-cut-run.ts';

/** `NIGHTFILL_POWER_CUTS=10000 NIGHTFILL_SEED=7` for more, or another seed; `npm run bench -- power-cuts` too. */
const CUTS = Number(process.env['NIGHTFILL_POWER_CUTS'] ?? 1000);
const SEED = Number(process.env['NIGHTFILL_SEED'] ?? 20261121);
const ID = 'A'.repeat(43);

test(`${CUTS} power cuts on a disk that forgets, tears and reorders: no chunk is called present that is not`, async () => {
  const report = await cutPower(CUTS, SEED);
  assert.equal(report.first, null);
  assert.deepEqual([report.chunksWrong, report.filesLost], [0, 0]);
  assert.ok(
    report.chunksChecked > CUTS / 2,
    `${report.chunksChecked} chunks were checked: the test shows something`,
  );
  assert.ok(report.wholeFiles > 0, 'some files were whole');
});

/** What is left of one write, one name or one removal that nobody synced, over many seeds. */
async function afterCuts(
  work: (files: ReturnType<PowerCutDisk['volume']>['files']) => Promise<void>,
): Promise<Record<string, number>> {
  const seen: Record<string, number> = {};
  for (let seed = 0; seed < 100; seed++) {
    const disk = new PowerCutDisk(seededRandom(seed));
    const { files } = disk.volume(1000);
    await work(files);
    disk.cutAfter(0);
    disk.spend();
    disk.restore();
    const opened = await files.open(ID, false);
    let outcome = 'no name';
    if (opened.ok) {
      const into = Buffer.alloc(300);
      await files.read(opened.value, into, 0);
      const kept = into.indexOf(0) === -1 ? 300 : into.indexOf(0);
      outcome = kept === 300 ? 'kept' : kept === 0 ? 'forgotten' : 'torn';
    }
    seen[outcome] = (seen[outcome] ?? 0) + 1;
  }
  return seen;
}

/** A file whose bytes are safe; its name is not. */
async function writeSynced(files: ReturnType<PowerCutDisk['volume']>['files']): Promise<void> {
  const made = await files.create(ID);
  assert.ok(made.ok);
  await files.write(made.value, Buffer.alloc(300, 'x'), 0);
  await files.sync(made.value);
}

test('the disk forgets, tears or keeps a write that was not synced', async () => {
  const seen = await afterCuts(async (files) => {
    const made = await files.create(ID);
    assert.ok(made.ok);
    await files.syncName(ID);
    await files.write(made.value, Buffer.alloc(300, 'x'), 0);
  });
  assert.ok(seen['kept'] > 10 && seen['forgotten'] > 10 && seen['torn'] > 10, JSON.stringify(seen));
  assert.equal(seen['no name'], undefined);
});

test('the disk forgets a directory entry that was not synced, whatever its bytes are', async () => {
  const seen = await afterCuts(writeSynced);
  assert.ok(seen['no name'] > 20 && seen['kept'] > 20, JSON.stringify(seen));
  assert.equal(seen['torn'], undefined, 'what was synced is whole');
});

test('the disk reorders: a removal that came later may hold where an earlier name is lost, and the other way round', async () => {
  const seen = await afterCuts(async (files) => {
    await writeSynced(files);
    await files.syncName(ID);
    await files.finish(ID);
    await files.remove(ID);
  });
  assert.ok(seen['no name'] > 10 && seen['kept'] > 10, JSON.stringify(seen));
});

test('what was synced, bytes and name, survives every cut', async () => {
  const seen = await afterCuts(async (files) => {
    await writeSynced(files);
    await files.syncName(ID);
  });
  assert.deepEqual(seen, { kept: 100 });
});
