/**
 * `nightfill publish | origin | playback`: the composition root of upstream.
 */
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { systemClock } from '#base/clock.ts';
import { addDaemonCommand } from '#base/io/daemon-command.ts';
import { runDaemon } from '#base/io/daemon.ts';
import { createLogger } from '#base/log.ts';
import {
  OriginConfigSchema,
  originRelations,
  PlaybackConfigSchema,
  playbackRelations,
  type OriginConfig,
  type PlaybackConfig,
} from './config.ts';
import { TITLE_ID, TITLE_ID_PATTERN } from './contract.ts';
import type { PublishOptions } from './io/publish-command.ts';

export function addCommands(program: Command): void {
  program
    .command('publish')
    .description('encodes a video file into a title, stores it in the origin, announces it')
    .argument('[file]', 'a video or audio file that ffmpeg reads')
    .option(
      '--opaque <spec>',
      'seeded bytes instead: a JSON file, or files=4x48MiB;seed=7;titles=1',
    )
    .option('--sample', 'the committed sample title: needs no ffmpeg')
    .option('--make-sample <dir>', 'only makes the sample’s files again, into a directory')
    .option('--title <name>', 'name of the title; otherwise the name of the file')
    .option('--title-id <id>', 'id of the title; otherwise made from its name', titleIdArgument)
    .option('--control-plane <url>', 'the control plane’s address')
    .option('--token-file <file>', 'holds the service token of role "publish"')
    .option('--origin-dir <dir>', 'the origin’s directory')
    .option(
      '--state <dir>',
      'a state directory that "nightfill up" wrote: its publish.json says all three',
    )
    .action(async (file: string | undefined, options: PublishOptions) => {
      const { runPublish } = await import('./io/publish-command.ts');
      process.exitCode = await runPublish(file, options);
    });

  const schemaFile = 'upstream/config.ts';
  addDaemonCommand(program, {
    name: 'origin',
    description: 'serves published files to fill grants and viewer tokens',
    schemaFile,
    schema: OriginConfigSchema,
    relations: originRelations,
    run: runOrigin,
  });
  addDaemonCommand(program, {
    name: 'playback',
    description: 'the reference playback service: HLS and DASH manifests from steering’s URLs',
    schemaFile,
    schema: PlaybackConfigSchema,
    relations: playbackRelations,
    run: runPlayback,
  });
}

async function runPlayback(config: PlaybackConfig): Promise<void> {
  const { createPlaybackServer } = await import('./io/playback-server.ts');
  const { openStateDir } = await import('#base/io/state-dir.ts');
  const log = createLogger('playback', config.logLevel);
  await runDaemon(log, async () => {
    openStateDir(config.stateDir, '1');
    const server = createPlaybackServer({ config, clock: systemClock, log });
    await server.listen({ host: config.listen.address, port: config.listen.port });
    const { address, port } = server.server.address() as AddressInfo;
    return { ready: { address, port }, stop: () => server.close() };
  });
}

async function runOrigin(config: OriginConfig): Promise<void> {
  const { startOrigin } = await import('./io/origin-server.ts');
  const { createDenialFeed, createKeyRing } = await import('#control-plane/control-plane.ts');
  const log = createLogger('origin', config.logLevel);
  await runDaemon(log, async () => {
    const keys = createKeyRing({
      controlPlaneUrl: config.controlPlaneUrl,
      rootFingerprint: config.rootFingerprint,
      lastGoodPath: path.join(config.stateDir, 'keys.json'),
      clock: systemClock,
      log,
    });
    const denials = createDenialFeed({
      controlPlaneUrl: config.controlPlaneUrl,
      keys: () => keys.current(),
      lastGoodPath: path.join(config.stateDir, 'denials.jws'),
      clock: systemClock,
      log,
    });
    await keys.loaded;
    await denials.start(); // before anything is served
    const origin = await startOrigin({ config, keys, denials, clock: systemClock, log });
    // The control plane may be down: with last good keys on disk that is nothing, without any nobody is let in until it answers.
    keys.start();
    const { address, port } = origin.content;
    return {
      ready: { address, port, adminPort: origin.admin.port },
      stop: async () => {
        keys.stop();
        denials.stop();
        await origin.close();
      },
    };
  });
}

function titleIdArgument(text: string): string {
  if (TITLE_ID.test(text)) return text;
  throw new InvalidArgumentError(`"${text}" is no title id; it must match ${TITLE_ID_PATTERN}`);
}
