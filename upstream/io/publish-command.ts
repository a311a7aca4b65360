/**
 * `nightfill publish`: finds out where to publish, does it, and tells a person how it goes.
 *
 * Errors: one line on stderr per problem, exit status 1; 130 when interrupted
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Type } from 'typebox';
import { readConfigFile } from '#base/config.ts';
import { codeOf, messageOf, success, type Failure, type Outcome } from '#base/outcome.ts';
import { formatBytes } from '#base/units.ts';
import { parseOpaqueSpec, titleIdProblem, type OpaqueSpec } from '../opaque.ts';
import { ProgressLine } from './progress-line.ts';
import { publishFile } from './publish-file.ts';
import { makeSample, publishSample } from './sample.ts';
import {
  publishOpaque,
  type PublishProgress,
  type PublishReport,
  type PublishTarget,
} from './publishing.ts';

export interface PublishOptions {
  readonly opaque?: string;
  readonly sample?: true;
  readonly makeSample?: string;
  readonly title?: string;
  readonly titleId?: string;
  readonly controlPlane?: string;
  readonly tokenFile?: string;
  readonly originDir?: string;
  readonly state?: string;
}

/** `<state>/publish.json`, written by `nightfill up`. */
export const PublishPlaceSchema = Type.Object(
  {
    controlPlaneUrl: Type.String({ pattern: '^https?://[^/?#\\s]+$' }),
    tokenFile: Type.String({ minLength: 1 }),
    originDir: Type.String({ minLength: 1 }),
  },
  { additionalProperties: false },
);

const INTERRUPTED_STATUS = 130;
const OPAQUE_TITLES_SHOWN_MAX = 5;

/** A mistake of the caller: its message is all they need. */
class PublishProblem extends Error {}

export async function runPublish(
  file: string | undefined,
  options: PublishOptions,
): Promise<number> {
  const abort = new AbortController();
  const onSignal = (): void => abort.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    const outcome = await publishAsked(file, options, abort.signal);
    if (outcome.ok) return 0;
    console.error(`nightfill publish: ${outcome.failure.detail}`);
    return abort.signal.aborted ? INTERRUPTED_STATUS : 1;
  } catch (thrown) {
    if (!(thrown instanceof PublishProblem)) throw thrown;
    console.error(`nightfill publish: ${thrown.message}`);
    return 1;
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
  }
}

async function publishAsked(
  file: string | undefined,
  options: PublishOptions,
  signal: AbortSignal,
): Promise<Outcome<unknown, Failure>> {
  const { opaque, sample, makeSample: sampleDirectory } = options;
  const asked = [file, opaque, sample, sampleDirectory].filter((choice) => choice !== undefined);
  if (asked.length !== 1) {
    throw new PublishProblem(
      'give one of: a video FILE, --opaque SPEC, --sample, --make-sample DIR',
    );
  }
  const progress = new ProgressLine(process.stdout);
  const onProgress = (step: PublishProgress): void => progress.show(step);
  const common = { titleId: options.titleId, name: options.title, signal, onProgress };
  if (sampleDirectory !== undefined) {
    const made = await makeSample(sampleDirectory, onProgress, signal);
    progress.end();
    if (made.ok) console.log(`${made.value.files.length} files made in ${sampleDirectory}`);
    return made;
  }
  const place = placeOf(options);
  let outcome: Outcome<readonly PublishReport[]>;
  if (file !== undefined) outcome = asList(await publishFile(file, common, place));
  else if (sample !== undefined) outcome = asList(await publishSample(common, place));
  else outcome = await publishOpaque(readSpec(opaque ?? '', options.titleId), common, place);
  progress.end();
  if (outcome.ok) sayReports(outcome.value);
  return outcome;
}

function asList(outcome: Outcome<PublishReport>): Outcome<readonly PublishReport[]> {
  return outcome.ok ? success([outcome.value]) : outcome;
}

