import { hash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Part } from '../storage-driver.js';
import { PathNotFound, StorageUnavailable } from '../storage-driver.js';
import type { Answer, Call, SwiftClient } from './client.js';
import { discard, jsonOf } from './client.js';
import type { Segment } from './listing.js';
import { listAll } from './listing.js';

/** How often a reading that broke off is taken up again without a byte of progress. */
const resumptions = 3;

/**
 * Marks a static large object that Swift would read slowly to us.
 * @see slowlyRead
 */
export const slowMark = 'x-object-meta-wharfie-read-by-segment';

/** An object that is being read. */
export interface Reading {
  bytes: AsyncIterable<Uint8Array>;
  /** The MD5 of the bytes, where Swift gives it: for a plain object that is read whole. */
  md5?: string;
  /** Frees the connection, also when no byte was taken. */
  close(): void;
}

interface Target {
  name: string;
  container?: string;
  newest?: boolean;
}

/**
 * Opens an object of whatever kind: a plain one, a static large one, or a dynamic large one, as distribution leaves them.
 * The bytes come complete or the reading fails; what breaks off is taken up where it did.
 * @throws PathNotFound StorageUnavailable when the part does not lie within the object, or the object lacks a segment
 */
export async function openObject(
  client: SwiftClient,
  target: Target,
  part: Part | undefined,
  signal: AbortSignal,
): Promise<Reading> {
  if (part?.length === 0) return { bytes: Readable.from([]), close: () => undefined };
  const answer = await client.call({ ...getCall(target, part), accept: [200, 206, 404, 409, 416] }, signal);
  if (answer.status === 404) {
    await answer.body.dump();
    throw new PathNotFound(target.name);
  }
  if (answer.status === 409) {
    discard(answer);
    throw new StorageUnavailable(`${target.name} lacks a segment`);
  }
  const manifest = answer.header('x-object-manifest');
  if (manifest !== '') {
    discard(answer);
    return openSegments(client, manifest, await dynamicSegments(client, manifest, signal), part, signal);
  }
  if (answer.header(slowMark) !== '') {
    discard(answer);
    return openSegments(client, target.name, await leaves(client, target.name, signal), part, signal);
  }
  const length = lengthOf(answer, target.name);
  if (answer.status === 416 || (part && (answer.status !== 206 || length !== part.length))) {
    discard(answer);
    throw new StorageUnavailable(`${target.name} does not have the bytes that were asked for`);
  }
  const bytes = continued(client, target, { start: part?.start ?? 0, length }, answer, signal);
  const plain = !part && answer.header('x-static-large-object') === '';
  return {
    bytes,
    ...(plain ? { md5: bare(answer.header('etag')) } : {}),
    close: () => {
      discard(answer);
    },
  };
}

/** What a large object consists of, in order, and the sum of the sizes. */
interface Segments {
  container: string;
  segments: Segment[];
  size: number;
}

/** The segments of a dynamic large object. @throws StorageUnavailable for a hole */
export async function dynamicSegments(client: SwiftClient, manifest: string, signal: AbortSignal): Promise<Segments> {
  const path = unquoted(manifest).replace(/^\/+/, '');
  const slash = path.indexOf('/');
  const container = path.slice(0, slash);
  const prefix = path.slice(slash + 1);
  const segments: Segment[] = [];
  for await (const entry of listAll(client, { container, prefix, newest: true }, signal)) segments.push(entry);
  // distribution counts its segments from 1: https://github.com/distribution/distribution/blob/v2.8.2/registry/storage/driver/swift/swift.go
  const numbers = segments.map(({ name }) => /^\/?(\d{16})$/.exec(name.slice(prefix.length))?.[1]);
  const hole = numbers.findIndex((number, index) => number !== undefined && Number(number) !== index + 1);
  if (hole >= 0) throw new StorageUnavailable(`segment ${hole + 1} of ${container}/${prefix} is missing`);
  return { container, segments, size: sizeOf(segments) };
}

/**
 * What Swift reads in an X-Object-Manifest, whose bytes came as a character each: `%` with two digits is one of them, any
 * other stands for itself, as distribution writes its prefix as it is.
 */
function unquoted(manifest: string): string {
  const bytes = manifest.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString();
}

/** The names in our container of what a static large object consists of, at whatever depth; none for any other object. */
export async function staticSegments(client: SwiftClient, name: string, signal: AbortSignal): Promise<string[]> {
  return (await staticEntries(client, name, signal)).map((entry) => entry.name);
}

/** The segments of a static large object that hold its bytes. */
async function leaves(client: SwiftClient, name: string, signal: AbortSignal): Promise<Segments> {
  const segments = (await staticEntries(client, name, signal, true)).filter(({ group }) => !group);
  return { container: client.container, segments, size: sizeOf(segments) };
}

interface ManifestEntry {
  name: string;
  bytes: number;
  hash: string;
  sub_slo?: boolean;
}

