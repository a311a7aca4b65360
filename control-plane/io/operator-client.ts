/**
 * The control plane as an operator's command calls it: where it is, with which token.
 *
 * Given by --control-plane and --token-file, or by a state directory that "nightfill up" wrote.
 *
 * Errors: throws with what is missing and what to do; a refusal of the control plane is thrown in its own words
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { callJsonOk } from '#base/io/http-client.ts';
import { messageOf } from '#base/outcome.ts';

const DEADLINE_MS = 30_000;

export interface OperatorOptions {
  readonly controlPlane?: string;
  readonly tokenFile?: string;
  readonly state?: string;
}

/** The options that every operator command takes. */
export function withOperatorOptions(command: Command): Command {
  return command
    .option('--control-plane <url>', 'where it listens')
    .option('--token-file <file>', 'a service token of role "operator"')
    .option('--state <dir>', 'a state directory that "nightfill up" wrote: it says both');
}

export class OperatorClient {
  readonly #url: string;
  readonly #token: string;

  constructor(options: OperatorOptions) {
    const state = options.state ?? process.env['NIGHTFILL_STATE'] ?? '.nightfill';
    this.#url = (options.controlPlane ?? urlOfState(state)).replace(/\/+$/, '');
    const tokenFile = options.tokenFile ?? path.join(state, 'tokens', 'operator.token');
    this.#token = readText(tokenFile, 'the operator’s token').trim();
  }

  async call(method: 'GET' | 'POST' | 'DELETE', route: string, body?: unknown): Promise<unknown> {
    const answer = await callJsonOk({
      method,
      url: `${this.#url}${route}`,
      ...(body === undefined ? {} : { body }),
      bearer: this.#token,
      deadlineMs: DEADLINE_MS,
    });
    if (!answer.ok) throw new Error(answer.failure.detail);
    return answer.value;
  }
}

function urlOfState(state: string): string {
  const file = path.join(state, 'publish.json');
  const place = JSON.parse(readText(file, 'where the control plane is')) as {
    controlPlaneUrl?: unknown;
  };
  if (typeof place.controlPlaneUrl === 'string') return place.controlPlaneUrl;
  throw new Error(`${file} does not say where the control plane is: give --control-plane`);
}

function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw new Error(
      `cannot read ${what}: ${messageOf(thrown)}; name the state directory of "nightfill up" with --state, ` +
        'or give --control-plane and --token-file',
      { cause: thrown },
    );
  }
}
