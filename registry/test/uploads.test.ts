import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { everything, repositoryAccess } from '@wharfie/shared';
import { FilesystemDriver } from '../src/storage/filesystem/driver.js';
import { MemoryDriver } from '../src/storage/memory.js';
import { StorageUnavailable, type Part, type StorageDriver } from '../src/storage/storage-driver.js';
import { pieces } from '../src/storage/testing/driver-contract.js';
import type { Client, Registry } from './harness.js';
import { client, errorCode, pushBlob, sha256, sha512, startRegistry, token } from './harness.js';

let registry: Registry;
let other: Registry;
let call: Client;
beforeAll(async () => {
  registry = await startRegistry();
  other = await startRegistry(registry.storage);
  call = client(registry, 'a', 'b', 'a/blobs/uploads');
});
afterAll(async () => {
  await registry.close();
  await other.close();
});

const content = 'the bytes of a layer';
async function begin(repository = 'a', query = ''): Promise<string> {
  const response = await call('POST', `/v2/${repository}/blobs/uploads/${query}`);
  expect(response.status).toBe(202);
  return location(response);
}
const location = (response: Response): string => response.headers.get('location') ?? '';
const range = (start: number, end: number) => ({
  'content-range': `${start}-${end}`,
  'content-type': 'application/octet-stream',
});
async function expectBlob(digest: string, bytes: string | Uint8Array, repository = 'a'): Promise<void> {
  const response = await call('GET', `/v2/${repository}/blobs/${digest}`);
  expect(response.status).toBe(200);
  expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.from(bytes))).toBe(true);
  expect(response.headers.get('docker-content-digest')).toBe(digest);
}

