/**
 * The head of an answer as the zero-copy sender writes it: one latin1 text, one write.
 *
 * Shape: (answer, date, closes) -> "HTTP/1.1 206 Partial Content\r\n...\r\n\r\n"
 * Source: RFC 9110 6.6.1 (Date), 8.6 (Content-Length), 15; RFC 9112 9.6 (Connection: close)
 */
import type { Answer } from './sender.ts';

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  204: 'No Content',
  206: 'Partial Content',
  304: 'Not Modified',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  412: 'Precondition Failed',
  414: 'URI Too Long',
  416: 'Range Not Satisfiable',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  504: 'Gateway Timeout',
};

export function headText(answer: Answer, date: string, closes: boolean): string {
  let text = `HTTP/1.1 ${answer.status} ${REASONS[answer.status] ?? ''}\r\n${answer.constant.text}`;
  const { varying } = answer;
  for (let at = 0; at < varying.length; at += 2) text += `${varying[at]}: ${varying[at + 1]}\r\n`;
  if (answer.contentLength !== null) text += `Content-Length: ${answer.contentLength}\r\n`;
  if (closes) text += 'Connection: close\r\n';
  return `${text}Date: ${date}\r\n\r\n`;
}

/** For a client that was not asked in time: no request, so no handler. */
export const REQUEST_TIMEOUT_TEXT =
  'HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';
