/**
 * The planner's two secrets, each from a file: its service token and its signing key.
 */
import { readFileSync } from 'node:fs';
import { importSigningKey, type JWK, type SigningKey } from '#base/jws.ts';
import { messageOf } from '#base/outcome.ts';

/** Throws with the file's name and what to do. Never with the token's text. */
export function readToken(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (thrown) {
    throw new Error(`cannot read the token file: ${messageOf(thrown)}`, { cause: thrown });
  }
  if (text === '' || /\s/.test(text)) {
    throw new Error(`${file} holds no service token: one line of text is expected`);
  }
  return text;
}

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
