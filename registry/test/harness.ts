import { createHash, randomBytes } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Access, Identity } from '@wharfie/shared';
import { catalogAccess, identitySigner, mediaTypes, repositoryAccess } from '@wharfie/shared';
import { pino } from 'pino';
import { createApp } from '../src/create-app.js';
import { MemoryDriver } from '../src/storage/memory.js';
import type { StorageDriver } from '../src/storage/storage-driver.js';

export const secret = randomBytes(32);
const sign = identitySigner(secret);

export interface Registry {
  url: string;
  port: number;
  storage: StorageDriver;
  close(): Promise<void>;
}

/** A registry on a port of its own; several may share a storage, as several processes do. */
export async function startRegistry(storage: StorageDriver = new MemoryDriver()): Promise<Registry> {
  const app = await createApp(storage, secret, pino({ level: 'silent' }));
  const server: Server = app.getHttpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    storage,
    close: async () => {
      server.closeAllConnections();
      await app.close();
    },
  };
}

export function token(access: readonly Access[], subject = 'tester'): string {
  const identity: Identity = { subject, access };
  return `Bearer ${sign(identity)}`;
}

/** A client that may do everything with the repositories that it names. */
export function client(registry: Registry, ...repositories: string[]) {
  const access = [catalogAccess, ...repositories.map((name) => repositoryAccess(name, 'pull', 'push', 'delete'))];
  return async (
    method: string,
    path: string,
    init: { body?: NonNullable<RequestInit['body']>; headers?: Record<string, string>; signal?: AbortSignal } = {},
  ) =>
    fetch(path.startsWith('http') ? path : registry.url + path, {
      method,
      redirect: 'manual',
      ...(init.signal ? { signal: init.signal } : {}),
      ...(init.body === undefined ? {} : { body: init.body, duplex: 'half' }),
      headers: { authorization: token(access), ...init.headers },
    });
}

export type Client = ReturnType<typeof client>;

export function sha256(content: string | Uint8Array): `sha256:${string}` {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

export function sha512(content: string | Uint8Array): `sha512:${string}` {
  return `sha512:${createHash('sha512').update(content).digest('hex')}`;
}

/** Pushes a blob as docker does and returns its digest. */
export async function pushBlob(
  call: Client,
  repository: string,
  content: string | Uint8Array,
): Promise<`sha256:${string}`> {
  const digest = sha256(content);
  const begun = await call('POST', `/v2/${repository}/blobs/uploads/`);
  const sent = await call('PATCH', begun.headers.get('location') ?? '', { body: content });
  const ended = await call('PUT', `${sent.headers.get('location') ?? ''}&digest=${encodeURIComponent(digest)}`);
  if (ended.status !== 201) throw new Error(`pushing a blob: ${ended.status} ${await ended.text()}`);
  return digest;
}

/** An image manifest over blobs that it pushes first. */
export async function imageManifest(call: Client, repository: string, more: object = {}): Promise<string> {
  const layer = randomBytes(100);
  const config = JSON.stringify({ architecture: 'amd64', os: 'linux', id: randomBytes(8).toString('hex') });
  await pushBlob(call, repository, layer);
  await pushBlob(call, repository, config);
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: sha256(config), size: config.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: sha256(layer), size: layer.length }],
    ...more,
  });
}

export function putManifest(
  call: Client,
  repository: string,
  reference: string,
  body: string,
  type: string = mediaTypes.ociManifest,
) {
  return call('PUT', `/v2/${repository}/manifests/${reference}`, { body, headers: { 'content-type': type } });
}

export async function errorCode(response: Response): Promise<string | undefined> {
  const { errors } = (await response.json()) as { errors: { code: string; message: string }[] };
  return errors[0]?.code;
}
