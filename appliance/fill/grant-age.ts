/**
 * Whether the box's own fill grant still opens anything. It is renewed each day; without the control plane it ends after seven.
 *
 * Shape:      (grant, now) -> what to tell the operator, or null
 * Units:      Unix seconds of trusted time
 */
import { peekPayload } from '#base/jws.ts';

const HOUR_SECONDS = 3600;

export function grantProblem(grant: string | null, nowSeconds: number): string | null {
  if (grant === null) return null; // a box that was just enrolled asks for one at once
  const claims = peekPayload(grant);
  const exp = typeof claims === 'object' && claims !== null && 'exp' in claims ? claims.exp : null;
  if (typeof exp !== 'number' || nowSeconds < exp) return null;
  const hours = Math.floor((nowSeconds - exp) / HOUR_SECONDS);
  return `the fill grant ended ${hours} h ago: nothing is fetched until the control plane renews it; viewers are served what is held`;
}
