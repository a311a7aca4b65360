/**
 * What is counted of the DNS: plain numbers, so that counting a query costs an addition.
 */

export interface DnsCounters {
  queries: number;
  answered: number;
  quick: number; // of those: written from an image
  ignored: number;
  malformed: number;
  truncated: number;
  slipped: number;
  dropped: number;
  goodCookies: number;
  byRcode: Record<string, number>;
}

const RCODES = 24; // BADCOOKIE is 23

export class DnsTally {
  queries = 0;
  answered = 0;
  quick = 0;
  ignored = 0;
  malformed = 0;
  truncated = 0;
  slipped = 0;
  dropped = 0;
  goodCookies = 0;
  readonly rcodes = new Float64Array(RCODES);

  counters(): DnsCounters {
    const { rcodes, ...counts } = this;
    const byRcode: Record<string, number> = {};
    rcodes.forEach((count, rcode) => {
      if (count > 0) byRcode[String(rcode)] = count;
    });
    return { ...counts, byRcode };
  }
}
