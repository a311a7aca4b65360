import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Type } from 'typebox';
import { checker, ConfigProblem, readConfigFile, withDefaults } from './config.ts';

const Schema = Type.Object(
  {
    port: Type.Integer({ minimum: 1, maximum: 65_535 }),
    cache: Type.Object({ bytesMax: Type.Integer({ default: 100 }) }, { default: {} }),
  },
  { additionalProperties: false },
);

test('defaults are filled in, at every depth, without touching the input', () => {
  const input = { port: 80 };
  const outcome = withDefaults(Schema, input);
  assert.deepEqual(outcome, { ok: true, value: { port: 80, cache: { bytesMax: 100 } } });
  assert.deepEqual(input, { port: 80 });
});

test('every problem is listed at once, unknown keys by name, and nothing is coerced', () => {
  const outcome = withDefaults(Schema, { port: '80', cache: { bytesMax: 1.5 }, prot: 1 });
  assert.ok(!outcome.ok);
  const text = outcome.failure.join('\n');
  assert.match(text, /\/port/);
  assert.match(text, /\/cache\/bytesMax/);
  assert.match(text, /\(top level\): there is no field "prot"/);
  assert.equal(outcome.failure.length, 3, 'each once');
});

test('a message is checked without filling defaults', () => {
  assert.equal(checker(Schema)({ port: 80 }).ok, false);
});

test('a configuration file that cannot be used says which file and every reason', () => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'nightfill-config-'));
  const file = path.join(directory, 'box.json');
  try {
    assert.throws(() => readConfigFile(Schema, file), ConfigProblem);
    assert.throws(() => readConfigFile(Schema, file), /box\.json[^]*there is no such file/);
    writeFileSync(file, '{ "port": 80, ');
    assert.throws(() => readConfigFile(Schema, file), /box\.json is not valid/);
    writeFileSync(file, '{ "port": 80 }');
    assert.equal(readConfigFile(Schema, file).cache.bytesMax, 100);
    assert.throws(
      () => readConfigFile(Schema, file, () => ['port and cache do not fit']),
      /do not fit/,
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});
