import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { freeBuffer } from '@wharfie/shared';
import { PathNotFound, StorageUnavailable, missingAs } from '../storage-driver.js';
import type { Call, SwiftClient } from './client.js';
import type { Intake } from '../intake.js';
import { bare, lengthOf, md5, openObject, slowMark } from './large-object.js';

/** Deletions and questions under way at once. */
const atOnce = 16;
/** How often an object is read that comes damaged: Swift puts such a copy away, and gives another one the next time. */
const readings = 4;

/** The newest content of an object that fits into memory. @throws PathNotFound, StorageUnavailable when every copy is damaged */
export async function getWhole(client: SwiftClient, name: string, signal: AbortSignal): Promise<Buffer> {
  for (let reading = 0; reading < readings; reading += 1) {
    const { bytes, md5: expected } = await openObject(client, { name, newest: true }, undefined, signal);
    const content = await buffer(bytes);
    if (expected === undefined || md5(content) === expected) return content;
  }
  throw new StorageUnavailable(`${name} came damaged`);
}

/** The same, or undefined when there is none. */
export function getSmall(client: SwiftClient, name: string, signal: AbortSignal): Promise<Buffer | undefined> {
  return getWhole(client, name, signal).catch(missingAs(undefined));
}

/** Writes a small object. Swift refuses bytes that are not those of the etag. */
export async function putSmall(
  client: SwiftClient,
  name: string,
  content: Uint8Array,
  signal: AbortSignal,
  more: Record<string, string> = {},
): Promise<void> {
  await client.send({ ...putCall(name, content, more), accept: [201] }, signal);
}

/** The same where there is no such object, and says whether there was none. Two at once may both be told so. */
export async function putNew(
  client: SwiftClient,
  name: string,
  content: Uint8Array,
  signal: AbortSignal,
): Promise<boolean> {
  const call = { ...putCall(name, content, { 'if-none-match': '*' }), accept: [201, 412] };
  return (await client.send(call, signal)).status === 201;
}

function putCall(name: string, content: Uint8Array, more: Record<string, string>): Omit<Call, 'accept'> {
  const headers = { 'content-type': 'application/octet-stream', etag: md5(content), ...more };
  return { method: 'PUT', name, headers, body: content };
}

export interface Stored {
  size: number;
  etag: string;
}

/**
 * Streams what begins with `head` and goes on with at most `most` bytes of `intake`. Swift shows the object after the end
 * of the body, so the end waits for `approve`; when that throws, the connection is cut. `head` is freed once it is sent.
 */
export async function putStream(
  client: SwiftClient,
  name: string,
  { head, intake, most }: { head: Uint8Array; intake: Intake; most: number },
  approve: () => void,
  signal: AbortSignal,
  more: Record<string, string> = {},
): Promise<Stored> {
  const hash = createHash('md5');
  let size = 0;
  const take = (chunk: Uint8Array): Uint8Array => {
    hash.update(chunk);
    size += chunk.length;
    return chunk;
  };
  async function* body(): AsyncGenerator<Uint8Array> {
    yield take(head);
    freeBuffer(head);
    for await (const piece of intake.pieces(most)) yield take(piece);
    approve();
  }
  const bytes = body();
  const headers = { 'content-type': 'application/octet-stream', ...more };
  const answered = client.send({ method: 'PUT', name, headers, body: bytes, accept: [201] }, signal);
  // Who answers before the end, and then resets, leaves it waiting.
  const answer = await answered.finally(() => void bytes.return(undefined).catch(() => undefined));
  const etag = hash.digest('hex');
  if (bare(answer.header('etag')) === etag) return { size, etag };
  await remove(client, name, signal);
  throw new StorageUnavailable(`${name} arrived damaged and was removed`);
}

/**
 * Asks again when nothing was found, once Swift can tell: while none of the servers answers that know of the container, it
 * says 404 of all that is in it.
 * @throws StorageUnavailable while that is so
 */
