import { randomBytes } from 'node:crypto';
import { appendFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { HandedFiles } from '@wharfie/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobPath } from '../src/domain/layout.js';
import { FilesystemDriver } from '../src/storage/filesystem/driver.js';
import type { Client, Registry } from './harness.js';
import { client, pushBlob, secret, startRegistry } from './harness.js';

const content = randomBytes(100_000);
const offer = { 'wharfie-file': 'wanted', 'x-request-id': 'request-1' };
const files = new HandedFiles(secret);

let folder: string;
let registry: Registry;
let call: Client;
let path: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wharfie-files-'));
  registry = await startRegistry(await FilesystemDriver.open(folder));
  call = client(registry, 'a');
  path = `/v2/a/blobs/${await pushBlob(call, 'a', content)}`;
});
afterAll(async () => {
  await registry.close();
  await rm(folder, { recursive: true });
});

const fileOf = (digest: `sha256:${string}`) => join(folder, blobPath(digest));

describe('a registry that is offered to have a file sent', () => {
  it('hands over the file of a blob in place of its bytes, for this request alone', async () => {
    const plain = await call('GET', path);
    const answer = await call('GET', path, { headers: offer });
    expect(answer.status).toBe(200);
    expect((await answer.arrayBuffer()).byteLength).toBe(0);
    for (const name of ['etag', 'docker-content-digest', 'accept-ranges', 'content-type', 'cache-control']) {
      expect(answer.headers.get(name)).toBe(plain.headers.get(name));
    }
    const signed = answer.headers.get('wharfie-file') ?? '';
    expect(files.read(signed, 'request-2')).toBeUndefined();
    const file = files.read(signed, 'request-1');
    expect(file).toMatchObject({ start: 0, length: content.length, size: content.length });
    expect(isAbsolute(file?.path ?? '')).toBe(true);
    expect((await readFile(file?.path ?? '')).equals(content)).toBe(true);
    const { dev, ino } = await stat(file?.path ?? '');
    expect(file).toMatchObject({ device: String(dev), inode: String(ino) });
  });

  it('hands over a part of it', async () => {
    const answer = await call('GET', path, { headers: { ...offer, range: 'bytes=10-19' } });
    expect(answer.status).toBe(206);
    expect(answer.headers.get('content-range')).toBe(`bytes 10-19/${content.length}`);
    expect(files.read(answer.headers.get('wharfie-file') ?? '', 'request-1')).toMatchObject({ start: 10, length: 10 });
  });

  it.each([
    ['several parts', 'GET', { range: 'bytes=0-0,2-2' }, 206],
    ['what the client has', 'GET', { 'if-none-match': '*' }, 304],
    ['a part that is not there', 'GET', { range: 'bytes=200000-' }, 416],
    ['its head', 'HEAD', {}, 200],
    ['the head of a part', 'HEAD', { range: 'bytes=10-19' }, 200],
  ])('answers %s itself', async (_, method, headers, status) => {
    const answer = await call(method, path, { headers: { ...offer, ...headers } });
    expect(answer.status).toBe(status);
    expect(answer.headers.has('wharfie-file')).toBe(false);
    const plain = await call(method, path, { headers: { 'x-request-id': 'request-1', ...headers } });
    expect(answer.headers.get('content-length')).toBe(plain.headers.get('content-length'));
  });

  it('sends the bytes of a storage without files', async () => {
    const other = await startRegistry();
    try {
      const there = client(other, 'a');
      const answer = await there('GET', `/v2/a/blobs/${await pushBlob(there, 'a', content)}`, { headers: offer });
      expect(Buffer.from(await answer.arrayBuffer()).equals(content)).toBe(true);
    } finally {
      await other.close();
    }
  });

  it('hands over no file that is not as long as its blob', async () => {
    const digest = await pushBlob(call, 'a', 'as long as it was');
    await appendFile(fileOf(digest), 'more');
    const answer = await call('GET', `/v2/a/blobs/${digest}`, { headers: { ...offer, range: 'bytes=0-6' } });
    expect(answer.headers.has('wharfie-file')).toBe(false);
    expect(await answer.text()).toBe('as long');
  });

  it('says that a blob is gone as ever', async () => {
    const digest = await pushBlob(call, 'a', 'short-lived');
    const gone = `/v2/a/blobs/${digest}`;
    expect((await call('DELETE', gone)).status).toBe(202);
    expect((await call('GET', gone, { headers: offer })).status).toBe(404);
    await pushBlob(call, 'a', 'short-lived');
    await rm(fileOf(digest));
    const collected = await call('GET', gone, { headers: offer });
    expect(collected.status).toBe(404);
    expect(await collected.text()).toContain('BLOB_UNKNOWN');
  });
});
