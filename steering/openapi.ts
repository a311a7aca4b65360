/**
 * The HTTP interface for playback services, as an OpenAPI 3.1 document: made from the very schemas that requests are checked by.
 */
import type { TSchema } from 'typebox';
import {
  ExplainRequestSchema,
  PlayAnswerSchema,
  PlayBatchSchema,
  PlayerReportSchema,
  PlayRequestSchema,
  RefusalSchema,
  SteeringManifestSchema,
  STEERING_CONTENT_TYPE,
} from './contract.ts';

function json(schema: unknown, contentType = 'application/json'): unknown {
  return { content: { [contentType]: { schema } } };
}

function refusal(description: string): unknown {
  return { description, ...(json(RefusalSchema) as object) };
}

function post(summary: string, request: TSchema, answers: Record<string, unknown>): unknown {
  const refusals = {
    400: refusal('the request is not valid: every problem is listed'),
    401: refusal('no service token of the role that this needs'),
    503: refusal('no fleet snapshot yet'),
  };
  return {
    post: {
      summary,
      requestBody: { required: true, ...(json(request) as object) },
      responses: { ...answers, ...refusals },
    },
  };
}

function manifestOf(summary: string): unknown {
  const answer = json(SteeringManifestSchema, STEERING_CONTENT_TYPE) as object;
  return {
    get: {
      summary,
      security: [],
      parameters: [
        {
          name: 'session',
          in: 'path',
          required: true,
          schema: { type: 'string', maxLength: 2048 },
        },
      ],
      responses: { 200: { description: 'always, whatever is wrong', ...answer } },
    },
  };
}

const played = {
  description: 'ranked, signed URLs, best first',
  ...(json(PlayAnswerSchema) as object),
};
const notPlayed = {
  403: refusal('the title may not be shown there: with the rules'),
  404: refusal('no such title or file'),
  429: refusal('the service token has used up its calls; Retry-After says when there are new ones'),
};

export const OPENAPI: unknown = {
  openapi: '3.1.0',
  info: { title: 'Nightfill steering', version: '1' },
  components: { securitySchemes: { serviceToken: { type: 'http', scheme: 'bearer' } } },
  security: [{ serviceToken: [] }],
  paths: {
    '/v1/play': post('where a viewer may play files from', PlayRequestSchema, {
      200: played,
      ...notPlayed,
    }),
    '/v1/play/batch': post('the same for many viewers at once', PlayBatchSchema, {
      200: {
        description: 'in the order of the requests, each with its own status',
        ...(json({
          type: 'object',
          required: ['answers'],
          properties: {
            answers: {
              type: 'array',
              items: {
                type: 'object',
                required: ['status', 'body'],
                properties: {
                  status: { type: 'integer' },
                  body: { anyOf: [PlayAnswerSchema, RefusalSchema] },
                },
              },
            },
          },
        }) as object),
      },
      429: notPlayed[429],
    }),
    '/v1/explain': post('why a viewer would be sent there (role operator)', ExplainRequestSchema, {
      200: { description: 'every box that came into question, with its verdict' },
      ...notPlayed,
    }),
    '/v1/reports': {
      post: {
        summary: 'a player could not play from a box: it is looked at',
        security: [],
        requestBody: { required: true, ...(json(PlayerReportSchema) as object) },
        responses: { 204: { description: 'heard, whether it counts or not' } },
      },
    },
    '/v1/hls/{session}': manifestOf('steering manifest of a session, HLS'),
    '/v1/dash/{session}': manifestOf('steering manifest of a session, DASH'),
  },
};