export async function surely<T>(
  client: SwiftClient,
  ask: (again: boolean) => Promise<T>,
  signal: AbortSignal,
  container?: string,
): Promise<T> {
  const found = await ask(false);
  if (found) return found;
  await client.send({ method: 'HEAD', container, accept: [200, 204] }, signal);
  return ask(true);
}

/** Whether the newest copy of an object is there. */
export async function exists(
  client: SwiftClient,
  name: string,
  signal: AbortSignal,
  container?: string,
): Promise<boolean> {
  const call = { method: 'HEAD', name, container, newest: true, accept: [200, 404] } as const;
  return (await client.send(call, signal)).status === 200;
}

/** Whether all of them are there. @param container where, if not in ours */
export async function allExist(
  client: SwiftClient,
  names: readonly string[],
  signal: AbortSignal,
  container?: string,
): Promise<boolean> {
  for (let start = 0; start < names.length; start += atOnce) {
    const found = names.slice(start, start + atOnce).map((name) => exists(client, name, signal, container));
    if ((await Promise.all(found)).includes(false)) return false;
  }
  return true;
}

/** Removes one object, which may be gone already: says whether it was there, or may have been. */
export function remove(client: SwiftClient, name: string, signal: AbortSignal): Promise<boolean> {
  return removeAll(client, [name], signal);
}

/** The same, with the segments of a static large one. */
export function removeWhole(client: SwiftClient, name: string, signal: AbortSignal): Promise<boolean> {
  const query = { 'multipart-manifest': 'delete' };
  const headers = { accept: 'application/json' };
  const removed = async (): Promise<boolean> => {
    const answer = await client.call({ method: 'DELETE', name, query, headers, accept: [200, 204, 404] }, signal);
    // It is 200 whatever happened; the truth is in the text.
    const said = await answer.body.text();
    const status = /"Response Status":\s*"(\d+)/.exec(said)?.[1] ?? String(answer.status);
    if (!['200', '204', '404'].includes(status)) throw new StorageUnavailable(`${name} was not removed whole: ${said}`);
    return status !== '404' || answer.repeated;
  };
  return surely(client, removed, signal);
}

/** Removes many objects; says whether any of them was there, or may have been. */
export async function removeAll(
  client: SwiftClient,
  names: readonly string[],
  signal: AbortSignal,
  container?: string,
): Promise<boolean> {
  let any = false;
  for (let start = 0; start < names.length; start += atOnce) {
    let left = names.slice(start, start + atOnce);
    const removed = async (): Promise<boolean> => {
      const answers = await Promise.all(
        left.map((name) => client.send({ method: 'DELETE', name, container, accept: [204, 404] }, signal)),
      );
      any ||= answers.some(({ status, repeated }) => status !== 404 || repeated);
      left = left.filter((_, index) => answers[index]?.status === 404);
      return left.length === 0;
    };
    await surely(client, removed, signal, container);
  }
  return any;
}

/** What is known of an object: its size, which kind it is, whether Swift reads it slowly, and when it was written, to the second. @throws PathNotFound */
export async function inspect(
  client: SwiftClient,
  name: string,
  signal: AbortSignal,
  newest = false,
): Promise<{ size: number; dynamic: string; static: boolean; slow: boolean; modified: number }> {
  const answer = await client.send({ method: 'HEAD', name, newest, accept: [200, 404] }, signal);
  if (answer.status === 404) throw new PathNotFound(name);
  const dynamic = answer.header('x-object-manifest');
  return {
    // A dynamic one of very many segments comes without its length.
    size: dynamic === '' ? lengthOf(answer, name) : Number(answer.header('content-length')),
    dynamic,
    static: answer.header('x-static-large-object').toLowerCase() === 'true',
    slow: dynamic !== '' || answer.header(slowMark) !== '',
    modified: Date.parse(answer.header('last-modified')),
  };
}
