import fc from 'fast-check';
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { requestHeaders } from './headers.js';

const asRequest = (method: string, headers: Record<string, string>) =>
  ({ method, headers }) as unknown as IncomingMessage;

describe('the head that the registry gets', () => {
  test('never holds anything but what is on the list, whatever a client sends', () => {
    const allowed =
      /^(accept|authorization|content-(length|range|type)|if-(match|none-match|modified-since|unmodified-since|range)|range|transfer-encoding|user-agent|x-request-id)$/;
    const name = fc.oneof(
      fc.constantFrom(
        'cookie',
        'authorization',
        'x-remote-user',
        'x-forwarded-for',
        'te',
        'range',
        'accept',
        'host',
        'expect',
      ),
      fc.stringMatching(/^[a-z][a-z-]{0,15}$/),
    );
    fc.assert(
      fc.property(fc.constantFrom('GET', 'PUT'), fc.dictionary(name, fc.string()), (method, headers) => {
        const sent = requestHeaders(asRequest(method, headers), 'token', 'id');
        expect(Object.keys(sent).filter((key) => !allowed.test(key))).toEqual([]);
        expect(sent['authorization']).toBe('Bearer token');
        expect(sent['x-request-id']).toBe('id');
        expect('content-length' in sent && 'transfer-encoding' in sent).toBe(false);
      }),
    );
  });

  test('leaves out what the client says is of its connection, but never where the body ends', () => {
    const headers = { connection: 'Range, content-length', range: 'bytes=0-1', 'content-length': '5', accept: '*/*' };
    const sent = requestHeaders(asRequest('PUT', headers), 'token', 'id');
    expect(sent).toEqual({ authorization: 'Bearer token', 'x-request-id': 'id', 'content-length': '5', accept: '*/*' });
  });
});
