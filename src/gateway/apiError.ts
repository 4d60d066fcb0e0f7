import type { ServerResponse } from 'node:http';

/** Error types of the Messages API by HTTP status. */
const types: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

/** An error in the shape of the Messages API. */
export function apiError(
  status: number,
  message: string,
): { type: string; error: { type: string; message: string } } {
  return { type: 'error', error: { type: types[status] ?? 'api_error', message } };
}

/** Answers in the shape in which the Messages API tells errors. */
export function sendApiError(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  sendJson(response, status, apiError(status, message));
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