/** SPEC is inline text, or the name of a JSON file. */
function readSpec(text: string, titleId: string | undefined): OpaqueSpec {
  const isInline = text.includes('=') || text.trimStart().startsWith('{');
  let content = text;
  if (!isInline) {
    try {
      content = readFileSync(text, 'utf8');
    } catch (thrown) {
      throw new PublishProblem(
        `--opaque ${text}: no specification and no file: ${messageOf(thrown)}`,
      );
    }
  }
  const parsed = parseOpaqueSpec(content);
  if (parsed.ok) {
    const idProblem = titleId === undefined ? null : titleIdProblem(titleId, parsed.value.titles);
    if (idProblem !== null) throw new PublishProblem(idProblem);
    return parsed.value;
  }
  const problems = parsed.failure.map((problem) => `\n  - ${problem}`).join('');
  throw new PublishProblem(`--opaque ${isInline ? 'SPEC' : text} is not valid:${problems}`);
}

/** Where to publish: the three flags, or what `nightfill up` wrote into its state directory. */
function placeOf(options: PublishOptions): PublishTarget {
  const { controlPlane, tokenFile, originDir } = options;
  const given = [controlPlane, tokenFile, originDir].filter((flag) => flag !== undefined);
  if (given.length === 0) return placeOfState(options.state);
  if (controlPlane === undefined || tokenFile === undefined || originDir === undefined) {
    throw new PublishProblem(
      '--control-plane, --token-file and --origin-dir go together: give all three, or none to publish to a running "nightfill up"',
    );
  }
  if (!/^https?:\/\/[^/?#\s]+\/?$/.test(controlPlane)) {
    throw new PublishProblem(
      `--control-plane ${controlPlane}: an address such as http://127.0.0.1:7480`,
    );
  }
  const controlPlaneUrl = controlPlane.replace(/\/$/, '');
  return { controlPlaneUrl, token: readToken(tokenFile), originDir: path.resolve(originDir) };
}

function placeOfState(given: string | undefined): PublishTarget {
  const state = given ?? process.env['NIGHTFILL_STATE'] ?? '.nightfill';
  const file = path.join(state, 'publish.json');
  if (!existsSync(file)) {
    throw new PublishProblem(
      `there is no ${file}: start "nightfill up" first, name its state directory with --state, ` +
        'or give --control-plane, --token-file and --origin-dir',
    );
  }
  const place = readConfigFile(PublishPlaceSchema, file);
  return {
    controlPlaneUrl: place.controlPlaneUrl,
    token: readToken(path.resolve(state, place.tokenFile)),
    originDir: path.resolve(state, place.originDir),
  };
}

function readToken(file: string): string {
  try {
    const token = readFileSync(file, 'utf8').trim();
    if (token !== '') return token;
  } catch (thrown) {
    const todo = codeOf(thrown) === 'ENOENT' ? '; "nightfill up" writes one' : '';
    throw new PublishProblem(`cannot read the token file: ${messageOf(thrown)}${todo}`);
  }
  throw new PublishProblem(`the token file ${file} is empty`);
}

function sayReports(reports: readonly PublishReport[]): void {
  for (const report of reports.slice(0, OPAQUE_TITLES_SHOWN_MAX)) console.log(lineOf(report));
  if (reports.length > OPAQUE_TITLES_SHOWN_MAX) {
    const unchanged = reports.filter(({ outcome }) => outcome === 'unchanged').length;
    const bytes = reports.reduce((sum, report) => sum + report.bytes, 0);
    console.log(
      `... ${reports.length} titles in all, ${formatBytes(bytes)}; ${unchanged} of them were there already`,
    );
  }
}

export function lineOf(report: PublishReport): string {
  const what = `${report.titleId} version ${report.version}: ${report.files.length} files, ${formatBytes(report.bytes)}`;
  switch (report.outcome) {
    case 'published':
      return `published ${what}`;
    case 'updated':
      return `published ${what} (${formatBytes(report.bytesStored)} of it new)`;
    case 'unchanged':
      return `unchanged ${what}; the same content was published before`;
  }
}
