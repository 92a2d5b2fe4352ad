import type { Digest, DigestAlgorithm } from './digest.js';
import { isDigestAlgorithm, parseDigest } from './digest.js';
import { OciError } from './oci-error.js';
import type { Access, Action } from './permission.js';
import { catalogAccess, repositoryAccess } from './permission.js';
import { parseQuery } from './query.js';
import type { Reference } from './reference.js';
import { isTag, parseReference } from './reference.js';
import { isRepositoryName, maxRepositoryNameLength } from './repository-name.js';

/** A page of a list: at most `n` entries, those after `last` in byte order. */
export interface Page {
  n?: number;
  last?: string;
}

interface Target {
  version: object;
  catalog: { page: Page };
  tags: { repository: string; page: Page };
  blob: { repository: string; digest: Digest };
  manifest: { repository: string; reference: Reference; tags: string[] };
  /** Where uploads begin. `mount` is there when the client named a digest that can be one; everything else begins an upload. */
  uploads: {
    repository: string;
    digest?: Digest;
    algorithm?: DigestAlgorithm;
    mount?: { digest: Digest; from?: string };
  };
  upload: { repository: string; upload: string; state?: string; digest?: Digest };
  referrers: { repository: string; digest: Digest; artifactType?: string; page: Page };
}

export type RouteKind = keyof Target;

/** A request of the distribution API, understood once: the proxy authorises this value and the registry serves it. */
export type Route<Kind extends RouteKind = RouteKind> = {
  [K in Kind]: { kind: K; method: string; access: readonly Access[] } & Target[K];
}[Kind];

const methods: Record<RouteKind, readonly string[]> = {
  version: ['GET', 'HEAD'],
  catalog: ['GET'],
  tags: ['GET'],
  blob: ['GET', 'HEAD', 'DELETE'],
  manifest: ['GET', 'HEAD', 'PUT', 'DELETE'],
  uploads: ['POST'],
  upload: ['GET', 'HEAD', 'PATCH', 'PUT', 'DELETE'],
  referrers: ['GET'],
};

/** Most entries of a page that is asked for; a larger `n` is answered with this many and a Link. */
const maxPage = 10_000;
/** Tags that one push may set: the specification asks for ten. */
const maxTags = 100;
/** How much of `last` is read: one character more than any name has, so that it sorts among names as the whole would. */
const maxLast = maxRepositoryNameLength + 1;

/** The characters that a path of the API can hold; anything else is refused as it stands, never normalised. */
const pathCharacters = /^[A-Za-z0-9._:/=+@-]*$/;

const uploadId = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Understands a request line, or throws the OciError that answers it. Needs no context, so that both services come to the
 * same result. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
 */
export function parseRoute(method: string, url: string): Route {
  const questionMark = url.indexOf('?');
  const rawPath = questionMark < 0 ? url : url.slice(0, questionMark);
  // The one escape that real clients write: encodeURIComponent on the colon of a digest.
  const path = rawPath.replace(/%3a/gi, ':');
  if (path !== '/v2' && !path.startsWith('/v2/')) throw notFound();
  if (!pathCharacters.test(path)) {
    throw new OciError('NAME_INVALID', 'the path holds characters that no repository, tag or digest can have');
  }
  const query = parseQuery(questionMark < 0 ? '' : url.slice(questionMark + 1));
  const target = parseTarget(path.slice('/v2/'.length), query, method);
  const allowed = methods[target.kind];
  if (!allowed.includes(method)) {
    const allow = allowed.join(', ');
    throw new OciError('UNSUPPORTED', `${method} is not supported here; use ${allow}`, undefined, { Allow: allow });
  }
  return Object.assign(target, { method, access: neededAccess(target, method) });
}

type ParsedTarget = { [K in RouteKind]: { kind: K } & Target[K] }[RouteKind];

