/**
 * The planner's signing key, from a file.
 */
import { readFileSync } from 'node:fs';
import { importSigningKey, type JWK, type SigningKey } from '#base/jws.ts';
import { messageOf } from '#base/outcome.ts';

export async function readPlanKey(file: string): Promise<SigningKey> {
  let jwk: JWK;
  try {
    jwk = JSON.parse(readFileSync(file, 'utf8')) as JWK;
  } catch (thrown) {
    throw new Error(`cannot read the plan key ${file}: ${messageOf(thrown)}`, { cause: thrown });
  }
  try {
    return await importSigningKey(jwk);
  } catch (thrown) {
    throw new Error(
      `${file} is no private plan key (Ed25519, as \`nightfill keys init\` writes plan.jwk): ${messageOf(thrown)}`,
      { cause: thrown },
    );
  }
}
