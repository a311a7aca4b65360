/**
 * JSON over HTTP between the product's own services: a deadline and a size limit on every call, Failures instead of exceptions.
 */
import { Agent, request } from 'undici';
import { codeOf, failed, messageOf, success, type Failure, type Outcome } from '../outcome.ts';

export interface JsonCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly body?: unknown;
  readonly bearer?: string;
  readonly deadlineMs: number;
  readonly answerBytesMax?: number;
}

export interface JsonAnswer {
  readonly status: number;
  readonly body: unknown;
}

const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

/** One pool for small control messages; bulk transfers bring their own. */
const agent = new Agent({ connections: 16, pipelining: 1, keepAliveTimeout: 10_000 });

export async function callJson(call: JsonCall): Promise<Outcome<JsonAnswer>> {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (call.body !== undefined) headers['content-type'] = 'application/json';
  if (call.bearer !== undefined) headers['authorization'] = `Bearer ${call.bearer}`;
  const bytesMax = call.answerBytesMax ?? ANSWER_BYTES_MAX;
  try {
    const answer = await request(call.url, {
      dispatcher: agent,
      method: call.method,
      headers,
      body: call.body === undefined ? null : JSON.stringify(call.body),
      signal: AbortSignal.timeout(call.deadlineMs),
    });
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const part of answer.body as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > bytesMax) {
        answer.body.destroy();
        return failed({
          code: 'answer-too-large',
          source: 'upstream',
          retry: 'never',
          detail: `${call.method} ${call.url}: more than ${bytesMax} bytes`,
        });
      }
      parts.push(part);
    }
    const text = Buffer.concat(parts).toString('utf8');
    const body: unknown = text === '' ? null : JSON.parse(text);
    return success({ status: answer.statusCode, body });
  } catch (thrown) {
    return failed(networkFailure(`${call.method} ${call.url}`, thrown));
  }
}

/** Like callJson, but any status other than 2xx is a Failure that carries the service's own words. */
export async function callJsonOk(call: JsonCall): Promise<Outcome<unknown>> {
  const outcome = await callJson(call);
  if (!outcome.ok) return outcome;
  const { status, body } = outcome.value;
  if (status >= 200 && status < 300) return success(body);
  return failed({
    code: `status-${status}`,
    source: 'upstream',
    retry: status >= 500 ? 'same-source' : 'never',
    detail: `${call.method} ${call.url}: ${status} ${wordsOf(body)}`,
  });
}

/** Maps what a client library throws to a Failure: refused, reset, timed out, unreadable. */
export function networkFailure(what: string, thrown: unknown): Failure {
  const code = codeOf(thrown);
  const name = thrown instanceof Error ? thrown.name : '';
  if (thrown instanceof SyntaxError) {
    return {
      code: 'answer-not-json',
      source: 'upstream',
      retry: 'never',
      detail: `${what}: ${thrown.message}`,
      cause: thrown,
    };
  }
  if (name === 'TimeoutError' || code.includes('TIMEOUT')) {
    return {
      code: 'timed-out',
      source: 'network',
      retry: 'another-source',
      detail: `${what}: no answer in time`,
      cause: thrown,
    };
  }
  const kind =
    code === 'ECONNREFUSED' ? 'refused' : code === 'ECONNRESET' ? 'reset' : 'network-error';
  return {
    code: kind,
    source: 'network',
    retry: 'another-source',
    detail: `${what}: ${messageOf(thrown) || code}`,
    cause: thrown,
  };
}

function wordsOf(body: unknown): string {
  if (typeof body === 'object' && body !== null && 'message' in body) return String(body.message);
  return body === null ? '' : JSON.stringify(body).slice(0, 300);
}
