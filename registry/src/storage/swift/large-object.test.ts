import { buffer } from 'node:stream/consumers';
import { expect, it, onTestFinished } from 'vitest';
import { serve } from '../testing/serve.js';
import { StorageUnavailable } from '../storage-driver.js';
import { SwiftClient } from './client.js';
import { openObject, slowMark } from './large-object.js';

const signal = new AbortController().signal;

/** Ends with the test, and ends what it speaks to. */
function clientOf(address: string, close: () => void): SwiftClient {
  const session = { token: 'token', storageUrl: `${address}/v1/a`, expires: undefined };
  const client = new SwiftClient({ login: () => Promise.resolve(session), container: 'c', retries: 0 });
  onTestFinished(async () => {
    close();
    await client.close();
  });
  return client;
}

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
  const client = clientOf(address, close);
  const { bytes } = await openObject(client, { name: 'large' }, undefined, signal);
  expect(String(await buffer(bytes))).toBe('bytes');
  const [, listing, segment] = seen.map(({ url }) => new URL(url, address));
  expect(decodeURIComponent(listing?.pathname ?? '')).toBe('/v1/a/50% bücher');
  expect(listing?.searchParams.get('prefix')).toBe('日本/segments/1');
  expect(seen[1]?.headers['x-newest']).toBe('true');
  expect(decodeURIComponent(segment?.pathname ?? '')).toBe('/v1/a/50% bücher/日本/segments/1/1');
});

it('gives no bytes of a static large object of which a part is missing that is one itself', async () => {
  const entry = (name: string) => ({ name: `/c/${name}`, bytes: 5, hash: 'e', sub_slo: true });
  const { address, close } = await serve(({ url }) => {
    if (!url.includes('multipart-manifest')) return { status: 206, headers: { [slowMark]: 'yes' }, body: 'bytes' };
    const headers = { 'x-static-large-object': 'True' };
    if (url.includes('/large')) return { status: 200, headers, body: JSON.stringify([entry('one'), entry('two')]) };
    if (url.includes('/one')) return { status: 404 };
    return { status: 200, headers, body: JSON.stringify([{ ...entry('leaf'), sub_slo: false }]) };
  });
  const client = clientOf(address, close);
  const reading = openObject(client, { name: 'large' }, { start: 0, length: 5 }, signal);
  await expect(reading).rejects.toThrow(StorageUnavailable);
});
