import { createHash, randomBytes } from 'node:crypto';

/** A registry as a client sees it. */
export type Call = (method: string, path: string, init?: RequestInit) => Promise<Response>;

export const types = {
  docker: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  oci: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
};

export interface Stored {
  digest: string;
  size: number;
  mediaType: string;
}

export function digestOf(content: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** Fails with what the registry said when it answers with another status. */
export async function expectStatus(response: Response, status: number): Promise<Response> {
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response;
}

/** The Location of an answer, absolute or relative, with parameters added. */
export function locationOf(response: Response, more = ''): string {
  const location = response.headers.get('location') ?? '';
  const path = location.startsWith('http') ? new URL(location).pathname + new URL(location).search : location;
  return more === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${more}`;
}

/** Pushes a blob in as many chunks as given, and returns its digest. */
export async function pushBlob(call: Call, repository: string, ...chunks: Uint8Array[]): Promise<string> {
  const digest = digestOf(Buffer.concat(chunks));
  let answer = await expectStatus(await call('POST', `/v2/${repository}/blobs/uploads/`), 202);
  let sent = 0;
  for (const chunk of chunks) {
    const headers: Record<string, string> = { 'content-type': 'application/octet-stream' };
    if (chunks.length > 1) headers['content-range'] = `${sent}-${sent + chunk.length - 1}`;
    answer = await expectStatus(await call('PATCH', locationOf(answer), { body: chunk, headers }), 202);
    sent += chunk.length;
  }
  await expectStatus(await call('PUT', locationOf(answer, `digest=${digest}`)), 201);
  return digest;
}

/** Pushes an image of one random layer under a tag, and returns its manifest. */
export async function pushImage(
  call: Call,
  repository: string,
  tag: string,
  mediaType = types.oci,
  more: object = {},
): Promise<string> {
  const layer = randomBytes(2000);
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', id: randomBytes(8).toString('hex') }),
  );
  const descriptor = async (content: Uint8Array, type: string) => ({
    mediaType: type,
    digest: await pushBlob(call, repository, content),
    size: content.length,
  });
  const isDocker = mediaType === types.docker;
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: await descriptor(
      config,
      isDocker ? 'application/vnd.docker.container.image.v1+json' : 'application/vnd.oci.image.config.v1+json',
    ),
    layers: [
      await descriptor(
        layer,
        isDocker ? 'application/vnd.docker.image.rootfs.diff.tar.gzip' : 'application/vnd.oci.image.layer.v1.tar+gzip',
      ),
    ],
    ...more,
  });
  await putManifest(call, repository, tag, manifest, mediaType);
  return manifest;
}

export async function putManifest(
  call: Call,
  repository: string,
  reference: string,
  body: string,
  mediaType: string,
): Promise<void> {
  await expectStatus(
    await call('PUT', `/v2/${repository}/manifests/${reference}`, { body, headers: { 'content-type': mediaType } }),
    201,
  );
}

/** The bytes of a manifest and of every blob that it names, all checked against their digests; by tag or by digest. */
export async function pullImage(call: Call, repository: string, reference: string): Promise<string> {
  const accept = Object.values(types).join(', ');
  const response = await expectStatus(
    await call('GET', `/v2/${repository}/manifests/${reference}`, { headers: { accept } }),
    200,
  );
  const body = await response.text();
  if (response.headers.get('docker-content-digest') !== digestOf(body))
    throw new Error(`${repository}:${reference} is not what its digest says`);
  const {
    config,
    layers = [],
    manifests = [],
  } = JSON.parse(body) as { config?: Stored; layers?: Stored[]; manifests?: Stored[] };
  for (const { digest } of [...(config ? [config] : []), ...layers]) {
    const blob = await expectStatus(await call('GET', `/v2/${repository}/blobs/${digest}`), 200);
    if (digestOf(new Uint8Array(await blob.arrayBuffer())) !== digest)
      throw new Error(`${repository} has wrong bytes under ${digest}`);
  }
  for (const { digest } of manifests) await pullImage(call, repository, digest);
  return body;
}
