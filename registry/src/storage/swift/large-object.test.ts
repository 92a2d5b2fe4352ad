import { buffer } from 'node:stream/consumers';
import { expect, it, onTestFinished } from 'vitest';
import { serve } from '../testing/serve.js';
import { SwiftClient } from './client.js';
import { openObject } from './large-object.js';

const signal = new AbortController().signal;

it.each([
  ['docker-registry writes', '50% bücher/日本/segments/1'],
  ['the clients of OpenStack write', '50%25%20b%C3%BCcher%2F%E6%97%A5%E6%9C%AC/segments/1'],
])('reads a dynamic large object whose manifest is such as %s it, after the newest listing', async (_, manifest) => {
  const { address, seen, close } = await serve(({ url }) => {
    // Headers are bytes; Node and undici give and take each as a character, Node only before an empty body.
    const headers = { 'x-object-manifest': Buffer.from(manifest).toString('latin1') };
    if (url.startsWith('/v1/a/c/large')) return { status: 200, headers };
    if (url.includes('format=json'))
      return { status: 200, body: '[{"name":"日本/segments/1/1","bytes":5,"hash":"e"}]' };
    return { status: 206, headers: { etag: 'e' }, body: 'bytes' };
  });
  const session = { token: 'token', storageUrl: `${address}/v1/a`, expires: undefined };
  const client = new SwiftClient({ login: () => Promise.resolve(session), container: 'c', retries: 0 });
  onTestFinished(async () => {
    close();
    await client.close();
  });
  const { bytes } = await openObject(client, { name: 'large' }, undefined, signal);
  expect(String(await buffer(bytes))).toBe('bytes');
  const [, listing, segment] = seen.map(({ url }) => new URL(url, address));
  expect(decodeURIComponent(listing?.pathname ?? '')).toBe('/v1/a/50% bücher');
  expect(listing?.searchParams.get('prefix')).toBe('日本/segments/1');
  expect(seen[1]?.headers['x-newest']).toBe('true');
  expect(decodeURIComponent(segment?.pathname ?? '')).toBe('/v1/a/50% bücher/日本/segments/1/1');
});
