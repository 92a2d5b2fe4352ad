import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mediaTypes } from '@wharfie/shared';
import { blobPath, revisionLink, revisionLinkPath } from '../src/domain/layout.js';
import { MemoryDriver } from '../src/storage/memory.js';
import type { Client, Registry } from './harness.js';
import { client, errorCode, imageManifest, pushBlob, putManifest, sha256, startRegistry } from './harness.js';

/** A storage that counts what it is asked to read. */
class Counting extends MemoryDriver {
  reads = 0;

  override get(...call: Parameters<MemoryDriver['get']>) {
    this.reads += 1;
    return super.get(...call);
  }

  override stat(...call: Parameters<MemoryDriver['stat']>) {
    this.reads += 1;
    return super.stat(...call);
  }

  /** How much is read meanwhile. */
  async during(action: () => Promise<unknown>): Promise<number> {
    const before = this.reads;
    await action();
    return this.reads - before;
  }
}

const signal = new AbortController().signal;

describe('what one instance remembers', () => {
  let storage: Counting;
  let registries: Registry[];
  let here: Client;
  let there: Client;
  beforeEach(async () => {
    storage = new Counting();
    registries = [await startRegistry(storage), await startRegistry(storage)];
    [here, there] = registries.map((registry) => client(registry, 'a', 'b')) as [Client, Client];
  });
  afterEach(() => Promise.all(registries.map((registry) => registry.close())));

  /** An image that `here` has pushed and pulled. */
  async function known(): Promise<{ manifest: string; digest: string; layer: string }> {
    const manifest = await imageManifest(here, 'a');
    await putManifest(here, 'a', 'latest', manifest);
    const layer = (JSON.parse(manifest) as { layers: { digest: string }[] }).layers[0]?.digest ?? '';
    for (const path of [`manifests/${sha256(manifest)}`, `blobs/${layer}`])
      expect((await here('GET', `/v2/a/${path}`)).status).toBe(200);
    return { manifest, digest: sha256(manifest), layer };
  }

  it('is no manifest that is damaged in the storage, nor is that given away', async () => {
    const manifest = await imageManifest(here, 'a');
    await putManifest(here, 'a', 'latest', manifest);
    const path = blobPath(sha256(manifest));
    await storage.put(path, Buffer.from(manifest.replace('2', '3')), signal);
    for (const reference of ['latest', sha256(manifest)]) {
      const damaged = await there('GET', `/v2/a/manifests/${reference}`);
      expect(damaged.status).toBe(503);
      expect(await errorCode(damaged)).toBe('UNAVAILABLE');
    }
    await storage.put(path, Buffer.from(manifest), signal);
    expect(await (await there('GET', '/v2/a/manifests/latest')).text()).toBe(manifest);
  });

  it('keeps no manifest from being deleted that is damaged in the storage', async () => {
    const manifest = await imageManifest(here, 'a', {
      subject: { mediaType: mediaTypes.ociManifest, digest: sha256('a subject'), size: 3 },
    });
    const digest = sha256(manifest);
    await putManifest(here, 'a', 'latest', manifest);
    await storage.put(blobPath(digest), Buffer.alloc(0), signal);
    const statuses = [];
    for (const method of ['GET', 'DELETE', 'GET', 'DELETE'])
      statuses.push((await there(method, `/v2/a/manifests/${digest}`)).status);
    expect(statuses).toEqual([503, 202, 404, 404]);
    expect((await there('GET', '/v2/a/manifests/latest')).status).toBe(404);
    const listed = await there('GET', `/v2/a/referrers/${sha256('a subject')}`);
    expect(await listed.json()).toMatchObject({ manifests: [] });
  });

  it('spares reads: one for a link, one more for a tag', async () => {
    const { digest, layer } = await known();
    expect(await storage.during(() => here('GET', '/v2/a/manifests/latest'))).toBe(2);
    expect(await storage.during(() => here('GET', `/v2/a/manifests/${digest}`))).toBe(1);
    expect(await storage.during(() => here('HEAD', `/v2/a/blobs/${layer}`))).toBe(1);
    expect(await storage.during(() => here('HEAD', `/v2/a/blobs/${sha256('unknown')}`))).toBe(1);
  });

  it('hides no tag that another instance moved or deleted', async () => {
    await known();
    const next = await imageManifest(there, 'a');
    await putManifest(there, 'a', 'latest', next);
    expect(await (await here('GET', '/v2/a/manifests/latest')).text()).toBe(next);
    await there('DELETE', '/v2/a/manifests/latest');
    expect((await here('GET', '/v2/a/manifests/latest')).status).toBe(404);
  });

  it('keeps alive nothing that another instance deleted', async () => {
    const { digest, layer } = await known();
    await there('DELETE', `/v2/a/blobs/${layer}`);
    expect((await here('HEAD', `/v2/a/blobs/${layer}`)).status).toBe(404);
    expect((await here('GET', `/v2/a/blobs/${layer}`)).status).toBe(404);
    expect((await here('POST', `/v2/b/blobs/uploads/?mount=${layer}&from=a`)).status).toBe(202);
    await there('DELETE', `/v2/a/manifests/${digest}`);
    for (const reference of ['latest', digest])
      expect((await here('GET', `/v2/a/manifests/${reference}`)).status).toBe(404);
  });

  it('gives a manifest to no repository that does not have it', async () => {
    const { digest } = await known();
    expect((await here('GET', `/v2/b/manifests/${digest}`)).status).toBe(404);
  });

  it('spares reads of what a client lists as a referrer and is none', async () => {
    const bodies = await Promise.all(Array.from({ length: 5 }, () => imageManifest(here, 'a')));
    for (const body of [...bodies, 'no manifest']) {
      const digest = sha256(body);
      await storage.putAll([{ path: blobPath(digest), content: Buffer.from(body) }, revisionLink('a', digest)], signal);
    }
    const listed = [...bodies, 'no manifest', 'missing'].map((body) => ({
      mediaType: mediaTypes.ociManifest,
      digest: sha256(body),
      size: 1,
    }));
    const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: listed });
    const subject = sha256('a subject');
    await pushBlob(here, 'a', 'missing');
    const put = await putManifest(here, 'a', subject.replace(':', '-'), index, mediaTypes.ociIndex);
    expect(put.status).toBe(201);
    const list = () => here('GET', `/v2/a/referrers/${subject}`);
    const [first, second] = [await storage.during(list), await storage.during(list)];
    // Of each: whether it is there, twice, and its bytes; of the index: whether its bytes are there, and these.
    expect(first - second).toBe(6 * 3 + 2);
    // Of an index that the repository no longer has, nothing is looked at.
    await storage.delete(revisionLinkPath('a', sha256(index)), signal);
    expect(await storage.during(list)).toBeLessThan(second);
  });

  it('builds nothing on bytes that a garbage collection has removed', async () => {
    const blob = await pushBlob(there, 'a', 'a layer');
    const manifest = JSON.parse(await imageManifest(there, 'a')) as { layers: object[] };
    const body = JSON.stringify({ ...manifest, layers: [{ ...manifest.layers[0], digest: blob, size: 7 }] });
    expect((await here('HEAD', `/v2/a/blobs/${blob}`)).status).toBe(200);
    await storage.delete(blobPath(blob), signal);
    expect((await here('POST', `/v2/b/blobs/uploads/?mount=${blob}&from=a`)).status).toBe(202);
    const refused = await putManifest(here, 'a', 'broken', body);
    expect(await errorCode(refused)).toBe('MANIFEST_BLOB_UNKNOWN');
  });

  it('says that bytes are gone when they were just removed, and pushed again they are served', async () => {
    const { layer } = await known();
    await storage.delete(blobPath(layer as `sha256:${string}`), signal);
    const gone = await here('GET', `/v2/a/blobs/${layer}`);
    expect(gone.status).toBe(404);
    expect(await errorCode(gone)).toBe('BLOB_UNKNOWN');
    expect((await here('HEAD', `/v2/a/blobs/${layer}`)).status).toBe(404);
    const blob = await pushBlob(here, 'a', 'another layer');
    expect(await (await there('GET', `/v2/a/blobs/${blob}`)).text()).toBe('another layer');
  });
});
