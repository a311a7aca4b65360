/**
 * Configuration and message checking against a TypeBox schema: defaults filled in, unknown keys refused, nothing coerced, all problems at once.
 *
 * Shape:  check(schema, value) -> the value with defaults | the list of problems, each "path: what is wrong"
 * Errors: `readConfigFile` throws ConfigProblem, whose message lists everything that is wrong and where
 */
import { readFileSync } from 'node:fs';
import type { Static, TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { Value } from 'typebox/value';
import { codeOf, messageOf, type Outcome } from './outcome.ts';

const PROBLEMS_SHOWN_MAX = 50;

export class ConfigProblem extends Error {
  readonly problems: readonly string[];
  constructor(where: string, problems: readonly string[]) {
    super(`${where} is not valid:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigProblem';
    this.problems = problems;
  }
}

export type Checker<S extends TSchema> = (value: unknown) => Outcome<Static<S>, readonly string[]>;

/**
 * Compiles a schema once into a checker for messages. Objects are closed only where the schema
 * says `additionalProperties: false`.
 */
export function checker<S extends TSchema>(schema: S): Checker<S> {
  const compiled = Compile(schema);
  return (value) => {
    if (compiled.Check(value)) return { ok: true, value: value };
    return { ok: false, failure: describe(compiled.Errors(value)) };
  };
}

/** Fills defaults (on a copy), then checks. For configuration, where a missing field means its default. */
export function withDefaults<S extends TSchema>(
  schema: S,
  value: unknown,
): Outcome<Static<S>, readonly string[]> {
  const filled = Value.Default(schema, structuredClone(value));
  return checker(schema)(filled);
}

/** Reads a JSON file as configuration. `relations` returns problems between fields, none when all is well. */
export function readConfigFile<S extends TSchema>(
  schema: S,
  path: string,
  relations: (config: Static<S>) => readonly string[] = () => [],
): Static<S> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    const code = codeOf(thrown);
    const words = code === 'ENOENT' ? 'there is no such file' : messageOf(thrown);
    throw new ConfigProblem(path, [words]);
  }
  const outcome = withDefaults(schema, parsed);
  if (!outcome.ok) throw new ConfigProblem(path, outcome.failure);
  const broken = relations(outcome.value);
  if (broken.length > 0) throw new ConfigProblem(path, broken);
  return outcome.value;
}

function describe(
  errors: readonly { instancePath: string; message: string; params?: object; keyword?: string }[],
): readonly string[] {
  const problems = new Set<string>();
  for (const error of errors) {
    const path = error.instancePath === '' ? '(top level)' : error.instancePath;
    if (error.keyword === 'boolean') continue; // said again by the additionalProperties of its parent
    for (const words of wordsOf(error)) problems.add(`${path}: ${words}`);
    if (problems.size >= PROBLEMS_SHOWN_MAX) break;
  }
  return problems.size > 0 ? [...problems] : ['a field that is not allowed here'];
}

function wordsOf(error: {
  readonly message: string;
  readonly params?: object;
  readonly keyword?: string;
}): readonly string[] {
  const params = (error.params ?? {}) as { readonly additionalProperties?: readonly string[] };
  if (error.keyword !== 'additionalProperties' || params.additionalProperties === undefined) {
    return [error.message];
  }
  return params.additionalProperties.map((name) => `there is no field "${name}"`);
}
