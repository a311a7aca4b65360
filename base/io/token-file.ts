/**
 * A service token from a file: one line of text, never printed.
 */
import { readFileSync } from 'node:fs';

/** Throws an Error that says which file, what is wrong with it and what is expected. */
export function readTokenFile(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code ?? String(thrown);
    const why = CAUSES[code] ?? `it cannot be read (${code})`;
    throw new Error(
      `--token-file ${file}: ${why}. It holds a service token, one line of text; nightfill up writes its own to STATE/tokens/`,
      { cause: thrown },
    );
  }
  if (text === '' || /\s/.test(text)) {
    throw new Error(
      `--token-file ${file} holds no service token: one line of text without spaces is expected`,
    );
  }
  return text;
}

const CAUSES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'this user may not read it',
  EISDIR: 'it is a directory',
};