describe('an upload', () => {
  it('begins with a relative Location, Range 0-0 and an id', async () => {
    const response = await call('POST', '/v2/a/blobs/uploads/');
    expect(response.status).toBe(202);
    expect(location(response)).toMatch(/^\/v2\/a\/blobs\/uploads\/[0-9a-f-]{36}\?_state=/);
    expect(response.headers.get('range')).toBe('0-0');
    expect(response.headers.get('content-length')).toBe('0');
    expect(response.headers.get('docker-upload-uuid')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('is taken as docker sends it: a stream, then an empty PUT', async () => {
    await expectBlob(await pushBlob(call, 'a', content), content);
  });

  it('is taken as containerd sends it: everything in the PUT', async () => {
    const digest = sha256('put whole');
    const at = await begin();
    const response = await call('PUT', `${at}&digest=${encodeURIComponent(digest)}`, { body: 'put whole' });
    expect(response.status).toBe(201);
    expect(location(response)).toBe(`/v2/a/blobs/${digest}`);
    await expectBlob(digest, 'put whole');
    expect((await call('GET', at)).status).toBe(404);
  });

  it('is taken in one POST', async () => {
    const digest = sha256('posted');
    expect((await call('POST', `/v2/a/blobs/uploads/?digest=${digest}`, { body: 'posted' })).status).toBe(201);
    await expectBlob(digest, 'posted');
    const wrong = await call('POST', `/v2/a/blobs/uploads/?digest=${sha256('x')}`, { body: 'posted' });
    expect([wrong.status, await errorCode(wrong)]).toEqual([400, 'DIGEST_INVALID']);
  });

  it('is taken in chunks, each by another process, with the last one in the PUT', async () => {
    const bytes = randomBytes(30_000);
    const digest = sha256(bytes);
    const elsewhere = client(other, 'a');
    let at = await begin();
    for (const [index, caller] of [elsewhere, call, elsewhere].entries()) {
      const chunk = bytes.subarray(index * 7000, (index + 1) * 7000);
      const response = await caller('PATCH', at, { body: chunk, headers: range(index * 7000, (index + 1) * 7000 - 1) });
      expect(response.status).toBe(202);
      expect(response.headers.get('range')).toBe(`0-${(index + 1) * 7000 - 1}`);
      at = location(response);
    }
    const end = await call('PUT', `${at}&digest=${digest}`, {
      body: bytes.subarray(21_000),
      headers: range(21_000, 29_999),
    });
    expect(end.status).toBe(201);
    await expectBlob(digest, bytes);
  });

  it('is read again only where a process has not seen its bytes', async () => {
    const parts: string[] = [];
    class Watched extends MemoryDriver {
      override readUpload(upload: string, part: Part, signal: AbortSignal): Promise<Readable> {
        parts.push(`${part.start}+${part.length}`);
        return super.readUpload(upload, part, signal);
      }
    }
    const one = await startRegistry(new Watched());
    const two = await startRegistry(one.storage);
    try {
      const [here, there] = [client(one, 'a'), client(two, 'a')];
      let next = location(await here('POST', '/v2/a/blobs/uploads/'));
      const send = async (to: Client, body: string) => {
        next = location(await to('PATCH', next, { body }));
      };
      await send(here, 'abc');
      await send(here, 'def');
      expect(parts).toEqual([]);
      await send(there, 'ghi');
      expect(parts).toEqual(['0+6']);
      await send(there, 'jkl');
      await send(here, 'mno');
      expect(parts).toEqual(['0+6', '6+6']);
      const digest = sha256('abcdefghijklmno');
      expect((await there('PUT', `${next}&digest=${digest}`)).status).toBe(201);
      expect(parts).toEqual(['0+6', '6+6']);
    } finally {
      await two.close();
      await one.close();
    }
  });

  it('has a digest of what the storage kept, and of nothing else', async () => {
    const told: unknown[] = [];
    class Told extends MemoryDriver {
      override async appendUpload(
        ...[upload, offset, source, signal, digests]: Parameters<StorageDriver['appendUpload']>
      ): Promise<number> {
        const size = await super.appendUpload(upload, offset, source, signal);
        told.push(digests?.after(size - 1), digests?.after(size));
        return size;
      }
    }
    const one = await startRegistry(new Told());
    try {
      const begun = await client(one, 'a')('POST', '/v2/a/blobs/uploads/');
      await client(one, 'a')('PATCH', location(begun), { body: 'abc' });
      expect(told).toEqual([undefined, sha256('abc')]);
    } finally {
      await one.close();
    }
  });

  it('is read on, not anew, when the reading was cut off', async () => {
    const parts: string[] = [];
    class Breaking extends MemoryDriver {
      override async readUpload(upload: string, part: Part, signal: AbortSignal): Promise<Readable> {
        const bytes = await super.readUpload(upload, part, signal);
        if (parts.push(`${part.start}+${part.length}`) > 1) return bytes;
        return Readable.from(
          pieces((await buffer(bytes)).subarray(0, 3), () => Promise.reject(new StorageUnavailable())),
        );
      }
    }
    const one = await startRegistry(new Breaking());
    const here = client(one, 'a');
    const sent = await here('PATCH', location(await here('POST', '/v2/a/blobs/uploads/')), { body: 'abcdef' });
    const end = () => here('PUT', `${location(sent)}&digest=${sha512('abcdef')}`);
    expect([(await end()).status, (await end()).status]).toEqual([503, 201]);
    expect(parts).toEqual(['0+6', '3+3']);
    await one.close();
  });

  it('goes on after chunks without Content-Range, and when only the first Location is used', async () => {
    const bytes = randomBytes(3000);
    const first = await begin();
    const at = location(await call('PATCH', first, { body: bytes.subarray(0, 1000) }));
    expect((await call('PATCH', at, { body: bytes.subarray(1000, 2000) })).status).toBe(202);
    expect((await call('PATCH', first, { body: bytes.subarray(2000), headers: range(2000, 2999) })).status).toBe(202);
    const at3 = location(await call('GET', first));
    expect((await call('PUT', `${at3}&digest=${sha256(bytes)}`)).status).toBe(201);
    await expectBlob(sha256(bytes), bytes);
  });

  it('refuses a chunk out of order with 416, says where it stands, and goes on', async () => {
    const at = location(await call('PATCH', await begin(), { body: 'abc', headers: range(0, 2) }));
    for (const wrong of [range(4, 6), range(0, 2), range(2, 4)]) {
      const response = await call('PATCH', at, { body: 'def', headers: wrong });
      expect([response.status, await errorCode(response)]).toEqual([416, 'RANGE_INVALID']);
      expect(response.headers.get('range')).toBe('0-2');
      expect(location(response)).toContain('/v2/a/blobs/uploads/');
    }
    const stale = await call('PUT', `${at}&digest=${sha256('abcdef')}`, { body: 'def', headers: range(4, 6) });
    expect(stale.status).toBe(416);
    const after = await call('PATCH', at, { body: 'def', headers: range(3, 5) });
    expect(after.status).toBe(202);
    expect((await call('PUT', `${location(after)}&digest=${sha256('abcdef')}`)).status).toBe(201);
  });

  it('refuses a second stream onto a Location that was used already', async () => {
    const first = await begin();
    expect((await call('PATCH', first, { body: 'abc' })).status).toBe(202);
    expect((await call('PATCH', first, { body: 'abc' })).status).toBe(416);
  });

  it('refuses a Content-Range that does not fit the body', async () => {
    // With its length at the beginning, and in chunks, so that it is known only at the end.
    for (const body of [() => 'abc', () => new Blob(['abc']).stream()]) {
      for (const headers of [
        range(0, 5),
        range(0, 1),
        range(2, 0),
        { 'content-range': 'bytes 0-2/3' },
        { 'content-range': '0' },
      ]) {
        const response = await call('PATCH', await begin(), { body: body(), headers });
        expect([response.status, await errorCode(response)], JSON.stringify(headers)).toEqual([400, 'SIZE_INVALID']);
      }
    }
  });

  it('with another digest than its bytes have ends, and stores nothing', async () => {
    for (const finish of [
      async (at: string) => call('PUT', `${at}&digest=${sha256('other')}`, { body: content }),
      async (at: string) =>
        call('PUT', `${location(await call('PATCH', at, { body: content }))}&digest=${sha256('other')}`),
      async (at: string) =>
        call(
          'PUT',
          `${location(await call('PATCH', at, { body: 'x', headers: range(0, 0) }))}&digest=${sha256('other')}`,
          { body: 'y' },
        ),
    ]) {
      const at = await begin();
      const response = await finish(at);
      expect([response.status, await errorCode(response)]).toEqual([400, 'DIGEST_INVALID']);
      expect((await call('HEAD', `/v2/a/blobs/${sha256('other')}`)).status).toBe(404);
      expect((await call('GET', at)).status).toBe(404);
    }
  });

  it('survives a PUT without a digest or with one that cannot be', async () => {
    const at = location(await call('PATCH', await begin(), { body: content }));
    for (const query of ['', '&digest=md5:abc', '&digest=foo:bar', '&digest=sha256:ABC']) {
      const response = await call('PUT', at + query);
      expect([response.status, await errorCode(response)], query).toEqual([400, 'DIGEST_INVALID']);
    }
    expect((await call('PUT', `${at}&digest=${sha256(content)}&extra=1`)).status).toBe(201);
  });

  it('takes the empty blob in every way', async () => {
    const digest = sha256('');
    expect(digest).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    const ways = [
      () => call('POST', `/v2/a/blobs/uploads/?digest=${digest}`),
      async () => call('PUT', `${await begin()}&digest=${digest}`),
      async () => call('PUT', `${location(await call('PATCH', await begin(), { body: '' }))}&digest=${digest}`),
    ];
    for (const way of ways) {
      expect((await way()).status).toBe(201);
      await expectBlob(digest, '');
      expect((await call('DELETE', `/v2/a/blobs/${digest}`)).status).toBe(202);
    }
  });

  it('is still there when its bytes could not be read in the end', async () => {
    const storage = new MemoryDriver();
    const other = await startRegistry(storage);
    const there = client(other, 'a');
    const begun = await there('POST', '/v2/a/blobs/uploads/');
    const sent = await there('PATCH', begun.headers.get('location') ?? '', { body: 'content' });
    const end = `${sent.headers.get('location') ?? ''}&digest=${sha512('content')}`;
    vi.spyOn(storage, 'readUpload').mockRejectedValueOnce(new StorageUnavailable('busy'));
    expect((await there('PUT', end)).status).toBe(503);
    expect((await there('PUT', end)).status).toBe(201);
    await other.close();
  });

  it('is ended by two at once, of whom one makes the blob and the other finds it made', async () => {
    /** Takes its time between the end of an upload and the blob, as any storage may. */
    class Slow extends MemoryDriver {
      override async commitUpload(...[upload, size, path, signal, more]: Parameters<MemoryDriver['commitUpload']>) {
        const bytes = await buffer(await this.readUpload(upload, { start: 0, length: size }, signal));
        await this.cancelUpload(upload, signal);
        await delay(300);
        await this.putAll([{ path, content: bytes }, ...(more ?? [])], signal);
      }
    }
    const other = await startRegistry(new Slow());
    const there = client(other, 'a');
    const begun = await there('POST', '/v2/a/blobs/uploads/');
    const sent = await there('PATCH', location(begun), { body: 'content' });
    const ends = [1, 2].map(() => there('PUT', `${location(sent)}&digest=${sha256('content')}`));
    expect((await Promise.all(ends)).map(({ status }) => status)).toEqual([201, 201]);
    await other.close();
  });

  it.each([
    ['that its Location names', sha256, false],
    ['of another algorithm', sha512, false],
    ['after its status was asked for', sha256, true],
  ])('is ended as often as it is asked for, with a digest %s', async (_, digestOf, asked) => {
    const bytes = randomBytes(100);
    const first = await begin();
    const sent = await call('PATCH', first, { body: bytes });
    const end = `${location(asked ? await call('GET', first) : sent)}&digest=${digestOf(bytes)}`;
    const statuses = [(await call('PUT', end)).status, (await call('PUT', end)).status];
    expect(statuses).toEqual([201, 201]);
  });

  it('takes sha512 when it is named only at the end, or at the beginning', async () => {
    const bytes = randomBytes(5000);
    const digest = sha512(bytes);
    for (const query of ['', '?digest-algorithm=sha512']) {
      const at = location(await call('PATCH', await begin('a', query), { body: bytes.subarray(0, 3000) }));
      const response = await call('PUT', `${at}&digest=${digest}`, { body: bytes.subarray(3000) });
      expect(response.status).toBe(201);
      expect(response.headers.get('docker-content-digest')).toBe(digest);
      await expectBlob(digest, bytes);
      await call('DELETE', `/v2/a/blobs/${digest}`);
    }
    const unknown = await call('POST', '/v2/a/blobs/uploads/?digest-algorithm=md5');
    expect(unknown.status).toBe(400);
  });

  it('tells its status truly after a connection broke in the middle, and goes on from there', async () => {
    const first = await begin();
    expect((await call('GET', first)).status).toBe(204);
    const bytes = randomBytes(1_000_000);
    const socket = connect(registry.port, '127.0.0.1');
    socket.write(
      `PATCH ${first} HTTP/1.1\r\nHost: x\r\nAuthorization: ${token([repositoryAccess('a', 'push')])}\r\nContent-Length: 1000000\r\n\r\n`,
    );
    await new Promise((resolve) => socket.write(bytes.subarray(0, 600_000), resolve));
    socket.destroy();
    await once(socket, 'close');
    const status = await call('GET', first);
    const told = Number(/^0-(\d+)$/.exec(status.headers.get('range') ?? '')?.[1]);
    const start = told === 0 ? 0 : told + 1;
    // The broken request may still be on its way into the storage: then it is told so, and asks again.
    let at = location(status);
    let from = start;
    let resumed = await call('PATCH', at, { body: bytes.subarray(from), headers: range(from, 999_999) });
    if (resumed.status === 416) {
      at = location(resumed);
      from = Number(resumed.headers.get('range')?.slice(2)) + 1;
      resumed = await call('PATCH', at, { body: bytes.subarray(from), headers: range(from, 999_999) });
    }
    expect(resumed.status).toBe(202);
    expect((await call('PUT', `${location(resumed)}&digest=${sha256(bytes)}`)).status).toBe(201);
    await expectBlob(sha256(bytes), bytes);
  });

  it('can be cancelled, once', async () => {
    const at = location(await call('PATCH', await begin(), { body: 'abc' }));
    expect((await call('DELETE', at)).status).toBe(204);
    for (const method of ['GET', 'DELETE', 'PATCH', 'PUT']) {
      const response = await call(method, `${at}&digest=${sha256('abc')}`);
      expect([response.status, await errorCode(response)], method).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
    }
  });

  it('belongs to its repository, its account and its secret', async () => {
    const at = await begin();
    const moved = await call('GET', at.replace('/v2/a/', '/v2/b/'));
    expect([moved.status, await errorCode(moved)]).toEqual([404, 'BLOB_UPLOAD_INVALID']);
    const stranger = await call('GET', at, {
      headers: { authorization: token([repositoryAccess('a', 'push')], 'mallory') },
    });
    expect(stranger.status).toBe(404);
    for (const forged of [
      at.replace(/_state=.*/, ''),
      `${at}x`,
      at.replace(/.{4}\./, 'AAAA.'),
      at.replace(/[0-9a-f-]{36}/, randomUUID()),
    ]) {
      expect((await call('PATCH', forged, { body: 'x' })).status, forged).toBe(404);
    }
    expect((await call('GET', at)).status).toBe(204);
  });

  it('of one blob from 12 clients at once succeeds for all', async () => {
    const bytes = randomBytes(100_000);
    const digests = await Promise.all(Array.from({ length: 12 }, () => pushBlob(call, 'a', bytes)));
    expect(new Set(digests).size).toBe(1);
    await expectBlob(sha256(bytes), bytes);
  });
});

describe('an upload of which a power cut took bytes back', () => {
  const then = 'the bytes of then';
  const now = 'THE BYTES OF NOW!';
  let folder: string;
  let one: Client;
  let two: Client;
  let first: string;
  let sent: string;
  let ends: (() => Promise<void>)[];
  const send = async (to: Client, at: string, body: string): Promise<string> => {
    const response = await to('PATCH', at, { body });
    expect(response.status).toBe(202);
    return location(response);
  };
  const end = (by: Client, at: string, bytes: string) => by('PUT', `${at}&digest=${sha256(bytes)}`);
  const expectRefused = async (response: Response) => {
    expect([response.status, await errorCode(response)]).toEqual([400, 'DIGEST_INVALID']);
    expect((await one('GET', `/v2/a/blobs/${sha256(then)}`)).status).toBe(404);
  };
  // A volume may go and come back under processes that run on: they must not believe what they remember either.
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-power-'));
    const started = [
      await startRegistry(await FilesystemDriver.open(folder)),
      await startRegistry(await FilesystemDriver.open(folder)),
    ] as const;
    ends = started.map((registry) => () => registry.close());
    [one, two] = [client(started[0], 'a'), client(started[1], 'a')];
    const begun = await one('POST', '/v2/a/blobs/uploads/');
    first = location(begun);
    sent = await send(one, first, then);
    const upload = join(folder, 'wharfie', 'uploads', begun.headers.get('docker-upload-uuid') ?? '');
    await rename(join(upload, (await readdir(upload))[0] ?? ''), join(upload, '0.data'));
  });
  afterEach(async () => {
    for (const close of ends) await close();
    await rm(folder, { recursive: true });
  });

  it('ends when the same are sent again', async () => {
    await send(two, first, then);
    expect((await end(one, sent, then)).status).toBe(201);
  });

  it('stands elsewhere for whoever goes on from where it stood, as long as it may be', async () => {
    await send(one, first, now);
    const onward = await one('PATCH', sent, { body: 'more' });
    expect([onward.status, onward.headers.get('range')]).toEqual([416, '0-16']);
    const ended = await end(one, sent, then);
    expect([ended.status, ended.headers.get('range')]).toEqual([416, '0-16']);
    const found = await one('GET', sent);
    expect([found.status, found.headers.get('range')]).toEqual([204, '0-16']);
    const more = await send(one, location(found), ' and more');
    expect((await end(one, more, `${now} and more`)).status).toBe(201);
  });

  it('has no blob of those bytes, whoever remembers them', async () => {
    await send(two, first, now);
    await expectRefused(await end(one, location(await end(two, sent, then)), then));
  });

  it('has none either when nobody has hashed what is there now', async () => {
    const broken = new ReadableStream({
      start: (controller) => {
        controller.enqueue(Buffer.from(now));
        setTimeout(() => {
          controller.error(new Error('gone'));
        }, 100);
      },
    });
    await expect(one('PATCH', first, { body: broken })).rejects.toThrow();
    const stands = async () => (await one('GET', first)).headers.get('range');
    await expect.poll(stands).toBe('0-16');
    await expectRefused(await end(one, location(await one('GET', first)), then));
  });

  it('is hashed anew where its beginning was another', async () => {
    const further = await send(two, await send(two, first, now), ' and more');
    const last = await send(one, further, ', in the end');
    expect((await end(one, last, `${now} and more, in the end`)).status).toBe(201);
  });
});

describe('a mount', () => {
  const mount = (digest: string, from: string | undefined, access: Parameters<typeof token>[0]) =>
    call('POST', `/v2/b/blobs/uploads/?mount=${digest}${from === undefined ? '' : `&from=${from}`}`, {
      headers: { authorization: token(access) },
    });
  const push = repositoryAccess('b', 'push');

  it('links a blob that the asker may pull, and nothing else', async () => {
    const digest = await pushBlob(call, 'a', 'mounted');
    expect((await mount(digest, 'a', [push])).status).toBe(202);
    expect((await call('HEAD', `/v2/b/blobs/${digest}`)).status).toBe(404);
    const mounted = await mount(digest, 'a', [push, repositoryAccess('a', 'pull')]);
    expect(mounted.status).toBe(201);
    expect(location(mounted)).toBe(`/v2/b/blobs/${digest}`);
    await expectBlob(digest, 'mounted', 'b');
  });

  it('without a source needs the right to pull everything', async () => {
    const digest = await pushBlob(call, 'a', 'mounted from anywhere');
    expect((await mount(digest, undefined, [push])).status).toBe(202);
    expect((await mount(digest, undefined, [push, repositoryAccess(everything, 'pull')])).status).toBe(201);
  });

  it('of what is not there, or cannot be, begins an upload', async () => {
    const both = [push, repositoryAccess('a', 'pull')];
    expect((await mount(sha256('nowhere'), 'a', both)).status).toBe(202);
    expect((await mount('sha256:bad', 'a', both)).status).toBe(202);
    expect((await mount(sha256('x'), 'Bad/Name', both)).status).toBe(202);
  });
});

describe('a blob', () => {
  it('is seen through the repository that links it alone', async () => {
    const digest = await pushBlob(call, 'a', 'private');
    expect((await call('HEAD', `/v2/b/blobs/${digest}`)).status).toBe(404);
    await pushBlob(call, 'b', 'private');
    expect((await call('DELETE', `/v2/a/blobs/${digest}`)).status).toBe(202);
    expect((await call('DELETE', `/v2/a/blobs/${digest}`)).status).toBe(404);
    expect((await call('GET', `/v2/a/blobs/${digest}`)).status).toBe(404);
    await expectBlob(digest, 'private', 'b');
  });

  it('answers HEAD with the headers of GET', async () => {
    const digest = await pushBlob(call, 'a', content);
    const response = await call('HEAD', `/v2/a/blobs/${digest}`);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-length': String(content.length),
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes',
      etag: `"${digest}"`,
    });
  });

  it('answers ranges as the suite asks for them', async () => {
    const bytes = randomBytes(2048);
    const digest = await pushBlob(call, 'a', bytes);
    const get = (value: string, more = {}) =>
      call('GET', `/v2/a/blobs/${digest}`, { headers: { range: value, ...more } });
    for (const [asked, start, end] of [
      ['bytes=500-1499', 500, 1499],
      ['bytes=500-', 500, 2047],
      ['bytes=-500', 1548, 2047],
      ['bytes=2000-5000', 2000, 2047],
      ['bytes=0-', 0, 2047],
    ] as const) {
      const response = await get(asked);
      expect(response.status, asked).toBe(206);
      expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end}/2048`);
      expect(Buffer.from(await response.arrayBuffer()).equals(bytes.subarray(start, end + 1))).toBe(true);
    }
    for (const asked of ['bytes=500-0', 'bytes=5000-10000', 'bytes=a-b']) {
      const response = await get(asked);
      expect(response.status, asked).toBe(416);
      expect(response.headers.get('content-range')).toBe('bytes */2048');
    }
    expect((await get('lines=1-2')).status).toBe(200);
    expect((await get('bytes=0-1', { 'if-range': `"${digest}"` })).status).toBe(206);
    expect((await get('bytes=0-1', { 'if-range': '"other"' })).status).toBe(200);
  });

  it('sends several ranges as parts', async () => {
    const digest = await pushBlob(call, 'a', '0123456789');
    const response = await call('GET', `/v2/a/blobs/${digest}`, { headers: { range: 'bytes=0-1,5-6' } });
    expect(response.status).toBe(206);
    const boundary = /boundary=(\w+)/.exec(response.headers.get('content-type') ?? '')?.[1] ?? '';
    const text = await response.text();
    expect(response.headers.get('content-length')).toBe(String(text.length));
    expect(text.split(`--${boundary}`).map((part) => part.split('\r\n\r\n')[1]?.trim())).toEqual([
      undefined,
      '01',
      '56',
      undefined,
    ]);
  });

  it('that comes damaged from a storage elsewhere never ends as if it were whole', async () => {
    class Damaging extends MemoryDriver {
      override async read(...of: Parameters<MemoryDriver['read']>) {
        const bytes = await buffer(await super.read(...of));
        return Readable.from([bytes.subarray(0, 3), Buffer.from('X'), bytes.subarray(4)], { objectMode: false });
      }
    }
    const other = await startRegistry(new Damaging());
    const there = client(other, 'a');
    const digest = await pushBlob(there, 'a', content);
    const answer = await there('GET', `/v2/a/blobs/${digest}`);
    await expect(answer.arrayBuffer()).rejects.toThrow('terminated');
    await other.close();
  });

  it('is not sent again to who has it', async () => {
    const digest = await pushBlob(call, 'a', content);
    for (const tag of [digest, `"${digest}"`, `W/"${digest}"`, `"x", "${digest}"`, '*']) {
      expect((await call('GET', `/v2/a/blobs/${digest}`, { headers: { 'if-none-match': tag } })).status, tag).toBe(304);
    }
    expect((await call('GET', `/v2/a/blobs/${digest}`, { headers: { 'if-none-match': '"x"' } })).status).toBe(200);
  });
});
