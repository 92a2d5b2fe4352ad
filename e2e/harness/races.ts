import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { digestOf, expectStatus, locationOf, pullImage, pushBlob, pushImage, types, type Call } from './images.js';

/** What several whole instances over one storage keep, whoever is faster. `rounds` of those races that need several. */
export function describeRaces(calls: () => readonly Call[], rounds: number): void {
  let turn = 0;
  /** Each request to another instance than the one before. */
  const spread: Call = (method, path, init) => (calls()[(turn += 1) % calls().length] as Call)(method, path, init);

  it('take every request of an upload on another one', async () => {
    const chunks = Array.from({ length: 7 }, () => randomBytes(50_000));
    const digest = await pushBlob(spread, 'spread/app', ...chunks);
    for (const call of calls()) {
      const got = await expectStatus(await call('GET', `/v2/spread/app/blobs/${digest}`), 200);
      expect(Buffer.from(await got.arrayBuffer()).equals(Buffer.concat(chunks))).toBe(true);
    }
    const image = await pushImage(spread, 'spread/app', 'latest');
    for (const call of calls()) expect(await pullImage(call, 'spread/app', 'latest')).toBe(image);
  });

  it('take 12 pushes of one blob at once', async () => {
    const bytes = randomBytes(500_000);
    const digests = await Promise.all(Array.from({ length: 12 }, () => pushBlob(spread, 'same/blob', bytes)));
    expect(new Set(digests)).toEqual(new Set([digestOf(bytes)]));
    const got = await calls()[0]?.('GET', `/v2/same/blob/blobs/${digestOf(bytes)}`);
    expect(digestOf(new Uint8Array((await got?.arrayBuffer()) ?? new ArrayBuffer()))).toBe(digestOf(bytes));
  });

  it('agree on a tag that 24 write at once, and keep every revision', async () => {
    const images = await Promise.all(Array.from({ length: 24 }, () => pushImage(spread, 'contended/app', 'latest')));
    const seen = await Promise.all(calls().map((call) => pullImage(call, 'contended/app', 'latest')));
    expect(new Set(seen).size).toBe(1);
    expect(images).toContain(seen[0]);
    for (const image of images) expect(await pullImage(spread, 'contended/app', digestOf(image))).toBe(image);
  });

  it('never mix two PATCHes at one offset', async () => {
    for (let round = 0; round < rounds; round += 1) {
      const start = randomBytes(1000);
      const begun = await expectStatus(await spread('POST', '/v2/mixed/app/blobs/uploads/'), 202);
      const first = await expectStatus(await spread('PATCH', locationOf(begun), { body: start }), 202);
      const rivals = Array.from({ length: 3 }, (_, index) => randomBytes(200_000 + index));
      const answers = await Promise.all(
        rivals.map((body, index) =>
          (calls()[index] as Call)('PATCH', locationOf(first), {
            body,
            headers: { 'content-range': `1000-${999 + body.length}` },
          }),
        ),
      );
      const statuses = answers.map(({ status }) => status);
      expect(statuses.toSorted()).toEqual([202, 416, 416]);
      const winner = statuses.indexOf(202);
      const whole = Buffer.concat([start, rivals[winner] as Uint8Array]);
      const answer = answers[winner] as Response;
      await expectStatus(await spread('PUT', locationOf(answer, `digest=${digestOf(whole)}`)), 201);
    }
  });

  it('list 20 referrers that were pushed at once', async () => {
    const subject = { mediaType: types.oci, digest: digestOf('subject'), size: 7 };
    const artifacts = await Promise.all(
      Array.from({ length: 20 }, (_, index) => pushImage(spread, 'referred/app', `t${index}`, types.oci, { subject })),
    );
    for (const call of calls()) {
      const { manifests } = (await (await call('GET', `/v2/referred/app/referrers/${subject.digest}`)).json()) as {
        manifests: { digest: string }[];
      };
      expect(manifests.map(({ digest }) => digest)).toEqual(artifacts.map(digestOf).sort());
    }
  });

  it('see a delete at once', async () => {
    for (let round = 0; round < rounds; round += 1) {
      const image = await pushImage(spread, 'deleted/app', 'latest');
      const layer = (JSON.parse(image) as { layers: { digest: string }[] }).layers[0]?.digest ?? '';
      for (const call of calls()) await pullImage(call, 'deleted/app', 'latest');
      await expectStatus(await spread('DELETE', `/v2/deleted/app/manifests/${digestOf(image)}`), 202);
      await expectStatus(await spread('DELETE', `/v2/deleted/app/blobs/${layer}`), 202);
      for (const call of calls()) {
        for (const path of ['manifests/latest', `manifests/${digestOf(image)}`, `blobs/${layer}`]) {
          expect((await call('GET', `/v2/deleted/app/${path}`)).status, path).toBe(404);
        }
      }
    }
  });
}
