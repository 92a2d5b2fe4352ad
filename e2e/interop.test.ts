import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Distribution } from './harness/distribution.js';
import {
  digestOf,
  expectStatus,
  locationOf,
  pullImage,
  pushBlob,
  pushImage,
  putManifest,
  types,
  type Call,
} from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { Wharfie } from './harness/wharfie.js';

describeWith(['distribution'], 'distribution 2.8.2 on the same folder at the same time', () => {
  let wharfie: Wharfie;
  let distribution: Distribution;
  let root: string;
  const ours: Call = (method, path, init) => wharfie.fetch(path, { method, ...init });
  const theirs: Call = (method, path, init) => distribution.call(method, path, init);
  const sides = () => [
    { name: 'ours', push: ours, pull: theirs },
    { name: 'theirs', push: theirs, pull: ours },
  ];
  beforeAll(async () => {
    wharfie = await Wharfie.start();
    root = join(wharfie.data, 'registry');
    distribution = await Distribution.start(`filesystem: {rootdirectory: ${root}}`);
  });
  afterAll(async () => {
    await distribution.stop();
    await wharfie.dispose();
  });

  it('serves byte for byte what the other pushed: images of both kinds, lists, look-alike names', async () => {
    for (const { name, push, pull } of sides()) {
      for (const repository of [
        name,
        `${name}/app`,
        `${name}-app`,
        `${name}/app/deep`,
        `${name}.app`,
        `${name}__app`,
      ]) {
        const image = await pushImage(push, repository, '1');
        const docker = await pushImage(push, repository, 'docker', types.docker);
        expect(await pullImage(pull, repository, '1')).toBe(image);
        expect(await pullImage(pull, repository, 'docker')).toBe(docker);
        for (const [tag, mediaType, child, childType] of [
          ['index', types.index, image, types.oci],
          ['list', types.dockerList, docker, types.docker],
        ] as const) {
          const platform = { architecture: 'amd64', os: 'linux' };
          const manifests = [{ mediaType: childType, digest: digestOf(child), size: child.length, platform }];
          const body = JSON.stringify({ schemaVersion: 2, mediaType, manifests });
          await putManifest(push, repository, tag, body, mediaType);
          expect(await pullImage(pull, repository, digestOf(body))).toBe(body);
        }
      }
    }
  });

  it('reads blobs that came in chunks, the empty one, and tags that moved', async () => {
    for (const { name, push, pull } of sides()) {
      const chunks = Array.from({ length: 5 }, () => randomBytes(10_000));
      const digest = await pushBlob(push, name, ...chunks);
      const got = await expectStatus(await pull('GET', `/v2/${name}/blobs/${digest}`), 200);
      expect(Buffer.from(await got.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true);
      const empty = await pushBlob(push, name, new Uint8Array());
      expect((await pull('HEAD', `/v2/${name}/blobs/${empty}`)).status).toBe(200);

      await pushImage(push, name, 'moving');
      const second = await pushImage(pull, name, 'moving');
      expect(await pullImage(push, name, 'moving')).toBe(second);
      const third = await pushImage(push, name, 'moving');
      expect(await pullImage(pull, name, 'moving')).toBe(third);
    }
  });

  it('lists the same tags and the same repositories', async () => {
    const repositories = async (call: Call) =>
      ((await (await call('GET', '/v2/_catalog?n=1000')).json()) as { repositories: string[] }).repositories;
    const catalog = await repositories(ours);
    expect(catalog.length).toBeGreaterThanOrEqual(12);
    expect((await repositories(theirs)).toSorted()).toEqual(catalog);
    for (const repository of catalog) {
      const tags = async (call: Call) =>
        ((await (await call('GET', `/v2/${repository}/tags/list`)).json()) as { tags: string[] }).tags.toSorted();
      expect(await tags(theirs), repository).toEqual(await tags(ours));
    }
  });

  it('sees the deletes of the other at once', async () => {
    for (const { name, push, pull } of sides()) {
      const repository = `${name}/deleted`;
      const image = await pushImage(push, repository, 'gone');
      await pushImage(push, repository, 'stays');
      await expectStatus(await pull('DELETE', `/v2/${repository}/manifests/${digestOf(image)}`), 202);
      for (const reference of ['gone', digestOf(image)]) {
        expect((await push('GET', `/v2/${repository}/manifests/${reference}`)).status, `${name} ${reference}`).toBe(
          404,
        );
      }
      await pullImage(push, repository, 'stays');
    }
  });

  it('and its unfinished uploads do not disturb ours, nor ours it', async () => {
    for (const { name, push, pull } of sides()) {
      const begun = await expectStatus(await push('POST', `/v2/${name}/unfinished/blobs/uploads/`), 202);
      const catalog = (await (await pull('GET', '/v2/_catalog?n=1000')).json()) as { repositories: string[] };
      expect(catalog.repositories).not.toContain(`${name}/unfinished`);
      expect((await pull('GET', `/v2/${name}/unfinished/tags/list`)).status).toBe(404);
      expect(begun.headers.get('docker-upload-uuid')).toBeTruthy();
    }
  });

  it('serves sha512 as we keep it, and its collector keeps it; what it took as sha512 itself, its collector loses', async () => {
    const images: Pushed[] = [];
    for (const { name, push } of sides()) {
      const repository = `${name}/sha512`;
      const [config, layer] = [Buffer.from(`{"from":"${name}"}`), randomBytes(3000)];
      const descriptors = [];
      for (const content of [config, layer]) {
        const digest = sha512(content);
        const begun = await expectStatus(await push('POST', `/v2/${repository}/blobs/uploads/`), 202);
        const done = await push('PUT', locationOf(begun, `digest=${digest}`), { body: content });
        await expectStatus(done, 201);
        // distribution keeps the bytes under their sha256 and links the sha512 to that; we keep them under what was asked.
        const kept = name === 'ours' ? digest : digestOf(content);
        expect(done.headers.get('docker-content-digest'), name).toBe(kept);
        descriptors.push({ mediaType: 'application/octet-stream', digest, size: content.length });
      }
      const body = JSON.stringify({
        schemaVersion: 2,
        mediaType: types.oci,
        config: descriptors[0],
        layers: [descriptors[1]],
      });
      await putManifest(push, repository, 'tag', body, types.oci);
      images.push({ repository, layer, body });
    }
    const [own, their] = images as [Pushed, Pushed];
    // A manifest by its sha512 is refused by distribution when pushed, and served when we have it.
    await putManifest(ours, own.repository, sha512(own.body), own.body, types.oci);
    const headers = { accept: types.oci };
    const served = async (call: Call, { repository, layer, body }: Pushed, references: string[]) => {
      for (const reference of references) {
        const manifest = await call('GET', `/v2/${repository}/manifests/${reference}`, { headers });
        expect(await (await expectStatus(manifest, 200)).text()).toBe(body);
      }
      const blob = await expectStatus(await call('GET', `/v2/${repository}/blobs/${sha512(layer)}`), 200);
      expect(Buffer.from(await blob.arrayBuffer()).equals(layer)).toBe(true);
    };
    for (const call of [ours, theirs]) {
      await served(call, own, ['tag', digestOf(own.body), sha512(own.body)]);
      await served(call, their, ['tag', digestOf(their.body)]);
    }

    await distribution.collectGarbage();
    for (const call of [ours, theirs]) await served(call, own, ['tag', digestOf(own.body), sha512(own.body)]);
    // It marks the sha512 and sweeps the sha256 that the bytes lie under: the image cannot be pulled any more, from nobody.
    const lost = `/v2/${their.repository}/blobs/${sha512(their.layer)}`;
    for (const call of [ours, theirs]) expect((await call('GET', lost)).status).toBe(404);
  });

  it('collects an index that lists nothing where there never was a blob, and nowhere else', async () => {
    const index = (of: string) =>
      JSON.stringify({ schemaVersion: 2, mediaType: types.index, manifests: [], annotations: { of } });
    await pushBlob(ours, 'lists-nothing/some', randomBytes(10));
    for (const of of ['some', 'none']) await putManifest(ours, `lists-nothing/${of}`, 'tag', index(of), types.index);
    await distribution.collectGarbage();
    const headers = { accept: types.index };
    expect((await theirs('GET', '/v2/lists-nothing/some/manifests/tag', { headers })).status).toBe(200);
    expect((await theirs('GET', '/v2/lists-nothing/none/manifests/tag', { headers })).status).toBe(404);
  });

  it('collects only garbage from our folder, with and without untagged manifests, and we go on', async () => {
    const repository = 'collected/app';
    const kept = await pushImage(ours, repository, 'kept');
    const subject = { mediaType: types.oci, digest: digestOf(kept), size: kept.length };
    const artifact = await pushImage(ours, repository, 'artifact', types.oci, {
      subject,
      artifactType: 'application/vnd.example',
    });
    const untagged = JSON.stringify({
      ...(JSON.parse(artifact) as object),
      annotations: { 'org.example': 'untagged' },
    });
    await putManifest(ours, repository, digestOf(untagged), untagged, types.oci);
    const unfinished = await expectStatus(await ours('POST', `/v2/${repository}/blobs/uploads/`), 202);
    const half = await expectStatus(await ours('PATCH', locationOf(unfinished), { body: 'half of ' }), 202);
    const unlinked = await pushBlob(ours, repository, randomBytes(3000));
    const replaced = await pushImage(ours, repository, 'moved');
    await pushImage(ours, repository, 'moved');
    const blobs = async () =>
      (await readdir(join(root, 'docker/registry/v2/blobs/sha256'), { recursive: true })).filter((name) =>
        name.endsWith('data'),
      ).length;
    const referrers = async () => {
      const listed = await ours('GET', `/v2/${repository}/referrers/${subject.digest}`);
      return ((await listed.json()) as { manifests: { digest: string }[] }).manifests.map(({ digest }) => digest);
    };
    const before = await blobs();

    await distribution.collectGarbage();
    expect(before - (await blobs())).toBeGreaterThanOrEqual(1);
    expect((await ours('GET', `/v2/${repository}/blobs/${unlinked}`)).status).toBe(404);
    expect(await pullImage(ours, repository, 'kept')).toBe(kept);
    expect(await pullImage(ours, repository, digestOf(replaced))).toBe(replaced);
    expect(await referrers()).toEqual([artifact, untagged].map(digestOf).sort());

    await distribution.collectGarbage(true);
    expect((await ours('GET', `/v2/${repository}/manifests/${digestOf(replaced)}`)).status).toBe(404);
    expect(await pullImage(ours, repository, 'kept')).toBe(kept);
    // Nothing but its subject names a referrer without a tag: for distribution it is untagged like any other.
    expect(await referrers()).toEqual([digestOf(artifact)]);
    const end = locationOf(half, `digest=${digestOf('half of a blob')}`);
    await expectStatus(await ours('PUT', end, { body: 'a blob' }), 201);
    const after = await pushImage(ours, repository, 'after');
    expect(await pullImage(theirs, repository, 'after')).toBe(after);
  });
});

interface Pushed {
  repository: string;
  layer: Uint8Array;
  body: string;
}

function sha512(content: string | Uint8Array): string {
  return `sha512:${createHash('sha512').update(content).digest('hex')}`;
}
