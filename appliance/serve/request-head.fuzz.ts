/**
 * Throws request heads at the plain-request parser and sets each answer beside llhttp, the parser of node:http.
 *
 * Shape:  (inputs, seed) -> what was seen, and the first input that broke an invariant
 * Checks: never an exception; a prefix never disagrees with the whole; a remembered first line changes nothing; and what is
 *         plain is to llhttp one whole request with the same method, target and known fields, no body, kept alive
 * Inputs: heads from a grammar with a few bytes changed, inserted, taken out or doubled; one in eight is bytes of any kind
 */
import { messageOf } from '#base/outcome.ts';
import { seededRandom, type Random } from '#base/random.ts';
import { INCOMPLETE, NOT_PLAIN, parsePlainRequest, PlainRequest } from './zero-copy-request.ts';

export interface HeadFuzzReport {
  readonly inputs: number;
  readonly plain: number;
  readonly notPlain: number;
  readonly incomplete: number;
  readonly crashes: number;
  readonly disagreements: number; // with llhttp, a prefix, or a remembered line
  readonly first: string | null; // the first of either: input and what was wrong
}

export function fuzzHeads(inputs: number, seed: number): HeadFuzzReport {
  const random = seededRandom(seed);
  const seen = { plain: 0, notPlain: 0, incomplete: 0, crashes: 0, disagreements: 0 };
  const kept = new PlainRequest('127.0.0.1');
  const llhttp = new Llhttp();
  let first: string | null = null;
  for (let at = 0; at < inputs; at++) {
    const head = random.below(8) === 0 ? randomBytes(random) : randomHead(random);
    let problem: string | null;
    try {
      const verdict = look(head, random, kept, llhttp);
      problem = verdict.problem;
      seen[verdict.kind]++;
      if (problem !== null) seen.disagreements++;
    } catch (thrown) {
      seen.crashes++;
      problem = `threw ${messageOf(thrown)}`;
    }
    first ??= problem === null ? null : `input ${at} ${JSON.stringify(head)}: ${problem}`;
  }
  return { inputs, ...seen, first };
}

function look(
  head: string,
  random: Random,
  kept: PlainRequest,
  llhttp: Llhttp,
): { readonly kind: 'plain' | 'notPlain' | 'incomplete'; readonly problem: string | null } {
  const bytes = Buffer.from(`??${head}`, 'latin1');
  const fresh = new PlainRequest('127.0.0.1');
  const whole = parsePlainRequest(bytes, 2, bytes.length, fresh);
  const again = parsePlainRequest(bytes, 2, bytes.length, kept);
  if (again !== whole)
    return { kind: 'plain', problem: `${whole}, with a remembered line ${again}` };
  const end = 2 + random.below(bytes.length - 1);
  const prefix = parsePlainRequest(bytes, 2, end, new PlainRequest('127.0.0.1'));
  if (prefix !== INCOMPLETE && prefix !== whole) {
    return { kind: 'plain', problem: `${whole}, but ${prefix} of its first ${end - 2} bytes` };
  }
  if (whole === NOT_PLAIN) return { kind: 'notPlain', problem: null };
  if (whole === INCOMPLETE) return { kind: 'incomplete', problem: null };
  const mine = fieldsOf(fresh);
  if (fieldsOf(kept) !== mine) return { kind: 'plain', problem: `remembered as ${fieldsOf(kept)}` };
  const theirs = llhttp.parse(bytes.subarray(2, 2 + whole));
  const problem = theirs === mine ? null : `here ${mine}, to llhttp ${theirs}`;
  return { kind: 'plain', problem };
}

function fieldsOf(request: PlainRequest): string {
  const { method, target, host, range, ifRange, ifMatch, ifNoneMatch } = request;
  const { authorization, purpose, possession } = request;
  const fields = [method, target, host, range, ifRange, ifMatch, ifNoneMatch];
  return JSON.stringify([...fields, authorization, purpose, possession]);
}

// ---------------------------------------------------------------- llhttp

const KNOWN = [
  'host',
  'range',
  'if-range',
  'if-match',
  'if-none-match',
  'authorization',
  'nightfill-purpose',
  'nightfill-possession',
];

interface HttpParser {
  initialize(kind: number, resource: object): void;
  execute(bytes: Buffer): number | Error;
  close(): void;
  [callback: number]: unknown;
}
interface HttpCommon {
  readonly HTTPParser: {
    new (): HttpParser;
    readonly REQUEST: number;
    readonly kOnHeaders: number;
    readonly kOnHeadersComplete: number;
    readonly kOnMessageComplete: number;
  };
  readonly methods: readonly string[];
}

/** node:http's own parser, asked directly: a server and a socket for each of a million inputs would take hours. */
class Llhttp {
  readonly #common: HttpCommon;

