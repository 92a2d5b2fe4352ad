import { drain } from '@wharfie/shared';
import { once } from 'node:events';
import { createServer, request as send, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { keptOpen } from './raw-body.js';

const size = 8 * 1024 * 1024;

describe('the pieces of a body', () => {
  const server = createServer();
  afterEach(() => {
    server.removeAllListeners('request').closeAllConnections();
    server.close();
  });

  /** A request whose body begins, and what sends the rest of it. */
  async function begun(headers: Record<string, number> = { 'Content-Length': size }) {
    server.listen(0, '127.0.0.1');
    const arrived = once(server, 'request') as Promise<[IncomingMessage]>;
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const sent = send({ port, method: 'PUT', headers }).on('error', () => undefined);
    sent.write(Buffer.alloc(1000));
    return { request: (await arrived)[0], sent };
  }

  async function count(source: AsyncIterable<Uint8Array>): Promise<number> {
    let bytes = 0;
    for await (const { length } of source) bytes += length;
    return bytes;
  }

  it('are all that was sent', async () => {
    const { request, sent } = await begun();
    const counted = count(keptOpen(request));
    sent.end(Buffer.alloc(size - 1000));
    expect(await counted).toBe(size);
  });

  it('are all that was sent when they are read late', async () => {
    const { request, sent } = await begun();
    sent.end(Buffer.alloc(size - 1000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await count(keptOpen(request))).toBe(size);
  });

  it('fail when the client leaves, before and while they are read', async () => {
    const { request, sent } = await begun({});
    const counted = count(keptOpen(request));
    counted.catch(() => undefined);
    sent.destroy();
    await expect(counted).rejects.toThrow();
    await expect(count(keptOpen(request))).rejects.toThrow('left');
  });

  it('wait in the connection while nobody takes them', async () => {
    const { request, sent } = await begun();
    const pieces = keptOpen(request);
    await pieces.next();
    sent.end(Buffer.alloc(size - 1000));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(request.readableLength).toBeLessThan(size / 8);
    expect(request.isPaused()).toBe(true);
    await pieces.return(undefined);
  });

  it('leave the rest to who drains it', async () => {
    const { request, sent } = await begun();
    const pieces = keptOpen(request);
    await pieces.next();
    // Whoever reads stops while it waits for the next piece: that comes to both.
    const next = pieces.next();
    const stopped = pieces.return(undefined);
    const drained = drain(request);
    sent.end(Buffer.alloc(size - 1000));
    await Promise.all([next, stopped, drained]);
    expect(request.complete).toBe(true);
  });
});
