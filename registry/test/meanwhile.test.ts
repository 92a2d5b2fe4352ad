import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { mediaTypes, type Digest } from '@wharfie/shared';
import {
  blobPath,
  layerLinkPath,
  referrerPath,
  repositoriesPath,
  revisionLink,
  revisionLinkPath,
  revisionPath,
  tagLinks,
  tagPath,
  tagsPath,
} from '../src/domain/layout.js';
import { FilesystemDriver } from '../src/storage/filesystem/driver.js';
import { MemoryDriver } from '../src/storage/memory.js';
import { StorageUnavailable } from '../src/storage/storage-driver.js';
import { client, errorCode, imageManifest, pushBlob, putManifest, sha256, sha512, startRegistry } from './harness.js';

const signal = new AbortController().signal;

interface Event {
  path: string;
  action: () => Promise<unknown>;
}

/** A storage in which something happens just before something is deleted, just after that, or after something was put. */
class Eventful extends MemoryDriver {
  beforeDelete: Event | undefined;
  afterDelete: Event | undefined;
  after: Event | undefined;

  override async delete(...call: Parameters<MemoryDriver['delete']>): Promise<void> {
    await this.#happen('beforeDelete', call[0]);
    await super.delete(...call);
    await this.#happen('afterDelete', call[0]);
  }

  override async putAll(...call: Parameters<MemoryDriver['putAll']>): Promise<void> {
    await super.putAll(...call);
    for (const { path } of call[0]) await this.#happen('after', path);
  }

  async #happen(when: 'beforeDelete' | 'afterDelete' | 'after', path: string): Promise<void> {
    const event = this[when];
    if (event?.path !== path) return;
    this[when] = undefined;
    await event.action();
  }
}

async function start(storage = new Eventful()) {
  const registry = await startRegistry(storage);
  onTestFinished(() => registry.close());
  return { storage, call: client(registry, 'a', 'b') };
}

describe('at the same moment', () => {
  it('the deletion of a manifest takes no tag that a push moves away from it', async () => {
    const { storage, call } = await start();
    const [old, next] = [await imageManifest(call, 'a'), await imageManifest(call, 'a')];
    await putManifest(call, 'a', 'latest', old);
    const push = () => putManifest(call, 'a', 'latest', next);
    storage.beforeDelete = { path: tagPath('a', 'latest'), action: push };
    expect((await call('DELETE', `/v2/a/manifests/${sha256(old)}`)).status).toBe(202);
    expect(await (await call('GET', '/v2/a/manifests/latest')).text()).toBe(next);
  });

  it.each(['latest', 'other'])(
    'a manifest that is deleted while it is pushed as %s is there as a whole',
    async (tag) => {
      const { storage, call } = await start();
      const body = await imageManifest(call, 'a');
      await putManifest(call, 'a', 'latest', body);
      const [link] = tagLinks('a', tag, sha256(body));
      const remove = () => call('DELETE', `/v2/a/manifests/${sha256(body)}`);
      storage.after = { path: link?.path ?? '', action: remove };
      expect((await putManifest(call, 'a', tag, body)).status).toBe(201);
      for (const reference of [tag, sha256(body)])
        expect((await call('GET', `/v2/a/manifests/${reference}`)).status).toBe(200);
    },
  );

  it('a manifest that is pushed again while it is deleted keeps the tags of that push', async () => {
    const { storage, call } = await start();
    const body = await imageManifest(call, 'a');
    for (const tag of ['latest', 'other']) await putManifest(call, 'a', tag, body);
    const push = () => putManifest(call, 'a', 'latest', body);
    storage.afterDelete = { path: revisionPath('a', sha256(body)), action: push };
    expect((await call('DELETE', `/v2/a/manifests/${sha256(body)}`)).status).toBe(202);
    for (const reference of ['latest', sha256(body)])
      expect((await call('GET', `/v2/a/manifests/${reference}`)).status).toBe(200);
  });

  it('a manifest that is deleted all the time is not acknowledged', async () => {
    const { storage, call } = await start();
    const body = await imageManifest(call, 'a');
    const [link] = tagLinks('a', 'latest', sha256(body));
    const remove = async () => {
      storage.after = { path: link?.path ?? '', action: remove };
      await call('DELETE', `/v2/a/manifests/${sha256(body)}`);
    };
    await remove();
    expect((await putManifest(call, 'a', 'latest', body)).status).toBe(503);
  });

  it('the deletion of a manifest comes to its end though the client leaves', async () => {
    const { storage, call } = await start();
    const body = await imageManifest(call, 'a');
    await putManifest(call, 'a', 'latest', body);
    const leaving = new AbortController();
    storage.afterDelete = {
      path: revisionPath('a', sha256(body)),
      action: async () => {
        leaving.abort();
        // The registry hears of it meanwhile.
        await new Promise((resolve) => setTimeout(resolve, 100));
      },
    };
    await expect(call('DELETE', `/v2/a/manifests/${sha256(body)}`, { signal: leaving.signal })).rejects.toThrow();
    await vi.waitFor(async () => {
      expect(await storage.list(tagsPath('a'), '', 10, signal)).toEqual([]);
    });
  });
});

