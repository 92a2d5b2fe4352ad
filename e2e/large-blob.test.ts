import { createHash, randomBytes } from 'node:crypto';
import { request, type IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Wharfie } from './harness/wharfie.js';

const size = 2_000_000_000;
const piece = randomBytes(1_000_000);
const pieces = () => Readable.from(repeat(), { objectMode: false });
const digest = (() => {
  const hash = createHash('sha256');
  for (let sent = 0; sent < size; sent += piece.length) hash.update(piece);
  return `sha256:${hash.digest('hex')}`;
})();

// MiB that both services may hold together while gigabytes pass, whatever the size of the blob. Pages that they share, most
// of Node's own program, count once: they are there once, and how many of them each has touched is the kernel's affair.
const limit = 150;

describe('a blob of 2 GB', () => {
  let wharfie: Wharfie;
  let peak = { rss: 0, pss: 0 };
  let sampling: NodeJS.Timeout;
  beforeAll(async () => {
    wharfie = await Wharfie.start();
    console.log(`memory at rest: ${shown(wharfie.memory())}`);
    sampling = setInterval(() => {
      const now = wharfie.memory();
      peak = { rss: Math.max(peak.rss, now.rss), pss: Math.max(peak.pss, now.pss) };
    }, 100);
  });
  afterAll(async () => {
    clearInterval(sampling);
    console.log(`memory at the peak: ${shown(peak)}`);
    await wharfie.dispose();
  });

  /** A request whose body streams; `fetch` would hold more of it than the services do. */
  const send = (method: string, path: string, headers: Record<string, string | number>, body?: Readable) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const authorization = `Basic ${Buffer.from(`admin:${wharfie.password}`).toString('base64')}`;
      const outgoing = request(
        `http://${wharfie.address}${path}`,
        { method, headers: { authorization, ...headers } },
        resolve,
      );
      outgoing.once('error', reject);
      if (body) pipeline(body, outgoing).catch(reject);
      else outgoing.end();
    });
  const begin = async () => (await send('POST', '/v2/large/one/blobs/uploads/', {})).resume().headers.location ?? '';

  it('goes up as a stream of unknown length', async () => {
    const sent = await send('PATCH', await begin(), { 'transfer-encoding': 'chunked' }, pieces());
    expect(sent.resume().statusCode).toBe(202);
    const ended = await send('PUT', `${sent.headers.location ?? ''}&digest=${digest}`, { 'content-length': 0 });
    expect(ended.resume().statusCode).toBe(201);
  });

  it('comes down as it went up', async () => {
    const answer = await send('GET', `/v2/large/one/blobs/${digest}`, {});
    expect(answer.headers['content-length']).toBe(String(size));
    const hash = createHash('sha256');
    for await (const chunk of answer as AsyncIterable<Buffer>) hash.update(chunk);
    expect(`sha256:${hash.digest('hex')}`).toBe(digest);
    // The door sent the file itself.
    const admin = wharfie.environment['WHARFIE_REGISTRY_ADMIN_LISTEN'] ?? '';
    const metrics = await (await fetch(`http://${admin}/metrics`)).text();
    const [, out] = /^wharfie_registry_bytes_total\{direction="out"\} (.+)$/m.exec(metrics) ?? [];
    expect(Number(out)).toBeLessThan(piece.length);
  });

  it('goes up in one PUT of known length', async () => {
    await wharfie.fetch(`/v2/large/one/blobs/${digest}`, { method: 'DELETE' });
    const ended = await send('PUT', `${await begin()}&digest=${digest}`, { 'content-length': size }, pieces());
    expect(ended.resume().statusCode).toBe(201);
  });

  it('leaves the services small', () => {
    expect(peak.pss).toBeGreaterThan(50);
    expect(peak.pss).toBeLessThan(limit);
  });
});

function* repeat(): Generator<Buffer> {
  for (let sent = 0; sent < size; sent += piece.length) yield piece;
}

function shown({ rss, pss }: { rss: number; pss: number }): string {
  return `${Math.round(rss)} MiB resident, ${Math.round(pss)} MiB with what is shared counted once`;
}
