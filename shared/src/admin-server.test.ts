import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { collectProcessMetrics, startAdminServer, type AdminServer } from './admin-server.js';

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

async function start(unready: () => Promise<string | undefined>, metrics?: () => Promise<string>): Promise<void> {
  server = await startAdminServer({ path: socketPath }, 'WHARFIE_ADMIN_LISTEN', unready, metrics);
}

function get(path: string): Promise<{ status: number | undefined; body: string; type: string | undefined }> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path }, (response) => {
      const { statusCode: status, headers } = response;
      text(response).then((body) => {
        resolve({ status, body, type: headers['content-type'] });
      }, reject);
    })
      .once('error', reject)
      .end();
  });
}

describe('the admin address', () => {
  it('says that the process answers, whether or not it is ready', async () => {
    await start(() => Promise.resolve('no storage'));
    expect(await get('/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
  });

  it('says that the service is ready, and why not when it is not', async () => {
    const reasons = [undefined, 'the storage does not answer'];
    await start(() => Promise.resolve(reasons.shift()));
    expect(await get('/readyz')).toMatchObject({ status: 200, body: 'ready\n' });
    expect(await get('/readyz?verbose')).toMatchObject({ status: 503, body: 'the storage does not answer\n' });
  });

  it('is not ready when the question itself fails', async () => {
    await start(() => Promise.reject(new Error('disk gone')));
    expect(await get('/readyz')).toMatchObject({ status: 503, body: 'Error: disk gone\n' });
  });

  it('gives the metrics of the process in the form of Prometheus', async () => {
    collectProcessMetrics();
    await start(() => Promise.resolve(undefined));
    const { status, body, type } = await get('/metrics');
    expect(status).toBe(200);
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(body).toContain('\nprocess_resident_memory_bytes ');
  });

  it('answers 500 when the metrics cannot be had', async () => {
    await start(
      () => Promise.resolve(undefined),
      () => Promise.reject(new Error('no worker answers')),
    );
    expect(await get('/metrics')).toMatchObject({ status: 500, body: 'Error: no worker answers\n' });
  });

  it('has nothing else', async () => {
    await start(() => Promise.resolve(undefined));
    expect(await get('/')).toMatchObject({ status: 404 });
    expect(await get('/v2/')).toMatchObject({ status: 404 });
  });
});