describe('what was cut off', () => {
  it('a deletion goes on when it is asked for again', async () => {
    const { storage, call } = await start();
    const body = await imageManifest(call, 'a');
    await putManifest(call, 'a', 'latest', body);
    await storage.delete(revisionPath('a', sha256(body)), signal);
    expect((await call('DELETE', `/v2/a/manifests/${sha256(body)}`)).status).toBe(202);
    expect(await (await call('GET', '/v2/a/tags/list')).json()).not.toHaveProperty('tags');
    expect((await call('DELETE', `/v2/a/manifests/${sha256(body)}`)).status).toBe(404);
  });

  it.each([
    ['chunks', 'PATCH'],
    ['one request', 'PUT'],
  ])('the end of an upload in %s is reached when it is asked for again', async (_, method) => {
    const storage = new (class extends MemoryDriver {
      broken = true;

      override async putAll(...call: Parameters<MemoryDriver['putAll']>): Promise<void> {
        if (this.broken && call[0].some(({ path }) => path.includes('/_layers/'))) {
          this.broken = false;
          throw new StorageUnavailable('away');
        }
        await super.putAll(...call);
      }
    })();
    const registry = await startRegistry(storage);
    onTestFinished(() => registry.close());
    const call = client(registry, 'a');
    let at = (await call('POST', '/v2/a/blobs/uploads/')).headers.get('location') ?? '';
    if (method === 'PATCH') at = (await call('PATCH', at, { body: 'hello' })).headers.get('location') ?? '';
    const end = () => call('PUT', `${at}&digest=${sha256('hello')}`, method === 'PUT' ? { body: 'hello' } : {});
    expect((await end()).status).toBe(503);
    expect((await end()).status).toBe(201);
    expect(await (await call('GET', `/v2/a/blobs/${sha256('hello')}`)).text()).toBe('hello');
  });

  it('the end of an upload gives nobody a blob that they have not sent', async () => {
    const { call } = await start();
    const blob = await pushBlob(call, 'b', 'not yours');
    const begun = await call('POST', '/v2/a/blobs/uploads/');
    const sent = await call('PATCH', begun.headers.get('location') ?? '', { body: 'whatever!' });
    const at = sent.headers.get('location') ?? '';
    await call('DELETE', at);
    expect((await call('PUT', `${at}&digest=${blob}`)).status).toBe(404);
    expect((await call('HEAD', `/v2/a/blobs/${blob}`)).status).toBe(404);
  });
});

