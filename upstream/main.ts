/**
 * `nightfill publish | origin | playback`: the composition root of upstream.
 */
import type { Command } from 'commander';

export function addCommands(program: Command): void {
  program.command('publish').description('encodes a video file into a title and publishes it');
}
