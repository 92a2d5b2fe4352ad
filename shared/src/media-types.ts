/** The manifest types that the registry stores. */
export const mediaTypes = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
} as const;

export type ManifestMediaType = (typeof mediaTypes)[keyof typeof mediaTypes];

/** Schema 1 of 2014: unsigned digests over re-formatted JSON, dropped by every current client. */
export const schema1MediaTypes: readonly string[] = [
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
];

export function isManifestMediaType(text: string): text is ManifestMediaType {
  return (Object.values(mediaTypes) as string[]).includes(text);
}

/** Whether it lists other manifests, and has no layers of its own. */
export function isIndexMediaType(type: ManifestMediaType): boolean {
  return type === mediaTypes.ociIndex || type === mediaTypes.dockerManifestList;
}

/** Layers that stay with their vendor: never pushed, so never asked for. */
export function isForeignLayer(mediaType: string): boolean {
  return (
    mediaType.startsWith('application/vnd.oci.image.layer.nondistributable.') ||
    mediaType.startsWith('application/vnd.docker.image.rootfs.foreign.')
  );
}
