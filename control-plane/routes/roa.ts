/**
 * Route origin authorisations as CSV (rpki-client, routinator, the RIPE NCC's export), and what they say of a route.
 *
 * Shape:  readRoas(text) -> table, lines passed over; validityOf(table, prefix, originAs) -> valid | invalid | unknown
 * Source: RFC 6811 2
 */
import { parsePrefix, type Prefix } from '#base/address.ts';
import { PrefixIndex } from './prefix-index.ts';

interface Roa {
  readonly as: number;
  readonly maxLength: number;
}

export type RoaTable = PrefixIndex<Roa[]>;
export type RoaValidity = 'valid' | 'invalid' | 'unknown';

export const NO_ROAS: RoaTable = new PrefixIndex();

/** Columns before the AS number (a URI) and after the maximum length (trust anchor, dates) play no part. */
const LINE = /(?:^|,)"?(?:AS)?(\d{1,10})"?,"?([0-9a-f.:]+\/\d{1,3})"?(?:,"?(\d{1,3})?"?)?(?:,|$)/i;

export function readRoas(text: string): { readonly table: RoaTable; readonly passedOver: number } {
  const table: RoaTable = new PrefixIndex();
  let passedOver = 0;
  for (const line of text.split(/\r?\n/)) {
    const found = LINE.exec(line.trim());
    const prefix = found === null ? null : parsePrefix(found[2]);
    if (found === null || prefix === null) {
      if (line.trim() !== '' && !/prefix/i.test(line)) passedOver++;
      continue;
    }
    const roas = table.get(prefix);
    const roa = { as: Number(found[1]), maxLength: Number(found[3] ?? prefix.length) };
    if (roas === undefined) table.set(prefix, [roa]);
    else roas.push(roa);
  }
  return { table, passedOver };
}

export function validityOf(table: RoaTable, prefix: Prefix, originAs: number): RoaValidity {
  let validity: RoaValidity = 'unknown';
  const judge = (roas: readonly Roa[]): boolean => {
    validity = 'invalid'; // some ROA covers it; unless one of them matches
    return roas.some(
      ({ as, maxLength }) => as !== 0 && as === originAs && prefix.length <= maxLength,
    );
  };
  const exact = table.get(prefix);
  if (exact !== undefined && judge(exact)) return 'valid';
  for (const roas of table.covering(prefix)) if (judge(roas)) return 'valid';
  return validity;
}