/** Reads the path from the right: what stands before the last known words is the name, so `foo/blobs/uploads` is a repository too. */
function parseTarget(path: string, query: URLSearchParams, method: string): ParsedTarget {
  if (path === '') return { kind: 'version' };
  if (path === '_catalog') return { kind: 'catalog', page: parsePage(query) };
  const parts = path.split('/');
  if (parts.at(-1) === '' && parts.at(-2) === 'uploads' && parts.at(-3) === 'blobs') parts.pop();
  const last = parts.at(-1) ?? '';
  const noun = parts.at(-2);

  if (noun === 'tags' && last === 'list') {
    return { kind: 'tags', repository: nameBefore(parts, 2), page: parsePage(query) };
  }
  if (noun === 'blobs' && last === 'uploads') {
    return { kind: 'uploads', repository: nameBefore(parts, 2), ...uploadsQuery(query) };
  }
  if (noun === 'uploads' && parts.at(-3) === 'blobs') {
    const repository = nameBefore(parts, 3);
    if (!uploadId.test(last)) {
      throw new OciError('BLOB_UPLOAD_UNKNOWN', `${last} is not an upload of this registry; begin a new one`);
    }
    const state = query.get('_state');
    const digest = method === 'PUT' ? optionalDigest(query) : undefined;
    return {
      kind: 'upload',
      repository,
      upload: last,
      ...(state === null ? {} : { state }),
      ...(digest && { digest }),
    };
  }
  if (noun === 'blobs') return { kind: 'blob', repository: nameBefore(parts, 2), digest: digestFrom(last) };
  if (noun === 'manifests') {
    const repository = nameBefore(parts, 2);
    const tags = query.getAll('tag');
    if (tags.length > maxTags) throw new OciError('TOO_MANY_TAGS', `a request may name ${maxTags} tags at most`);
    return { kind: 'manifest', repository, reference: referenceFrom(last, method), tags: tags.map(tagFrom) };
  }
  if (noun === 'referrers') {
    const repository = nameBefore(parts, 2);
    // A media type's "+" that was not escaped arrives as a space, which no media type has.
    const artifactType = query.get('artifactType')?.replaceAll(' ', '+');
    return {
      kind: 'referrers',
      repository,
      digest: digestFrom(last),
      page: parsePage(query),
      ...(artifactType ? { artifactType } : {}),
    };
  }
  throw notFound();
}

function nameBefore(parts: string[], words: number): string {
  const name = parts.slice(0, -words).join('/');
  if (!isRepositoryName(name)) {
    throw new OciError(
      'NAME_INVALID',
      'the repository name is not valid: components of a-z, 0-9, single "." or "_", "__" or "-" between them, joined by "/", 255 characters at most',
      { name },
    );
  }
  return name;
}

function digestFrom(text: string): Digest {
  const digest = parseDigest(text);
  if (!digest) {
    throw new OciError(
      'DIGEST_INVALID',
      'the digest must be sha256:<64 lower-case hex> or sha512:<128 lower-case hex>',
      {
        digest: text,
      },
    );
  }
  return digest;
}

function tagFrom(text: string): string {
  if (!isTag(text)) {
    throw new OciError(
      'TAG_INVALID',
      'a tag begins with a letter, a digit or "_" and holds at most 128 of these, "." and "-"',
      { tag: text },
    );
  }
  return text;
}

function referenceFrom(text: string, method: string): Reference {
  const reference = parseReference(text);
  if (reference) return reference;
  if (text.includes(':')) return { digest: digestFrom(text) };
  if (method === 'PUT') return { tag: tagFrom(text) };
  // No manifest has it: the conformance suite 1.1.1 wants a 404 (01_pull_test.go).
  throw new OciError('MANIFEST_UNKNOWN', 'no manifest can have this name, which is neither a tag nor a digest', {
    tag: text,
  });
}

function optionalDigest(query: URLSearchParams): Digest | undefined {
  const text = query.get('digest');
  return text === null ? undefined : digestFrom(text);
}

function uploadsQuery(query: URLSearchParams): Omit<Target['uploads'], 'repository'> {
  const algorithm = query.get('digest-algorithm');
  if (algorithm !== null && !isDigestAlgorithm(algorithm)) {
    throw new OciError('DIGEST_INVALID', 'the digest algorithm must be sha256 or sha512', { algorithm });
  }
  // A mount that cannot be understood is not an error but an ordinary upload, as for distribution.
  const mounted = parseDigest(query.get('mount') ?? '');
  const from = query.get('from');
  const mount = mounted && { digest: mounted, ...(from !== null && isRepositoryName(from) ? { from } : {}) };
  const digest = mount ? undefined : optionalDigest(query);
  return {
    ...(algorithm === null ? {} : { algorithm }),
    ...(mount && (from === null || mount.from !== undefined) ? { mount } : {}),
    ...(digest && { digest }),
  };
}

function parsePage(query: URLSearchParams): Page {
  const n = query.get('n');
  const last = query.get('last');
  if (n !== null && !/^\d+$/.test(n)) {
    throw new OciError('PAGINATION_NUMBER_INVALID', 'n must be a number that is not negative', { n });
  }
  return {
    ...(n === null ? {} : { n: Math.min(Number(n), maxPage) }),
    ...(last === null ? {} : { last: last.slice(0, maxLast).replace(/[\ud800-\udbff]$/, '') }),
  };
}

function neededAccess(target: ParsedTarget, method: string): Access[] {
  switch (target.kind) {
    case 'version':
      return [];
    case 'catalog':
      return [catalogAccess];
    default:
      return [repositoryAccess(target.repository, neededAction(target.kind, method))];
  }
}

/** Whoever may push may also look at an upload and cancel it; `delete` is for what is stored. */
function neededAction(kind: RouteKind, method: string): Action {
  if (kind === 'uploads' || kind === 'upload' || method === 'PUT') return 'push';
  return method === 'DELETE' ? 'delete' : 'pull';
}

function notFound(): OciError {
  return new OciError('NOT_FOUND', 'there is nothing here; the registry API begins at /v2/');
}
