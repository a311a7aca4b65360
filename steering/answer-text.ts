/**
 * A play decision as it goes out: JSON text, all ASCII.
 *
 * Of a title's files most share their ranking, so their URLs differ in the file id alone: those of the first such file are
 * written, those of the others copied and their ids put in. As text of many pieces it took a quarter of an answer's time.
 *
 * Shape:      answerText(world, decision, signing, steering, ttl) -> text
 * Invariants: (1) the text parses to a PlayAnswer that says what the decision says, file by file
 *             (2) whatever comes from outside is escaped: a URL's host, the steering URLs
 */
import type { Reason } from '#appliance/contract.ts';
import { signedContentUrl } from '#upstream/contract.ts';
import { pathwayOf, type PlayDecision } from './answer.ts';
import type { World } from './candidates.ts';
import { VIEWER_TOKEN_SLACK_SECONDS, type PlayAnswer } from './contract.ts';
import { externalUrl, signsEachUrl, type ExternalKeys } from './external-tokens.ts';
import type { Ranking, Target } from './ranking.ts';

/** What writes the URLs of an answer. */
export interface AnswerSigning {
  readonly tokens: ReadonlyMap<Reason, string>; // of the decision's reasons
  readonly externalKeys: ExternalKeys;
}

const SCRATCH_BYTES = 64 * 1024;

/** Where the file of a ranking stands in the scratch, and its id in it. */
interface Written {
  readonly start: number;
  readonly end: number;
  readonly ids: readonly number[]; // offsets from the start
}

/** One answer after another is written here, none while another is. All of it is ASCII. */
class Scratch {
  bytes = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  at = 0;

  put(text: string): void {
    this.#reserve(text.length);
    this.at += this.bytes.write(text, this.at, 'latin1');
  }

  again(start: number, end: number): void {
    this.#reserve(end - start);
    this.bytes.copyWithin(this.at, start, end);
    this.at += end - start;
  }

  #reserve(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const bigger = Buffer.allocUnsafeSlow(2 * (this.at + more));
    this.bytes.copy(bigger, 0, 0, this.at);
    this.bytes = bigger;
  }
}

const scratch = new Scratch();

export function answerText(
  world: World,
  decision: PlayDecision,
  signing: AnswerSigning,
  steering: PlayAnswer['steering'],
  ttlSeconds: number,
): string {
  const { title, files, home } = decision;
  const { snapshot, prefixes, holdings, load } = decision.epochs;
  scratch.at = 0;
  scratch.put(
    `{"titleId":"${title.title.titleId}","ttlSeconds":${ttlSeconds},"home":"${home}",` +
      `"epochs":{"snapshot":${snapshot},"prefixes":${prefixes},"holdings":${holdings},"load":${load}},` +
      `"steering":{"hls":${quoted(steering.hls)},"dash":${quoted(steering.dash)}},"files":[`,
  );
  const patterns = new Map<Ranking, Written>();
  for (const { fileId, ranking } of files) {
    const pattern = patterns.get(ranking);
    if (pattern !== undefined) {
      writeAgain(pattern, fileId);
      continue;
    }
    const written = writeFile(world, decision, signing, ranking, fileId);
    if (written !== null) patterns.set(ranking, written);
  }
  // Over the comma behind the last file.
  if (files.length > 0) scratch.at--;
  scratch.put(']}');
  return scratch.bytes.toString('latin1', 0, scratch.at);
}

/** With a comma behind it. Null where its URLs cannot serve as a pattern: an external CDN may sign each by itself. */
function writeFile(
  world: World,
  decision: PlayDecision,
  signing: AnswerSigning,
  { candidates, reason }: Ranking,
  fileId: string,
): Written | null {
  const { titleId } = decision.title.title;
  const token = signing.tokens.get(reason) ?? '';
  const start = scratch.at;
  let text = '{"fileId":"';
  const ids = [text.length];
  text += `${fileId}","reason":"${reason}","urls":[`;
  let isPattern = true;
  for (let at = 0; at < candidates.length; at++) {
    const target = candidates[at];
    text += at === 0 ? '{"url":"' : ',{"url":"';
    if (target.kind === 'external' && signsEachUrl(target.external)) {
      isPattern = false;
      text += escaped(signedExternally(world, decision, target, signing, token, fileId));
    } else {
      text += escaped(baseUrlOf(world, target)) + signedContentUrl('', token, titleId, '');
      ids.push(text.length);
      text += fileId;
    }
    text += `","pathwayId":"${pathwayOf(target)}","kind":"${target.kind}"}`;
  }
  scratch.put(`${text}]},`);
  return isPattern ? { start, end: scratch.at, ids } : null;
}

function writeAgain({ start, end, ids }: Written, fileId: string): void {
  const from = scratch.at;
  scratch.again(start, end);
  const { bytes } = scratch;
  const first = from + ids[0];
  bytes.write(fileId, first, 'latin1');
  for (let at = 1; at < ids.length; at++) {
    bytes.copyWithin(from + ids[at], first, first + fileId.length);
  }
}

function baseUrlOf({ fleet }: World, target: Target): string {
  if (target.kind === 'origin') return fleet.snapshot.origin.baseUrl;
  return (target.kind === 'external' ? target.external : target.appliance).baseUrl;
}

function signedExternally(
  world: World,
  { title: { title } }: PlayDecision,
  { external }: Extract<Target, { kind: 'external' }>,
  { externalKeys }: AnswerSigning,
  viewerToken: string,
  fileId: string,
): string {
  const nowSeconds = Math.floor(world.load.frozenAtMs / 1000);
  const expiresAtSeconds =
    nowSeconds + Math.ceil(title.durationSeconds) + VIEWER_TOKEN_SLACK_SECONDS;
  const ask = { titleId: title.titleId, fileId, viewerToken, expiresAtSeconds };
  return externalUrl(external, externalKeys, ask) ?? '';
}

/** As it stands between the quotes of a JSON string, in ASCII. */
function escaped(text: string): string {
  return quoted(text).slice(1, -1);
}

function quoted(text: string): string {
  return JSON.stringify(text).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
