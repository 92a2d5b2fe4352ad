import type { Digest, ManifestMediaType } from '@wharfie/shared';
import {
  OciError,
  isForeignLayer,
  isIndexMediaType,
  isManifestMediaType,
  mediaTypes,
  parseDigest,
  schema1MediaTypes,
} from '@wharfie/shared';
import { z } from 'zod';

/** Largest manifest that is accepted, in bytes: the least that the specification asks for. */
export const maxManifestSize = 4 * 1024 * 1024;
/** Lists and objects within one another; real manifests have five or so. */
const maxNesting = 100;
/** Objects, lists and names of fields: more than the descriptors in 4 MiB have. Looking at a million holds up others. */
const maxParts = 200_000;

/** What the registry needs to know of a manifest; the bytes themselves are kept and served as they came. */
export interface Manifest {
  mediaType: ManifestMediaType;
  /** Config and layers that must be in the repository. */
  blobs: Digest[];
  /** What an index lists: manifests, or anything else that was pushed (BuildKit's caches list blobs). */
  children: Digest[];
  subject?: Digest;
  /** What it is listed as among the referrers of its subject. */
  artifactType?: string;
  annotations?: Record<string, string>;
}

const digest = z.string().transform((text, context): Digest => {
  const parsed = parseDigest(text);
  if (parsed) return parsed;
  context.issues.push({ code: 'custom', message: 'must be a sha256 or sha512 digest', input: text });
  return z.NEVER;
});

/** A list that is given up at its first wrong element: zod would gather a problem for each, some hundred times its bytes. */
function list<T>(element: z.ZodType<T>) {
  return z.array(z.unknown()).transform((values, context): T[] => {
    const result: T[] = [];
    for (const [index, value] of values.entries()) {
      const parsed = element.safeParse(value);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        const path = [index, ...(issue?.path ?? [])];
        context.issues.push({ code: 'custom', message: issue?.message ?? 'not valid', input: undefined, path });
        return z.NEVER;
      }
      result.push(parsed.data);
    }
    return result;
  });
}

const texts = z.custom<Record<string, string>>(
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every((text) => typeof text === 'string'),
  'must be an object of strings',
);

/** As Go decodes it, which passes over ends of lines. */
function isBase64(text: string): boolean {
  const plain = text.replace(/[\r\n]/g, '');
  return plain.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(plain);
}

/** Of manifests, of the descriptors in them, and of the platforms in those. */
const fields = [
  ...['schemaVersion', 'mediaType', 'artifactType', 'annotations', 'subject', 'config', 'layers', 'manifests'],
  ...['digest', 'size', 'urls', 'data', 'platform'],
  ...['architecture', 'os', 'os.version', 'os.features', 'variant', 'features'],
];
const folded = new Set(fields.map(fold));
const longest = Math.max(...fields.map((name) => name.length));

/** What is the same to Go's decoder: beside capitals, ſ is an s and the sign of the kelvin a k. */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase();
}

function misspelled(value: object): string | undefined {
  return Object.keys(value).find((name) => name.length <= longest && !fields.includes(name) && folded.has(fold(name)));
}

/** An object of the specification. Go's decoder takes `Layers` for `layers`, and the last one of both; others do not. */
function specified<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.looseObject(shape).refine((value) => misspelled(value) === undefined, {
    error: ({ input }) =>
      `some clients take "${misspelled(input as object) ?? ''}" for another field: spell it as it is specified`,
  });
}

// Below, an explicit null stands for an absent field, as Go's encoder writes an empty list.

const platform = specified({
  architecture: z.string().nullish(),
  os: z.string().nullish(),
  'os.version': z.string().nullish(),
  'os.features': list(z.string()).nullish(),
  variant: z.string().nullish(),
  features: list(z.string()).nullish(),
});

/** Two names have at most 127 characters each; parameters may follow. https://www.rfc-editor.org/rfc/rfc6838#section-4.2 */
const type = z.string().max(1000);

