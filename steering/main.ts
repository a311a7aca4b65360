/**
 * `nightfill steering`: reads configuration and key, starts the service, stops it on a signal.
 * `nightfill explain`: asks a running node why, or replays its decision log.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { systemClock } from '#base/clock.ts';
import { addDaemonCommand } from '#base/io/daemon-command.ts';
import { runDaemon } from '#base/io/daemon.ts';
import { callJsonOk } from '#base/io/http-client.ts';
import { openStateDir } from '#base/io/state-dir.ts';
import { readTokenFile } from '#base/io/token-file.ts';
import { importSigningKey, type JWK } from '#base/jws.ts';
import { createLogger } from '#base/log.ts';
import { messageOf } from '#base/outcome.ts';
import { systemRandom } from '#base/random.ts';
import { createKeyRing } from '#control-plane/control-plane.ts';
import { configProblems, SteeringConfigSchema, type SteeringConfig } from './config.ts';
import { replay } from './decision-log.ts';
import { explanationText, type Explanation } from './explain.ts';
import type { PreviewOptions } from './io/prefixes-command.ts';
import { EXTERNAL_KEY_BYTES_MIN, type ExternalKeys } from './external-tokens.ts';
import { STATE_FORMAT } from './io/steering-service.ts';
import { blobSecretOf, createSteering } from './steering.ts';

const EXPLAIN_DEADLINE_MS = 5000;

export function addCommands(program: Command): void {
  addDaemonCommand(program, {
    name: 'steering',
    description: 'sends each client to the healthiest box that holds the file (HTTP and DNS)',
    schemaFile: 'steering/config.ts',
    schema: SteeringConfigSchema,
    relations: configProblems,
    run,
  });
  program
    .command('prefixes')
    .description('which prefixes belong to which site')
    .command('preview')
    .argument('<file>', 'lines "prefix site [attributes]", or an MRT dump')
    .description('what a change of prefixes would move, before it is made')
    .option('--control-plane <url>')
    .option('--token-file <file>', 'a service token of role "operator"')
    .option('--fleet <file>', 'an answer of GET /v1/prefixes, in place of the control plane')
    .option('--site <id>', 'of an MRT dump: the site whose routers hold it')
    .option('--ipv6-share <share>', 'of the traffic of sites with both families', '0.3')
    .option('--json', 'the whole answer')
    .action(async (file: string, options: PreviewOptions) => {
      const { previewPrefixes } = await import('./io/prefixes-command.ts');
      await previewPrefixes(file, options);
    });
  program
    .command('explain')
    .description('why a client is sent where it is; or takes logged decisions again')
    .option('--steering <url>', 'a steering node')
    .option('--token-file <file>', 'a service token of role "operator"')
    .option('--client <address>', 'the client’s IP address')
    .option('--title <id>')
    .option('--file <id>', 'without --title: any title that has it')
    .option('--country <code>', 'as the playback service would tell it')
    .option('--session <id>', 'as the playback service would tell it')
    .option('--json', 'the whole answer')
    .option('--replay <file>', 'a decision log: every decision must come out the same')
    .action(explain);
}

interface ExplainOptions {
  readonly replay?: string;
  readonly steering?: string;
  readonly tokenFile?: string;
  readonly client?: string;
  readonly title?: string;
  readonly file?: string;
  readonly country?: string;
  readonly session?: string;
  readonly json?: true;
}

async function explain(options: ExplainOptions): Promise<void> {
  if (options.replay !== undefined) {
    const result = replay(readFileSync(options.replay, 'utf8').split('\n'));
    console.log(JSON.stringify(result, null, 2));
    if (result.problem !== null || result.same !== result.decisions) process.exitCode = 1;
    return;
  }
  const { steering, tokenFile, client } = options;
  if (steering === undefined || tokenFile === undefined || client === undefined) {
    throw new Error(
      'explain needs --replay FILE, or --steering URL --token-file FILE --client ADDRESS and --title or --file',
    );
  }
  const answer = await callJsonOk({
    method: 'POST',
    url: `${steering}/v1/explain`,
    bearer: readTokenFile(tokenFile),
    body: {
      clientAddress: client,
      ...(options.title === undefined ? {} : { titleId: options.title }),
      ...(options.file === undefined ? {} : { fileId: options.file }),
      ...(options.country === undefined ? {} : { country: options.country }),
      ...(options.session === undefined ? {} : { session: options.session }),
    },
    deadlineMs: EXPLAIN_DEADLINE_MS,
  });
  if (!answer.ok) throw new Error(answer.failure.detail);
  const explanation = answer.value as Explanation;
  console.log(
    options.json === true ? JSON.stringify(explanation, null, 2) : explanationText(explanation),
  );
}

async function run(config: SteeringConfig): Promise<void> {
  const log = createLogger('steering', config.logLevel);
  await runDaemon(log, async () => {
    openStateDir(config.stateDir, STATE_FORMAT);
    const { signingKey, blobSecret } = await readTokenKey(config.tokenKeyFile);
    const keys = createKeyRing({
      controlPlaneUrl: config.controlPlaneUrl,
      rootFingerprint: config.rootFingerprint,
      lastGoodPath: path.join(config.stateDir, 'keys.json'),
      clock: systemClock,
      log,
    });
    await keys.loaded;
    const steering = createSteering({
      config,
      clock: systemClock,
      random: systemRandom,
      log,
      signingKey,
      blobSecret,
      keys,
      externalKeys: readExternalKeys(config),
    });
    const { httpPort, dnsPort } = await steering.start();
    keys.start();
    return {
      ready: {
        http: `http://${config.listen.address}:${httpPort}`,
        dns: `${config.dns.address}:${dnsPort}`,
        zone: config.dns.zone,
      },
      stop: () => {
        keys.stop();
        return steering.stop();
      },
    };
  });
}

function readExternalKeys({ externalKeys }: SteeringConfig): ExternalKeys {
  return new Map(
    externalKeys.map(({ externalId, keyFile }) => {
      const key = Buffer.from(readFileSync(keyFile, 'utf8').trim(), 'base64url');
      if (key.length < EXTERNAL_KEY_BYTES_MIN) {
        throw new Error(
          `the key of external CDN ${externalId} in ${keyFile} has ${key.length} bytes: it needs ${EXTERNAL_KEY_BYTES_MIN}, as base64url`,
        );
      }
      return [externalId, key] as const;
    }),
  );
}

async function readTokenKey(file: string) {
  try {
    const jwk = JSON.parse(readFileSync(file, 'utf8')) as JWK;
    const signingKey = await importSigningKey(jwk);
    if (signingKey.alg !== 'ES256' || jwk.d === undefined) throw new Error('not a P-256 key');
    return { signingKey, blobSecret: blobSecretOf(jwk.d) };
  } catch (thrown) {
    throw new Error(
      `cannot read the token key ${file}: ${messageOf(thrown)}; "nightfill keys init" makes one`,
      { cause: thrown },
    );
  }
}