  constructor() {
    // Not a documented module: where a version of Node lacks it, the fuzz run says so and stops.
    const common = process.getBuiltinModule('node:_http_common' as never) as HttpCommon | undefined;
    if (common === undefined) throw new Error('this Node has no _http_common to compare with');
    this.#common = common;
  }

  /** The request in the form of `fieldsOf`, or why it is none. */
  parse(head: Buffer): string {
    const { HTTPParser, methods } = this.#common;
    const parser = new HTTPParser();
    parser.initialize(HTTPParser.REQUEST, {});
    const flat: string[] = [];
    let target = '';
    let method = '';
    let isComplete = false;
    let isKept = false;
    parser[HTTPParser.kOnHeaders] = (headers: string[], url: string): void => {
      flat.push(...headers);
      target += url;
    };
    parser[HTTPParser.kOnHeadersComplete] = (...given: unknown[]): number => {
      const [, , headers, methodAt, url, , , , shouldKeepAlive] = given;
      if (Array.isArray(headers)) flat.push(...(headers as string[]));
      target += typeof url === 'string' ? url : '';
      method = methods[methodAt as number];
      isKept = shouldKeepAlive === true;
      return 0;
    };
    parser[HTTPParser.kOnMessageComplete] = (): void => {
      isComplete = true;
    };
    const outcome = parser.execute(head);
    parser.close();
    if (outcome instanceof Error) return `an error: ${outcome.message}`;
    if (!isComplete) return 'no whole request';
    if (!isKept) return 'not kept alive';
    const values = KNOWN.map((name) => valueOf(flat, name));
    return JSON.stringify([method, target, ...values]);
  }
}

function valueOf(flat: readonly string[], name: string): string | undefined {
  for (let at = 0; at < flat.length; at += 2) {
    if (flat[at].toLowerCase() === name) return flat[at + 1];
  }
  return undefined;
}

// ---------------------------------------------------------------- inputs

const METHODS = [
  ...Array<string>(8).fill('GET'),
  ...Array<string>(4).fill('HEAD'),
  'PUT',
  'OPTIONS',
  'GE',
];
const TARGETS = [
  '/',
  '/t/a/b',
  `/;URISigningPackage=${'x'.repeat(60)}/t/a/b`,
  '/a?b=c',
  '/%20',
  'x',
];
const COMMON_NAMES = [
  'range',
  'If-Range',
  'if-none-match',
  'Authorization',
  'Accept',
  'X-Y',
  'User-Agent',
];
const NAMES = [
  'Host HOST RANGE range if-range If-Match If-None-Match Authorization Nightfill-Purpose Connection',
  'X-Y Content-Length Transfer-Encoding Accept Expect Upgrade Proxy-Connection User-Agent Nightfill-Possession',
].flatMap((names) => names.split(' '));
const VALUES = [
  'b|bytes=0-1|keep-alive|Keep-Alive|close|| "x" |0|5|*/*|\xfcber|chunked|a\tb|W/"x"|h2c',
].flatMap((values) => values.split('|'));
const ODD_BYTES = [0, 9, 10, 13, 32, 45, 47, 58, 127, 128, 200, 255];

function randomHead(random: Random): string {
  const lines = Array.from({ length: random.below(6) }, () => {
    const gap = pick(['', ' ', '\t', '  '], random);
    const names = random.below(6) === 0 ? NAMES : COMMON_NAMES;
    return `${pick(names, random)}:${gap}${pick(VALUES, random)}\r\n`;
  });
  const version = random.below(12) === 0 ? pick(['1.0', '2.0', '1.', '01.1'], random) : '1.1';
  const line = `${pick(METHODS, random)} ${pick(TARGETS, random)} HTTP/${version}\r\n`;
  const bytes = `${line}Host: h\r\n${lines.join('')}\r\n`.split('');
  if (random.below(10) === 0) bytes.length = random.below(bytes.length); // cut
  for (let changes = Math.max(0, random.below(6) - 2); changes > 0 && bytes.length > 0; changes--) {
    const at = random.below(bytes.length);
    const dice = random.below(4);
    const odd = random.below(2) === 0 ? pick(ODD_BYTES, random) : random.below(256);
    if (dice === 0) bytes.splice(at, 1);
    else if (dice === 1) bytes.splice(at, 0, ...bytes.slice(at, at + 1 + random.below(30)));
    else bytes.splice(at, dice === 2 ? 1 : 0, String.fromCharCode(odd));
  }
  return bytes.join('');
}

function randomBytes(random: Random): string {
  const length = random.below(120);
  return Array.from({ length }, () => String.fromCharCode(random.below(256))).join('');
}

function pick<T>(of: readonly T[], random: Random): T {
  return of[random.below(of.length)];
}