// What is not needed here is checked too: one manifest that Go cannot decode ends distribution's garbage collection.
const descriptor = specified({
  mediaType: type.min(1),
  artifactType: type.nullish(),
  digest,
  size: z.int().nonnegative(),
  urls: list(z.string().regex(/^https?:\/\//, 'must be an http or https address')).nullish(),
  annotations: texts.nullish(),
  data: z.string().refine(isBase64, 'must be in base64').nullish(),
  platform: platform.nullish(),
});

const common = {
  schemaVersion: z.literal(2),
  mediaType: z.string().nullish(),
  artifactType: type.nullish(),
  annotations: texts.nullish(),
  subject: descriptor.nullish(),
};
const imageSchema = specified({ ...common, config: descriptor, layers: list(descriptor).nullish() });
const indexSchema = specified({ ...common, manifests: list(descriptor).nullable() });

/**
 * Reads and checks a manifest.
 * https://github.com/opencontainers/image-spec/blob/main/manifest.md, image-index.md
 * @param contentType what the client called it, if anything
 * @throws OciError MANIFEST_INVALID saying what is wrong and where
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  const json = decode(bytes);
  const value = parseJson(json);
  refuseAmbiguity(json);
  const mediaType = mediaTypeOf(value, contentType?.split(';', 1)[0]?.trim().toLowerCase());
  if (isIndexMediaType(mediaType)) {
    const index = checked(indexSchema, value);
    return {
      mediaType,
      blobs: [],
      children: unique((index.manifests ?? []).map((child) => child.digest)),
      ...referral(index, index.artifactType),
    };
  }
  const image = checked(imageSchema, value);
  const pushed = [image.config, ...(image.layers ?? [])].filter(
    (blob) => !(isForeignLayer(blob.mediaType) && blob.urls?.length),
  );
  return {
    mediaType,
    blobs: unique(pushed.map((blob) => blob.digest)),
    children: [],
    // An image that names no artifact type is known by the type of its config.
    ...referral(image, image.artifactType ?? image.config.mediaType),
  };
}

/**
 * What a manifest in the storage is. It was checked when it was pushed, perhaps by distribution with other rules, so
 * nothing is refused here.
 */
export function describeStored(bytes: Uint8Array): { mediaType: string; subject?: Digest } {
  const { mediaType, schemaVersion, manifests, subject } = parseJson(decode(bytes));
  const named = parseDigest(String((subject as { digest?: unknown } | null | undefined)?.digest));
  const guessed =
    schemaVersion === 1 ? schema1MediaTypes[1] : manifests === undefined ? mediaTypes.ociManifest : mediaTypes.ociIndex;
  return {
    mediaType: typeof mediaType === 'string' ? mediaType : (guessed ?? ''),
    ...(named ? { subject: named } : {}),
  };
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw invalid('the manifest is not UTF-8');
  }
}

function parseJson(json: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw invalid('the manifest is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('the manifest is not a JSON object');
  return value as Record<string, unknown>;
}

/**
 * Refuses valid JSON that readers take differently: of a name that stands twice in an object some take the first and some
 * the last (RFC 8259, section 4), where lists and objects lie too deep within one another some give up, and Go's decoder
 * reads no whole number from `1e3` or `2.0`.
 */
function refuseAmbiguity(json: string): void {
  const open: Set<string>[] = [];
  let parts = 0;
  let name = '';
  // Strings, with the colon where they are names, what opens and closes lists and objects, and where a number is not plain.
  for (const [token] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*:)?|[[\]{}]|\d[.eE]/g)) {
    const isName = token.endsWith(':');
    const opens = token === '{' || token === '[';
    if ((isName || opens) && (parts += 1) > maxParts) throw invalid(`the manifest has more than ${maxParts} parts`);
    // A name is not that of what stands in a list.
    if (opens || token === '}' || token === ']') name = '';
    if (opens) {
      if (open.push(new Set()) > maxNesting)
        throw invalid(`the manifest is nested more than ${maxNesting} levels deep`);
    } else if (token === '}' || token === ']') {
      open.pop();
    } else if (isName) {
      name = JSON.parse(token.slice(0, -1)) as string;
      if (open.at(-1)?.has(name)) throw invalid(`"${name}" stands twice in one object`);
      open.at(-1)?.add(name);
    } else if (/^\d/.test(token) && ['schemaVersion', 'size'].includes(name)) {
      throw invalid(`"${name}" must be a whole number without a point or an exponent`);
    }
  }
}

/**
 * Which of the four types it is. What the client says and what stands inside must agree, and an index cannot be an image
 * at the same time: else two clients would read two different things under one digest (CVE-2021-41190).
 */
function mediaTypeOf(value: Record<string, unknown>, contentType: string | undefined): ManifestMediaType {
  const inside = value['mediaType'] ?? undefined;
  if (inside !== undefined && typeof inside !== 'string') throw invalid('mediaType must be a string');
  const generic =
    contentType === undefined ||
    contentType === '' ||
    contentType === 'application/json' ||
    contentType === 'application/octet-stream';
  const declared = generic ? undefined : contentType;
  if (declared !== undefined && inside !== undefined && declared !== inside) {
    throw invalid(`the Content-Type is ${declared}, but the manifest says ${inside}`);
  }
  const [isIndex, isImage] = ['manifests' in value, 'config' in value || 'layers' in value];
  if (isIndex && isImage) throw invalid('a manifest cannot have both "manifests" and "config" or "layers"');
  // Of a null distribution says that it is an image.
  const isPlainIndex = isIndex && value['manifests'] !== null;
  const type =
    declared ?? inside ?? (isPlainIndex ? mediaTypes.ociIndex : isImage ? mediaTypes.ociManifest : undefined);
  if (value['schemaVersion'] === 1 || (type !== undefined && schema1MediaTypes.includes(type))) {
    throw invalid('this is a manifest of schema 1, which is no longer supported; push with a current client');
  }
  if (type === undefined || !isManifestMediaType(type)) {
    throw invalid(
      `${type === undefined ? 'a manifest without a type' : type} is not a manifest that this registry stores; use ${Object.values(mediaTypes).join(', ')}`,
    );
  }
  // Docker's types are told from the field alone when the manifest is served again.
  if (inside === undefined && (type === mediaTypes.dockerManifest || type === mediaTypes.dockerManifestList)) {
    throw invalid(`a manifest of type ${type} must say so in its mediaType field`);
  }
  if (isIndexMediaType(type) ? isImage : isIndex) throw invalid(`its fields are not those of ${type}`);
  return type;
}

function referral(
  {
    subject,
    annotations,
  }: { subject?: { digest: Digest } | null | undefined; annotations?: Record<string, string> | null | undefined },
  artifactType: string | null | undefined,
): Pick<Manifest, 'subject' | 'artifactType' | 'annotations'> {
  return {
    ...(subject ? { subject: subject.digest } : {}),
    ...(artifactType ? { artifactType } : {}),
    ...(annotations ? { annotations } : {}),
  };
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.join('.') ?? '';
  throw invalid(`${path === '' ? '' : `${path}: `}${issue?.message ?? 'not valid'}`);
}

function unique(digests: Digest[]): Digest[] {
  return [...new Set(digests)];
}

function invalid(message: string): OciError {
  return new OciError('MANIFEST_INVALID', message);
}
