import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Distribution } from '../harness/distribution.js';
import {
  digestOf,
  expectStatus,
  pullImage,
  pushBlob,
  pushImage,
  putManifest,
  types,
  type Call,
} from '../harness/images.js';
import { describeWith } from '../harness/requirements.js';
import { Wharfie } from '../harness/wharfie.js';
import { Swift } from './swift.js';

const container = 'both';
const large = 17_000_000;

describeWith(['swift', 'distribution'], 'docker-registry 2.8.2 on the same container at the same time', () => {
  let swift: Swift;
  let wharfie: Wharfie;
  let distribution: Distribution;
  const ours: Call = (method, path, init) => wharfie.fetch(path, { method, ...init });
  const theirs: Call = (method, path, init) => distribution.call(method, path, init);
  beforeAll(async () => {
    swift = await Swift.start();
    wharfie = await Wharfie.start({ env: swift.settings(container) });
    distribution = await Distribution.start(swift.forDistribution(container));
  });
  afterAll(async () => {
    await distribution.stop();
    await wharfie.dispose();
    await swift.dispose();
  });
  const expectBlob = async (call: Call, repository: string, content: Buffer): Promise<void> => {
    const got = await expectStatus(await call('GET', `/v2/${repository}/blobs/${digestOf(content)}`), 200);
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
  };

  it('and both pushing at once: each serves what the other took, byte for byte', async () => {
    const repository = 'at/once';
    await Promise.all(
      [ours, theirs].map(async (push, index) => {
        const pull = index === 0 ? theirs : ours;
        for (let round = 0; round < 4; round += 1) {
          const image = await pushImage(push, repository, `side${index}-${round}`);
          expect(await pullImage(pull, repository, `side${index}-${round}`)).toBe(image);
          const moved = await pushImage(push, repository, `moving${index}`);
          expect(await pullImage(pull, repository, `moving${index}`)).toBe(moved);
        }
        const chunks = [randomBytes(large), randomBytes(300_000)];
        await pushBlob(push, repository, ...chunks);
        await expectBlob(pull, repository, Buffer.concat(chunks));
      }),
    );
    const tags = async (call: Call) =>
      ((await (await call('GET', `/v2/${repository}/tags/list`)).json()) as { tags: string[] }).tags.toSorted();
    expect(await tags(ours)).toHaveLength(10);
    expect(await tags(theirs)).toEqual(await tags(ours));
  });

  it('and its garbage collector keeps what is used, and leaves the segments of what it removes', async () => {
    const repository = 'collected/app';
    const [kept, garbage] = [randomBytes(large), randomBytes(large)];
    const image = JSON.parse(await pushImage(ours, repository, 'first')) as { layers: object[] };
    const layer = {
      mediaType: 'application/octet-stream',
      digest: await pushBlob(ours, repository, kept),
      size: large,
    };
    const manifest = JSON.stringify({ ...image, layers: [...image.layers, layer] });
    await putManifest(ours, repository, 'kept', manifest, types.oci);
    const segments = () => swift.names(container, 'segments/wharfie/');
    const before = await segments();
    await pushBlob(ours, repository, garbage);
    const orphans = (await segments()).filter((name) => !before.includes(name));
    expect(orphans.length).toBeGreaterThan(0);
    const theirGarbage = await pushBlob(theirs, repository, randomBytes(100_000));

    await distribution.collectGarbage();
    for (const gone of [digestOf(garbage), theirGarbage])
      expect((await ours('GET', `/v2/${repository}/blobs/${gone}`)).status).toBe(404);
    // It does not know static large objects: their segments cost space from now on, and nothing else.
    expect(await segments()).toEqual(expect.arrayContaining(orphans));
    for (const call of [ours, theirs]) {
      expect(await pullImage(call, repository, 'kept')).toBe(manifest);
      await expectBlob(call, repository, kept);
    }
    // What it removed can be pushed again, by either.
    await pushBlob(ours, repository, garbage);
    await expectBlob(theirs, repository, garbage);
  });

  it('and both below a prefix with letters beyond ASCII and a %: a large blob of either is read by both', async () => {
    const [prefix, repository] = ['50% bücher/日本', 'prefixed/app'];
    const env = { ...swift.settings(container), WHARFIE_STORAGE_PREFIX: prefix };
    const ours = await Wharfie.start({ env });
    const theirs = await Distribution.start(swift.forDistribution(container, prefix));
    try {
      const calls: Call[] = [(method, path, init) => ours.fetch(path, { method, ...init }), theirs.call];
      for (const push of calls) {
        const chunks = [randomBytes(6_000_000), randomBytes(6_000_000)];
        const digest = await pushBlob(push, repository, ...chunks);
        for (const call of calls) {
          const told = await expectStatus(await call('HEAD', `/v2/${repository}/blobs/${digest}`), 200);
          expect(told.headers.get('content-length')).toBe('12000000');
          await expectBlob(call, repository, Buffer.concat(chunks));
        }
      }
      const segments = await swift.names(container, `${prefix}/segments/`);
      expect(segments.some((name) => !name.startsWith(`${prefix}/segments/wharfie/`))).toBe(true);
    } finally {
      await theirs.stop();
      await ours.dispose();
    }
  });
});
