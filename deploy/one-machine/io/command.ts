/**
 * Runs one `nightfill` command to its end: its lines as they come, its last words when it fails.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const LAST_WORDS_MAX = 12;

export function runCommand(
  program: string,
  args: readonly string[],
  onLine: (line: string) => void,
  statusesTaken: readonly number[] = [0],
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const lastWords: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lastWords.push(line);
        if (lastWords.length > LAST_WORDS_MAX) lastWords.shift();
        onLine(line);
      });
    }
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code !== null && statusesTaken.includes(code)) resolve();
      else {
        reject(
          new Error(
            `nightfill ${args[0]} failed (${signal ?? `status ${code}`}):\n  ${lastWords.join('\n  ')}`,
          ),
        );
      }
    });
  });
}
