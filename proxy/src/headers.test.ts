import fc from 'fast-check';
import type { IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { requestHeaders, responseHeaders } from './headers.js';

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

  test.each(['application/x-www-form-urlencoded', 'Multipart/form-data; boundary=x', ' multipart/mixed'])(
    'never calls a body a form, in which a registry might look for parameters: %s',
    (type) => {
      expect(requestHeaders(asRequest('POST', { 'content-type': type }), 'token', 'id')).not.toHaveProperty(
        'content-type',
      );
    },
  );

  test('leaves out what the client says is of its connection, but never where the body ends', () => {
    const headers = { connection: 'Range, content-length', range: 'bytes=0-1', 'content-length': '5', accept: '*/*' };
    const sent = requestHeaders(asRequest('PUT', headers), 'token', 'id');
    expect(sent).toEqual({ authorization: 'Bearer token', 'x-request-id': 'id', 'content-length': '5', accept: '*/*' });
  });
});

describe('where the registry points to itself', () => {
  const pointed = (name: string, value: string, publicPath = '') =>
    responseHeaders(
      { headers: {}, rawHeaders: [name, value] } as unknown as IncomingMessage,
      'id',
      () => 'r:5001',
      publicPath,
    ).at(-1);

  test.each([
    ['Location', '/v2/a/blobs/x?y=z', '/v2/a/blobs/x?y=z'],
    ['Location', 'http://r:5001/v2/a/blobs/x?y=z', '/v2/a/blobs/x?y=z'],
    ['location', 'https://r:5001/v2/', '/v2/'],
    ['Link', '</v2/_catalog?last=a&n=1>; rel="next"', '</v2/_catalog?last=a&n=1>; rel="next"'],
    ['Link', '<http://r:5001/v2/_catalog?n=1>; rel="next"', '</v2/_catalog?n=1>; rel="next"'],
  ])('it points to the door: %s: %s', (name, value, expected) => {
    expect(pointed(name, value)).toBe(expected);
    expect(pointed(name, value, '/hub')).toBe(expected.replace('/v2/', '/hub/v2/'));
  });

  test.each([
    ['Location', 'https://swift.example/v1/a/b?temp_url_sig=x'],
    ['Location', 'http://r:5001.evil/v2/'],
    ['Location', 'http://r:5001@evil/v2/'],
    ['Location', 'blobs/x'],
    ['Content-Type', '/v2/'],
  ])('anything else stays: %s: %s', (name, value) => {
    expect(pointed(name, value, '/hub')).toBe(value);
  });
});
