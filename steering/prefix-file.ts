/**
 * Prefixes of sites as an operator writes them: one a line, `prefix site [attributes]`.
 *
 *   23.10.0.0/16  paris                          # an operator's word: before every route
 *   23.11.0.0/16  lyon  as-path=64500,64511 med=50 origin=igp
 *
 * Shape:  readPrefixFile(text) -> lines, problems (each with its line number); `site` may be a cluster's id as well
 */
import { formatPrefix, parsePrefix } from '#base/address.ts';

const PROBLEMS_MAX = 20;
const ORIGINS = ['igp', 'egp', 'incomplete'];

export interface RouteAttributes {
  readonly originAs: number;
  readonly asPathLength: number;
  readonly origin: number;
  readonly med: number;
}

export interface PrefixLine {
  readonly prefix: string; // canonical
  readonly site: string;
  readonly route: RouteAttributes | null; // null: an operator's prefix
}

export interface PrefixFile {
  readonly lines: readonly PrefixLine[];
  readonly problems: readonly string[]; // none where the file may be used
}

export function readPrefixFile(text: string): PrefixFile {
  const lines: PrefixLine[] = [];
  const problems: string[] = [];
  text.split(/\r?\n/).forEach((raw, at) => {
    const words = raw.replace(/#.*/, '').trim().split(/\s+/);
    if (words[0] === '' || problems.length >= PROBLEMS_MAX) return;
    const line = readLine(words);
    if (typeof line === 'string') problems.push(`line ${at + 1}: ${line}`);
    else lines.push(line);
  });
  return { lines, problems };
}

function readLine([prefixText, site, ...attributes]: readonly string[]): PrefixLine | string {
  const prefix = parsePrefix(prefixText);
  if (prefix === null) return `"${prefixText}" is no prefix, or has bits set beyond its length`;
  if (site === undefined) return `no site after ${prefixText}; write "prefix site [attributes]"`;
  const route = attributes.length === 0 ? null : readAttributes(attributes);
  if (typeof route === 'string') return route;
  return { prefix: formatPrefix(prefix), site, route };
}

function readAttributes(words: readonly string[]): RouteAttributes | string {
  let path: readonly number[] = [];
  let origin = 0;
  let med = 0;
  for (const word of words) {
    const [name, value = ''] = word.split('=');
    const numbers = value.split(',').map(Number);
    const areNumbers =
      value !== '' && numbers.every((one) => Number.isInteger(one) && one >= 0 && one < 2 ** 32);
    if (name === 'as-path' && areNumbers) path = numbers;
    else if (name === 'med' && areNumbers && numbers.length === 1) med = numbers[0];
    else if (name === 'origin' && ORIGINS.includes(value)) origin = ORIGINS.indexOf(value);
    else
      return `"${word}" is no attribute; there are as-path=64500,64511, med=50, origin=igp|egp|incomplete`;
  }
  return { originAs: path.at(-1) ?? 0, asPathLength: Math.min(255, path.length), origin, med };
}
