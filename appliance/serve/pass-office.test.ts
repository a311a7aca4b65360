import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '#base/random.ts';
import { StoredEntry } from '../store/entry.ts';
import { OpenFile } from '../store/open-files.ts';
import { LentFiles, PassOffice } from './pass-office.ts';
import { SharedWords } from './shared-words.ts';
import { KnownToken } from './viewer-verdicts.ts';

const TOKEN = new KnownToken(
  {
    home: 'home',
    reason: 'home',
    expiresAtSeconds: 100,
    notBeforeSeconds: 0,
    keyId: 'k',
    issuer: 'steering',
    covers: () => true,
  },
  1,
  0.5,
);

function open(fd: number): OpenFile {
  const entry = new StoredEntry(
    0,
    {
      fileId: String(fd).padStart(64, '0'),
      sizeBytes: 1000,
      titles: ['film'],
      isPinned: true,
      forecastPerDay: 1,
      storedAtMs: 0,
      from: 'origin',
    },
    null,
    true,
  );
  const file = new OpenFile(entry, { fd, isWritable: false }, () => {});
  file.references = 1; // of the answer that is being sent
  return file;
}

class World {
  readonly words = new SharedWords();
  readonly lent = new LentFiles(
    this.words,
    (file) => void file.references++,
    (file) => void file.references--,
  );
}

test('a pass keeps its file open until it is given back, and a file that left ends its passes in every thread', () => {
  const { words, lent } = new World();
  const offices = [new PassOffice(lent, words), new PassOffice(lent, words)];
  const file = open(7);
  const passes = offices.map((office) => office.issue({ token: TOKEN, titleId: 'film', file }));
  const [one, two] = passes;
  assert.ok(one !== null && two !== null);
  assert.equal(file.references, 3);
  assert.equal(words.generation(one.place), one.generation);
  file.isDetached = true;
  file.onDetached?.();
  for (const pass of [one, two]) assert.notEqual(words.generation(pass.place), pass.generation);
  assert.equal(offices[0].issue({ token: TOKEN, titleId: 'film', file }), null);
  offices[0].givenBack([one.id, one.id]);
  assert.equal(file.references, 2, 'once');
  offices[1].close();
  assert.equal(file.references, 1);
  assert.equal(lent.count, 0);
});

test('a place that is used again never makes an older pass hold', () => {
  const { words, lent } = new World();
  const office = new PassOffice(lent, words);
  const random = seededRandom(5);
  const held = new Map<number, { place: number; generation: number; file: OpenFile }>();
  let fd = 0;
  for (let step = 0; step < 2000; step++) {
    const some = [...held][random.below(Math.max(1, held.size))];
    const act = random.below(4);
    if (some === undefined || act < 2) {
      const file = some === undefined || act === 0 ? open(++fd) : some[1].file;
      const pass = office.issue({ token: TOKEN, titleId: 'film', file });
      assert.equal(pass === null, file.isDetached);
      if (pass !== null) held.set(pass.id, { ...pass, file });
    } else if (act === 2) {
      const { file } = some[1];
      if (!file.isDetached) {
        file.isDetached = true;
        file.onDetached?.();
      }
    } else {
      office.givenBack([some[0]]);
      held.delete(some[0]);
    }
    for (const { place, generation, file } of held.values()) {
      assert.equal(words.generation(place) === generation, !file.isDetached);
    }
  }
  office.close();
  assert.equal(lent.count, 0);
});
