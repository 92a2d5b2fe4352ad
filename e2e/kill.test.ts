import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf, locationOf } from './harness/images.js';
import { wrongBlobs } from './harness/storage.js';
import { Wharfie } from './harness/wharfie.js';

describe('a service that is killed in the middle of a push', () => {
  let folder: string;
  let wharfie: Wharfie;
  const env = { WHARFIE_ADMIN_PASSWORD: 'the same after every start' };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-kill-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });
  const call = (path: string, init: RequestInit = {}) =>
    wharfie.fetch(path, { ...init, password: env.WHARFIE_ADMIN_PASSWORD });

  const start = async () => {
    wharfie = await Wharfie.start({ data: folder, env });
  };
  const begin = async () => locationOf(await call('/v2/killed/app/blobs/uploads/', { method: 'POST' }));
  /** Kills a service once its uploads hold more than so many bytes, and sees that nothing is left running. */
  const killMidway = async (service: 'registry' | 'proxy', more: number) => {
    const uploads = join(folder, 'registry', 'wharfie', 'uploads');
    await wharfie.waitFor(async () => (await bytesBelow(uploads)) > more);
    process.kill(wharfie.pid(service), 'SIGKILL');
    expect(await wharfie.ended()).not.toBe(0);
    expect(wharfie.stderr).toContain(service);
    expect(wharfie.survivors()).toEqual([]);
  };

  describe.each(['registry', 'proxy'] as const)('(the %s)', (service) => {
    it('ends the other, shows nothing of the push, and the client’s second try succeeds', async () => {
      await start();
      const bytes = randomBytes(8_000_000);
      const digest = digestOf(bytes);
      const broken = outcome(
        call(await begin(), { method: 'PATCH', body: endless(bytes.subarray(0, 4_000_000)), duplex: 'half' }),
      );
      await killMidway(service, 1_000_000);
      expect(await broken).toBe('broken');

      await start();
      expect((await call(`/v2/killed/app/blobs/${digest}`, { method: 'HEAD' })).status).toBe(404);
      const put = await call(`${await begin()}&digest=${digest}`, { method: 'PUT', body: bytes });
      expect(put.status).toBe(201);
      const got = await call(`/v2/killed/app/blobs/${digest}`);
      expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
      expect(await wharfie.stop()).toBe(0);
      expect(await wrongBlobs(join(folder, 'registry'))).toEqual([]);
    });

    it('keeps every chunk that was acknowledged, and its client goes on from where the upload stands', async () => {
      await start();
      const [first, second] = [randomBytes(3_000_000), randomBytes(5_000_000)];
      const acknowledged = await call(await begin(), { method: 'PATCH', body: first });
      expect(acknowledged.status).toBe(202);
      const location = locationOf(acknowledged);
      const broken = outcome(
        call(location, { method: 'PATCH', body: endless(second.subarray(0, 2_000_000)), duplex: 'half' }),
      );
      await killMidway(service, first.length + 1_000_000);
      expect(await broken).toBe('broken');

      await start();
      const status = await call(location);
      expect(status.status).toBe(204);
      const kept = Number(status.headers.get('range')?.replace('0-', '')) + 1;
      expect(kept).toBeGreaterThanOrEqual(first.length);
      const whole = Buffer.concat([first, second]);
      const put = await call(`${locationOf(status)}&digest=${digestOf(whole)}`, {
        method: 'PUT',
        body: whole.subarray(kept),
      });
      expect(put.status, await put.text()).toBe(201);
      const got = await call(`/v2/killed/app/blobs/${digestOf(whole)}`);
      expect(Buffer.from(await got.arrayBuffer()).equals(whole)).toBe(true);
      expect(await wharfie.stop()).toBe(0);
      expect(await wrongBlobs(join(folder, 'registry'))).toEqual([]);
    });

    it('loses no push that was acknowledged among many that were under way', async () => {
      await start();
      const images: { bytes: Buffer; acknowledged: boolean }[] = [];
      let going = true;
      const pushing = Array.from({ length: 6 }, async () => {
        while (going) {
          const image = { bytes: randomBytes(300_000), acknowledged: false };
          images.push(image);
          const target = `${await begin()}&digest=${digestOf(image.bytes)}`;
          image.acknowledged = (await call(target, { method: 'PUT', body: image.bytes })).status === 201;
        }
      });
      const ended = Promise.allSettled(pushing);
      await wharfie.waitFor(() => Promise.resolve(images.filter(({ acknowledged }) => acknowledged).length > 20));
      process.kill(wharfie.pid(service), 'SIGKILL');
      going = false;
      expect(await wharfie.ended()).not.toBe(0);
      await ended;
      expect(wharfie.survivors()).toEqual([]);

      await start();
      for (const { bytes, acknowledged } of images) {
        const got = await call(`/v2/killed/app/blobs/${digestOf(bytes)}`);
        const content = Buffer.from(await got.arrayBuffer());
        if (acknowledged || got.status === 200) expect(content.equals(bytes)).toBe(true);
        else expect(got.status).toBe(404);
      }
      expect(await wharfie.stop()).toBe(0);
      expect(await wrongBlobs(join(folder, 'registry'))).toEqual([]);
    });
  });
});

/** A body that sends `bytes` and then stays open. */
function endless(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
    },
  });
}

/** What became of a request: the proxy can still say that the registry has gone; a proxy that has gone says nothing. */
function outcome(answer: Promise<Response>): Promise<'broken' | 'answered'> {
  return answer.then(
    ({ status }) => (status >= 500 ? 'broken' : 'answered'),
    () => 'broken',
  );
}

async function bytesBelow(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const sizes = names.map((name) =>
    stat(join(folder, name)).then(
      (found) => (found.isFile() ? found.size : 0),
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
