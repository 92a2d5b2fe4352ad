import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

/** Writes an OCI image layout that holds an image for each platform under the tag `latest`, as `skopeo copy oci:DIR:latest` reads it. */
export async function writeLayout(folder: string, platforms: readonly string[], layerCount = 1): Promise<void> {
  await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true });
  const store = async (content: Uint8Array, mediaType: string) => {
    const hex = createHash('sha256').update(content).digest('hex');
    await writeFile(join(folder, 'blobs', 'sha256', hex), content);
    return { mediaType, digest: `sha256:${hex}`, size: content.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const manifests = [];
  for (const architecture of platforms) {
    const tars = Array.from({ length: layerCount }, (_, n) => tarOf(`file${n}`, randomBytes(150_000 / layerCount)));
    const layers = await Promise.all(tars.map((tar) => store(gzipSync(tar), mediaTypes.layer)));
    const diffs = tars.map((tar) => `sha256:${createHash('sha256').update(tar).digest('hex')}`);
    const config = await store(
      json({ architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: diffs }, config: {} }),
      mediaTypes.config,
    );
    const manifest = json({ schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers });
    manifests.push({ ...(await store(manifest, mediaTypes.manifest)), platform: { architecture, os: 'linux' } });
  }
  const index = await store(json({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }), mediaTypes.index);
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  await writeFile(join(folder, 'index.json'), json({ schemaVersion: 2, manifests: [{ ...index, annotations }] }));
  await writeFile(join(folder, 'oci-layout'), json({ imageLayoutVersion: '1.0.0' }));
}

/** The digests of a layout's blobs. */
export async function blobsOf(folder: string): Promise<string[]> {
  return (await readdir(join(folder, 'blobs', 'sha256'))).sort();
}

/** A tar archive of one file. https://www.gnu.org/software/tar/manual/html_node/Standard.html */
function tarOf(name: string, content: Uint8Array): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, length: number) => `${value.toString(8).padStart(length - 1, '0')}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 8), 100);
  header.write(octal(0, 8), 108);
  header.write(octal(0, 8), 116);
  header.write(octal(content.length, 12), 124);
  header.write(octal(0, 12), 136);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  header.write(
    octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
  );
  return Buffer.concat([header, content, Buffer.alloc(512 - (content.length % 512)), Buffer.alloc(1024)]);
}
