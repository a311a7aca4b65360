/**
 * Who may read whom: the folder rules of the house, checked over parsed imports.
 *
 * Rules: (1) a crossing between folders is written `#folder/door.ts` and the door exists
 *        (2) a folder reads only the folders that the table below allows
 *        (3) contract.ts files import each other from right to left only: upstream < control-plane < appliance < fill-planner < steering
 *        (4) a relative path never leaves its folder (cli.ts may start each folder's main.ts)
 *        (5) what touches the world (sockets, disks, processes, databases) is imported in io/, main.ts and tests only
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseSync } from 'oxc-parser';

const ROOT = path.join(import.meta.dirname, '..');
const SERVICES = ['upstream', 'control-plane', 'appliance', 'fill-planner', 'steering'] as const;
const EVERYTHING: readonly string[] = [...SERVICES, 'base'];

const READS: Readonly<Record<string, readonly string[]>> = {
  base: ['base'],
  upstream: ['base', 'upstream', 'control-plane', 'steering'],
  'control-plane': ['base', 'control-plane', 'upstream', 'appliance', 'fill-planner'],
  appliance: ['base', 'appliance', 'upstream', 'control-plane', 'steering'],
  'fill-planner': ['base', 'fill-planner', 'upstream', 'appliance', 'control-plane'],
  steering: ['base', 'steering', 'upstream', 'appliance', 'control-plane'],
  deploy: EVERYTHING,
  bench: EVERYTHING,
  test: EVERYTHING,
  'cli.ts': EVERYTHING,
};

const EDGES =
  /^(node:(fs|fs\/promises|net|tls|http|https|http2|dgram|dns|child_process|cluster|worker_threads)|undici|better-sqlite3|fastify|@fastify\/.*|ws|node-cron|@duckdb\/.*)$/;

interface Import {
  readonly file: string; // from the root, with "/"
  readonly line: number;
  readonly specifier: string;
  readonly typeOnly: boolean;
}

function sourceFiles(): readonly string[] {
  return globSync('**/*.ts', {
    cwd: ROOT,
    exclude: (name) => name.split(path.sep).includes('node_modules'),
  })
    .map((file) => file.split(path.sep).join('/'))
    .sort();
}

function importsOf(file: string): readonly Import[] {
  const text = readFileSync(path.join(ROOT, file), 'utf8');
  const parsed = parseSync(file, text);
  assert.deepEqual(parsed.errors, [], `${file} does not parse`);
  const found: Import[] = [];
  const add = (specifier: string, start: number, typeOnly: boolean): void => {
    found.push({ file, line: text.slice(0, start).split('\n').length, specifier, typeOnly });
  };
  for (const entry of parsed.module.staticImports) {
    const typeOnly = entry.entries.length > 0 && entry.entries.every((name) => name.isType);
    add(entry.moduleRequest.value, entry.start, typeOnly);
  }
  for (const entry of parsed.module.staticExports) {
    for (const name of entry.entries) {
      if (name.moduleRequest !== null) add(name.moduleRequest.value, entry.start, name.isType);
    }
  }
  for (const entry of parsed.module.dynamicImports) {
    const literal = text.slice(entry.moduleRequest.start, entry.moduleRequest.end);
    const match = /^['"`]([^'"`$]+)['"`]$/.exec(literal);
    if (match !== null) add(match[1], entry.start, false);
  }
  return found;
}

/** Every rule that one import breaks. */
function broken(entry: Import, doors: ReadonlySet<string>): readonly string[] {
  const at = `${entry.file}:${entry.line} imports ${entry.specifier}`;
  const problems: string[] = [];
  const folder = folderOf(entry.file);
  if (entry.specifier.startsWith('#')) {
    const target = entry.specifier.slice(1).split('/')[0];
    if (target !== 'base' && !doors.has(entry.specifier)) problems.push(`${at}: no door`);
    if (!(READS[folder] ?? []).includes(target))
      problems.push(`${at}: ${folder} may not read ${target}`);
    if (isContract(entry.file) && isContract(entry.specifier.slice(1))) {
      const from = SERVICES.indexOf(folder as (typeof SERVICES)[number]);
      const to = SERVICES.indexOf(target as (typeof SERVICES)[number]);
      if (to > from) problems.push(`${at}: a contract reads only those to its left`);
    }
  } else if (entry.specifier.startsWith('.')) {
    const target = path.posix.normalize(
      path.posix.join(path.posix.dirname(entry.file), entry.specifier),
    );
    const isMainOfFolder =
      entry.file === 'cli.ts' && /^[a-z-]+(\/[a-z-]+)?\/main\.ts$/.test(target);
    if (folderOf(target) !== folder && !isMainOfFolder && target !== 'package.json') {
      problems.push(`${at}: a relative path leaves ${folder}`);
    }
  } else if (EDGES.test(entry.specifier) && !entry.typeOnly && !mayTouchTheWorld(entry.file)) {
    problems.push(`${at}: only io/ and main.ts touch the world`);
  }
  return problems;
}

function folderOf(file: string): string {
  return file.split('/')[0];
}

function isContract(file: string): boolean {
  return file.endsWith('/contract.ts');
}

function mayTouchTheWorld(file: string): boolean {
  const parts = file.split('/');
  return (
    parts.includes('io') ||
    parts.at(-1) === 'main.ts' ||
    /\.(test|fuzz|bench)\.ts$/.test(file) ||
    ['base', 'bench', 'deploy', 'test', 'cli.ts'].includes(parts[0])
  );
}

const packageJson = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
  imports: Record<string, string>;
};
const doors = new Set(Object.keys(packageJson.imports));

test('every import in the tree keeps the folder rules', () => {
  const files = sourceFiles();
  const imports = files.flatMap(importsOf);
  assert.ok(files.length >= 30, `looked at ${files.length} files only`);
  assert.ok(imports.length >= 100, `looked at ${imports.length} imports only`);
  assert.deepEqual(
    imports.flatMap((entry) => broken(entry, doors)),
    [],
  );
});

test('the rules refuse what they are there to refuse', () => {
  const cases: readonly [file: string, specifier: string, why: RegExp][] = [
    ['appliance/serve/range.ts', '#fill-planner/contract.ts', /may not read/],
    ['appliance/serve/range.ts', '../../steering/ranking.ts', /leaves appliance/],
    ['upstream/contract.ts', '#steering/contract.ts', /to its left/],
    ['base/units.ts', '#upstream/contract.ts', /may not read/],
    ['steering/ranking.ts', '#appliance/store/catalogue.ts', /no door/],
    ['steering/ranking.ts', 'node:fs', /touch the world/],
    ['cli.ts', './appliance/store/catalogue.ts', /leaves cli/],
  ];
  for (const [file, specifier, why] of cases) {
    const problems = broken({ file, line: 1, specifier, typeOnly: false }, doors);
    assert.match(problems.join('\n'), why, `${file} -> ${specifier}`);
  }
});

test('every door that package.json names exists', () => {
  for (const [door, file] of Object.entries(packageJson.imports)) {
    if (door.includes('*')) continue;
    assert.ok(globSync(file, { cwd: ROOT }).length === 1, `${door} -> ${file} does not exist`);
  }
});