describe('what others did to the storage', () => {
  it('a blob that lost bytes breaks off its own answer alone', async () => {
    const { storage, call } = await start();
    const blob = await pushBlob(call, 'a', 'x'.repeat(100_000));
    await call('HEAD', `/v2/a/blobs/${blob}`);
    await storage.put(blobPath(blob), Buffer.from('x'.repeat(1000)), signal);
    await expect(call('GET', `/v2/a/blobs/${blob}`).then((answer) => answer.text())).rejects.toThrow();
    expect((await call('GET', '/v2/')).status).toBe(200);
  });

  it('a push after a garbage collection is refused until its blobs are there again', async () => {
    const { storage, call } = await start();
    const body = await imageManifest(call, 'a');
    await putManifest(call, 'a', 'latest', body);
    const { layers } = JSON.parse(body) as { layers: { digest: Digest }[] };
    const layer = layers[0]?.digest ?? sha256('');
    await storage.delete(blobPath(layer), signal);
    const refused = await putManifest(call, 'a', 'latest', body);
    expect(await errorCode(refused)).toBe('MANIFEST_BLOB_UNKNOWN');
    expect((await call('HEAD', `/v2/a/blobs/${layer}`)).status).toBe(404);
  });

  it('a blob that distribution keeps under another digest is mounted so that both can be pulled', async () => {
    const { storage, call } = await start();
    const stored = await pushBlob(call, 'b', 'hello');
    const digest = sha512('hello');
    await storage.put(layerLinkPath('b', digest), Buffer.from(stored), signal);
    for (const repository of ['a', 'b']) {
      const mounted = await call('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=b`);
      expect(mounted.status).toBe(201);
      for (const name of [digest, stored])
        expect(await (await call('GET', `/v2/${repository}/blobs/${name}`)).text()).toBe('hello');
    }
  });

  it('the folder that distribution leaves of a manifest that it deletes is none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'wharfie-deleted-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const registry = await startRegistry(await FilesystemDriver.open(folder));
    onTestFinished(() => registry.close());
    const call = client(registry, 'a');
    const body = await imageManifest(call, 'a');
    const path = `/v2/a/manifests/${sha256(body)}`;
    await putManifest(call, 'a', sha256(body), body);
    await rm(join(folder, revisionLinkPath('a', sha256(body))));
    expect((await call('DELETE', path)).status).toBe(404);
  });

  it('names that are none of a repository are in no catalog, and keep nothing out of it', async () => {
    // Swift takes any name.
    const storage = new (class extends Eventful {
      override async list(...call: Parameters<MemoryDriver['list']>): Promise<string[]> {
        const names = await super.list(...call);
        return call[0] === repositoriesPath && call[1] === '' ? ['..', 'A', ...names, 'b b'] : names;
      }
    })();
    const { call } = await start(storage);
    await putManifest(call, 'a', 'latest', await imageManifest(call, 'a'));
    expect(await (await call('GET', '/v2/_catalog')).json()).toEqual({ repositories: ['a'] });
  });

  it('all tags of a folder that changes all the time are listed by one call, also to delete a manifest', async () => {
    let calls = 0;
    const storage = new (class extends Eventful {
      override list(...call: Parameters<MemoryDriver['list']>): Promise<string[]> {
        if (call[0] === tagsPath('a')) calls += 1;
        return super.list(...call);
      }
    })();
    const { call } = await start(storage);
    const body = await imageManifest(call, 'a');
    await putManifest(call, 'a', 'latest', body);
    const tags = Array.from({ length: 2500 }, (_, index) => `t${index}`);
    await storage.putAll(
      tags.flatMap((tag) => tagLinks('a', tag, sha256(tag))),
      signal,
    );
    const listed = (await (await call('GET', '/v2/a/tags/list')).json()) as { tags: string[] };
    expect([listed.tags.length, calls]).toEqual([2501, 1]);
    expect((await call('DELETE', `/v2/a/manifests/${sha256(body)}`)).status).toBe(202);
    expect(calls).toBe(2);
  });

  it('an entry of a referrer that is damaged is read from its manifest', async () => {
    const { storage, call } = await start();
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('a subject'), size: 3 };
    const body = await imageManifest(call, 'a', { subject });
    await putManifest(call, 'a', sha256(body), body);
    for (const junk of ['junk', 'null', '{}']) {
      await storage.put(referrerPath('a', subject.digest, sha256(body)), Buffer.from(junk), signal);
      const { manifests } = (await (await call('GET', `/v2/a/referrers/${subject.digest}`)).json()) as {
        manifests: { digest: string }[];
      };
      expect(manifests.map(({ digest }) => digest)).toEqual([sha256(body)]);
    }
  });

  it('a long list of what are no referrers is looked at page by page', async () => {
    const { storage, call } = await start();
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('a subject'), size: 3 };
    const body = await imageManifest(call, 'a', { subject });
    await putManifest(call, 'a', sha256(body), body);
    await storage.delete(referrerPath('a', subject.digest, sha256(body)), signal);
    const others = Array.from({ length: 2500 }, (_, index) => sha256(String(index)));
    const index = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [...others, sha256(body)].map((digest) => ({ mediaType: mediaTypes.ociManifest, digest, size: 1 })),
      }),
    );
    const digest = sha256(index);
    const tag = subject.digest.replace(':', '-');
    await storage.putAll(
      [{ path: blobPath(digest), content: index }, revisionLink('a', digest), ...tagLinks('a', tag, digest)],
      signal,
    );
    const found: string[] = [];
    let pages = 0;
    for (let next: string | undefined = `/v2/a/referrers/${subject.digest}`; next !== undefined; pages += 1) {
      const answer: Response = await call('GET', next);
      const { manifests } = (await answer.json()) as { manifests: { digest: string }[] };
      found.push(...manifests.map((manifest) => manifest.digest));
      next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    expect(found).toEqual([sha256(body)]);
    expect(pages).toBe(3);
  });
});
