import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import request from 'supertest';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { startAdminServer, type AdminServer } from './admin-server.js';
import { collectDefaultMetrics, register } from './metrics.js';

let folder: string;
let socketPath: string;
let server: AdminServer | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
  socketPath = join(folder, 'admin');
});

afterEach(async () => {
  server?.close();
  await rm(folder, { recursive: true });
});

async function start(unready: () => Promise<string | undefined>, metrics = () => register.metrics()): Promise<void> {
  server = await startAdminServer({ path: socketPath }, 'WHARFIE_ADMIN_LISTEN', unready, metrics);
}

function get(path: string): request.Test {
  return request(`http+unix://${encodeURIComponent(socketPath)}`).get(path);
}

describe('the admin address', () => {
  it('says that the process answers, whether or not it is ready', async () => {
    await start(() => Promise.resolve('no storage'));
    await get('/healthz').expect(200, 'ok\n');
  });

  it('says that the service is ready, and why not when it is not', async () => {
    const reasons = [undefined, 'the storage does not answer'];
    await start(() => Promise.resolve(reasons.shift()));
    await get('/readyz').expect(200, 'ready\n');
    await get('/readyz?verbose').expect(503, 'the storage does not answer\n');
  });

  it('is not ready when the question itself fails', async () => {
    await start(() => Promise.reject(new Error('disk gone')));
    await get('/readyz').expect(503, 'Error: disk gone\n');
  });

  it('gives the metrics of the process in the form of Prometheus', async () => {
    collectDefaultMetrics();
    await start(() => Promise.resolve(undefined));
    const { text } = await get('/metrics')
      .expect(200)
      .expect('content-type', /^text\/plain; version=0\.0\.4/);
    expect(text).toContain('\nprocess_resident_memory_bytes ');
  });

  it.each(['/readyz', '/metrics'])('asks once for all who want %s meanwhile', async (path) => {
    let asked = 0;
    const slowly = () => {
      asked += 1;
      return delay(200, undefined);
    };
    await start(slowly, () => slowly().then(() => 'metrics'));
    const socket = connect(socketPath);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(200));
    await vi.waitFor(() => {
      expect(String(socket.read() ?? '')).toContain('200 OK');
    });
    socket.destroy();
    expect(asked).toBeLessThan(5);
    await get(path).expect(200);
  });

  it('answers 500 when the metrics cannot be had', async () => {
    await start(
      () => Promise.resolve(undefined),
      () => Promise.reject(new Error('no worker answers')),
    );
    await get('/metrics').expect(500, 'Error: no worker answers\n');
  });

  it('has nothing else', async () => {
    await start(() => Promise.resolve(undefined));
    await get('/').expect(404);
    await get('/v2/').expect(404);
  });
});