/** @param whole none may be missing */
async function staticEntries(
  client: SwiftClient,
  name: string,
  signal: AbortSignal,
  whole = false,
): Promise<(Segment & { group: boolean })[]> {
  const query = { 'multipart-manifest': 'get' };
  const answer = await client.call({ method: 'GET', name, query, newest: true, accept: [200, 404] }, signal);
  if (answer.status === 404 || answer.header('x-static-large-object') === '') {
    discard(answer);
    return [];
  }
  const ours = `/${client.container}/`;
  const entries = ((await jsonOf(answer)) as ManifestEntry[])
    .filter((entry) => entry.name.startsWith(ours))
    .map(({ name: path, bytes, hash, sub_slo: group = false }) => ({
      name: path.slice(ours.length),
      size: bytes,
      etag: hash,
      group,
    }));
  const below = await Promise.all(
    entries.map(async (entry) => {
      if (!entry.group) return [entry];
      const inner = await staticEntries(client, entry.name, signal, whole);
      if (whole && sizeOf(inner.filter(({ group }) => !group)) !== entry.size)
        throw new StorageUnavailable(`${entry.name} lacks a segment`);
      return [entry, ...inner];
    }),
  );
  return below.flat();
}

/**
 * Whether Swift reads a static large object slowly: after the tenth segment it gives one a second of those that are
 * smaller than 1 MiB. https://docs.openstack.org/swift/latest/middleware.html#static-large-objects
 */
export function slowlyRead(sizes: readonly number[]): boolean {
  return sizes.slice(10).filter((size) => size < 1024 ** 2).length > 1;
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, segment) => sum + segment.size, 0);
}

/**
 * A large object, segment by segment. A dynamic one as a whole is read as slowly as a static one of small segments, and
 * Swift passes over a missing segment of it in silence.
 */
function openSegments(
  client: SwiftClient,
  name: string,
  { container, segments, size }: Segments,
  part: Part | undefined,
  signal: AbortSignal,
): Reading {
  const { start, length } = part ?? { start: 0, length: size };
  if (start + length > size)
    throw new StorageUnavailable(`${name} has ${size} bytes where ${start + length} should be`);
  async function* bytes(): AsyncGenerator<Uint8Array> {
    let position = 0;
    for (const { name: segment, size: total, etag } of segments) {
      const from = Math.max(start - position, 0);
      const to = Math.min(start + length - position, total);
      position += total;
      if (from >= to) continue;
      const within = { start: from, length: to - from };
      yield* continued(client, { container, name: segment }, within, undefined, signal, etag);
    }
  }
  return { bytes: bytes(), close: () => undefined };
}

/**
 * Exactly the bytes of a part of one version of an object.
 * @param first the answer that is there already; asked for when there is none
 */
async function* continued(
  client: SwiftClient,
  target: Target,
  { start, length }: Part,
  first: Answer | undefined,
  signal: AbortSignal,
  version?: string,
): AsyncGenerator<Uint8Array> {
  let answer = first;
  let etag = version;
  let given = 0;
  for (let failures = 0; given < length;) {
    if (!answer) {
      const rest = { start: start + given, length: length - given };
      const call = getCall(target, rest);
      const headers = { ...call.headers, ...(etag === undefined ? {} : { 'if-match': etag }) };
      answer = await client.call({ ...call, headers, accept: [200, 206, 404, 412] }, signal);
      if (answer.status !== 206) {
        discard(answer);
        throw new StorageUnavailable(`${target.name} is missing or another one now (${answer.status})`);
      }
    }
    etag ??= answer.header('etag');
    const before = given;
    let reason = 'its bytes ended early';
    try {
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        given += chunk.length;
        if (given > length) throw new StorageUnavailable(`${target.name} has more bytes than Swift said`);
        yield chunk;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof StorageUnavailable) throw error;
      reason = (error as Error).message;
    }
    answer = undefined;
    failures = given > before ? 0 : failures + 1;
    if (given < length && failures > resumptions) throw new StorageUnavailable(`${target.name} broke off: ${reason}`);
  }
  // Nothing was asked for, or nothing is left: free the connection.
  await answer?.body.dump();
}

function getCall({ name, container, newest = false }: Target, part: Part | undefined): Omit<Call, 'accept'> {
  return {
    method: 'GET',
    name,
    container,
    newest,
    // What is asked for in its newest version is small.
    streams: !newest,
    ...(part ? { headers: { range: `bytes=${part.start}-${part.start + part.length - 1}` } } : {}),
  };
}

/** What Swift says of an object's length. @throws StorageUnavailable when that is nothing: it could be taken for an empty one */
export function lengthOf(answer: Answer, name: string): number {
  const length = answer.header('content-length');
  if (length !== '') return Number(length);
  discard(answer);
  throw new StorageUnavailable(`${name} came without its length: what stands before Swift must not take that away`);
}

/** An etag as Swift gives it, with quotes for a large object. */
export function bare(etag: string): string {
  return etag.replace(/^"|"$/g, '');
}

/** The etag of an object that is no large one, without quotes. */
export function md5(content: Uint8Array): string {
  return hash('md5', content);
}
