import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { wrongBlobs } from './harness/storage.js';
import { Wharfie } from './harness/wharfie.js';

describe('a service that is killed in the middle of a push', () => {
  let folder: string;
  let wharfie: Wharfie;
  const env = { WHARFIE_ADMIN_PASSWORD: 'the same after every start' };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'wharfie-kill-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true });
  });
  const call = (path: string, init: RequestInit = {}) =>
    wharfie.fetch(path, { ...init, password: env.WHARFIE_ADMIN_PASSWORD });

  it.each(['registry', 'proxy'] as const)(
    '(the %s) ends the other, and the client’s second try succeeds',
    async (service) => {
      wharfie = await Wharfie.start({ data: folder, env });
      const bytes = randomBytes(8_000_000);
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      const begun = await call('/v2/killed/app/blobs/uploads/', { method: 'POST' });
      let proceed: () => void = () => undefined;
      const half = new Promise<void>((resolve) => {
        proceed = resolve;
      });
      const body = new ReadableStream({
        async pull(controller) {
          controller.enqueue(bytes.subarray(0, 4_000_000));
          proceed();
          await new Promise(() => undefined);
        },
      });
      const broken = call(begun.headers.get('location') ?? '', {
        method: 'PATCH',
        body,
        duplex: 'half',
      }).then(
        // The proxy can still say that the registry has gone; a proxy that has gone says nothing.
        ({ status }) => (status >= 500 ? 'broken' : 'answered'),
        () => 'broken',
      );
      await half;
      process.kill(wharfie.pid(service), 'SIGKILL');
      expect(await broken).toBe('broken');
      expect(await wharfie.ended()).not.toBe(0);
      expect(wharfie.stderr).toContain(service);
      expect(wharfie.survivors()).toEqual([]);

      wharfie = await Wharfie.start({ data: folder, env });
      expect((await call(`/v2/killed/app/blobs/${digest}`, { method: 'HEAD' })).status).toBe(404);
      const again = await call('/v2/killed/app/blobs/uploads/', { method: 'POST' });
      const put = await call(`${again.headers.get('location') ?? ''}&digest=${digest}`, { method: 'PUT', body: bytes });
      expect(put.status).toBe(201);
      const got = await call(`/v2/killed/app/blobs/${digest}`);
      expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
      expect(await wharfie.stop()).toBe(0);
      expect(await wrongBlobs(join(folder, 'registry'))).toEqual([]);
    },
  );
});
