import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from './digest.js';
import { OciError } from './oci-error.js';
import { parseRoute, type Route, type RouteKind } from './routes.js';

const digest = digestOf(Buffer.from('layer'));
const upload = '123e4567-e89b-42d3-a456-426614174000';

function refusal(method: string, url: string): OciError {
  try {
    parseRoute(method, url);
  } catch (error) {
    if (error instanceof OciError) return error;
    throw error;
  }
  throw new Error(`${method} ${url} was not refused`);
}

describe('the endpoints of the specification', () => {
  it.each<[string, string, RouteKind, string]>([
    ['GET', '/v2/', 'version', ''],
    ['GET', '/v2', 'version', ''],
    ['HEAD', '/v2/', 'version', ''],
    ['GET', '/v2/_catalog', 'catalog', 'registry:catalog:*'],
    ['GET', '/v2/a/tags/list', 'tags', 'repository:a:pull'],
    ['GET', `/v2/a/blobs/${digest}`, 'blob', 'repository:a:pull'],
    ['HEAD', `/v2/a/blobs/${digest}`, 'blob', 'repository:a:pull'],
    ['DELETE', `/v2/a/blobs/${digest}`, 'blob', 'repository:a:delete'],
    ['GET', '/v2/a/manifests/latest', 'manifest', 'repository:a:pull'],
    ['HEAD', `/v2/a/manifests/${digest}`, 'manifest', 'repository:a:pull'],
    ['PUT', '/v2/a/manifests/latest', 'manifest', 'repository:a:push'],
    ['DELETE', '/v2/a/manifests/latest', 'manifest', 'repository:a:delete'],
    ['POST', '/v2/a/blobs/uploads/', 'uploads', 'repository:a:push'],
    ['POST', '/v2/a/blobs/uploads', 'uploads', 'repository:a:push'],
    ['GET', `/v2/a/blobs/uploads/${upload}`, 'upload', 'repository:a:push'],
    ['PATCH', `/v2/a/blobs/uploads/${upload}`, 'upload', 'repository:a:push'],
    ['PUT', `/v2/a/blobs/uploads/${upload}`, 'upload', 'repository:a:push'],
    ['DELETE', `/v2/a/blobs/uploads/${upload}`, 'upload', 'repository:a:push'],
    ['GET', `/v2/a/referrers/${digest}`, 'referrers', 'repository:a:pull'],
  ])('%s %s is %s and needs "%s"', (method, url, kind, needed) => {
    const route = parseRoute(method, url);
    expect(route.kind).toBe(kind);
    expect(route.method).toBe(method);
    expect(route.access.map(({ type, name, actions }) => `${type}:${name}:${actions.join()}`).join(' ')).toBe(needed);
  });

  it.each([
    ['POST', '/v2/', 'GET, HEAD'],
    ['HEAD', '/v2/a/tags/list', 'GET'],
    ['DELETE', '/v2/_catalog', 'GET'],
    ['PUT', `/v2/a/blobs/${digest}`, 'GET, HEAD, DELETE'],
    ['POST', '/v2/a/manifests/latest', 'GET, HEAD, PUT, DELETE'],
    ['GET', '/v2/a/blobs/uploads/', 'POST'],
    ['POST', `/v2/a/blobs/uploads/${upload}`, 'GET, HEAD, PATCH, PUT, DELETE'],
    ['OPTIONS', `/v2/a/referrers/${digest}`, 'GET'],
    ['get', '/v2/', 'GET, HEAD'],
  ])('%s %s is refused and told to use %s', (method, url, allow) => {
    expect(refusal(method, url)).toMatchObject({ status: 405, code: 'UNSUPPORTED', headers: { Allow: allow } });
  });

  it.each([
    ['/', 'NOT_FOUND'],
    ['/v1/', 'NOT_FOUND'],
    ['/v2x', 'NOT_FOUND'],
    ['/v2/a', 'NOT_FOUND'],
    ['/v2/a/tags', 'NOT_FOUND'],
    ['/v2//', 'NOT_FOUND'],
    ['//v2/', 'NOT_FOUND'],
    ['http://elsewhere/v2/', 'NOT_FOUND'],
    ['/V2/', 'NOT_FOUND'],
    ['*', 'NOT_FOUND'],
    ['', 'NOT_FOUND'],
    ['/v2/a/tags/list/', 'NOT_FOUND'],
    ['/v2/a/manifests/latest/', 'NOT_FOUND'],
    ['/v2/a/manifests/uploads/', 'NOT_FOUND'],
    ['/v2/tags/list', 'NAME_INVALID'],
    ['/v2/A/tags/list', 'NAME_INVALID'],
    ['/v2/a//b/tags/list', 'NAME_INVALID'],
    ['/v2//a/tags/list', 'NAME_INVALID'],
    ['/v2/a/../b/tags/list', 'NAME_INVALID'],
    ['/v2/a/./tags/list', 'NAME_INVALID'],
    ['/v2/a%2Fb/tags/list', 'NAME_INVALID'],
    ['/v2/a%252Fb/tags/list', 'NAME_INVALID'],
    ['/v2/%2e%2e/tags/list', 'NAME_INVALID'],
    ['/v2/a;x/tags/list', 'NAME_INVALID'],
    ['/v2/a\\b/tags/list', 'NAME_INVALID'],
    ['/v2/a\0/tags/list', 'NAME_INVALID'],
    ['/v2/a%00/tags/list', 'NAME_INVALID'],
    ['/v2/a#/tags/list', 'NAME_INVALID'],
    ['/v2/é/tags/list', 'NAME_INVALID'],
    ['/v2/a%c0%ae/tags/list', 'NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/tags/list`, 'NAME_INVALID'],
    ['/v2/a/manifests/.x', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/..', 'MANIFEST_UNKNOWN'],
    [`/v2/a/manifests/${'x'.repeat(129)}`, 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/sha256:baddigeststring', 'DIGEST_INVALID'],
    ['/v2/a/blobs/latest', 'DIGEST_INVALID'],
    [`/v2/a/blobs/${digest.toUpperCase()}`, 'DIGEST_INVALID'],
    ['/v2/a/referrers/latest', 'DIGEST_INVALID'],
    ['/v2/a/blobs/uploads/..', 'BLOB_UPLOAD_UNKNOWN'],
    ['/v2/a/blobs/uploads/x', 'BLOB_UPLOAD_UNKNOWN'],
    [`/v2/a/blobs/uploads/${upload.toUpperCase()}`, 'BLOB_UPLOAD_UNKNOWN'],
    ['/v2/_catalog?n=-1', 'PAGINATION_NUMBER_INVALID'],
    ['/v2/a/tags/list?n=abc', 'PAGINATION_NUMBER_INVALID'],
    ['/v2/a/tags/list?n=', 'PAGINATION_NUMBER_INVALID'],
    ['/v2/a/tags/list?n=1e3', 'PAGINATION_NUMBER_INVALID'],
  ])('GET %j is refused as %s', (url, problem) => {
    expect(refusal('GET', url).problem).toBe(problem);
  });

  it.each([
    ['HEAD', 'MANIFEST_UNKNOWN'],
    ['DELETE', 'MANIFEST_UNKNOWN'],
    ['PUT', 'TAG_INVALID'],
  ])('%s of a manifest by what can be no tag is refused as %s', (method, problem) => {
    expect(refusal(method, '/v2/a/manifests/.INVALID_MANIFEST_NAME').problem).toBe(problem);
  });
});

describe('the query', () => {
  const begin = (query: string) => parseRoute('POST', `/v2/a/blobs/uploads/?${query}`);

  it('names a blob to mount, in either order and however it is escaped', () => {
    const mount = { digest, from: 'm/one' };
    expect(begin(`mount=${digest}&from=m/one`)).toMatchObject({ mount });
    expect(begin(`from=m%2Fone&mount=${encodeURIComponent(digest)}`)).toMatchObject({ mount });
    expect(begin(`mount=${digest}`)).toMatchObject({ mount: { digest } });
  });

  it('has no digest of a one-shot upload beside a blob to mount', () => {
    const other = digestOf(Buffer.from('another layer'));
    expect(begin(`mount=${digest}&from=m/one&digest=${other}`)).toMatchObject({ mount: { digest, from: 'm/one' } });
    expect(begin(`mount=${digest}&from=m/one&digest=${other}`)).not.toHaveProperty('digest');
  });

  it('begins an ordinary upload when what it would mount cannot be understood', () => {
    expect(begin('mount=sha256:x&from=m/one')).not.toHaveProperty('mount');
    expect(begin(`mount=${digest}&from=../x`)).not.toHaveProperty('mount');
    expect(begin('from=m/one')).not.toHaveProperty('mount');
  });

  it('gives the digest of a one-shot upload and the algorithm of a later one', () => {
    expect(begin(`digest=${encodeURIComponent(digest)}`)).toMatchObject({ digest });
    expect(begin('digest-algorithm=sha512')).toMatchObject({ algorithm: 'sha512' });
    expect(refusal('POST', '/v2/a/blobs/uploads/?digest=md5:x').problem).toBe('DIGEST_INVALID');
    expect(refusal('POST', '/v2/a/blobs/uploads/?digest-algorithm=md5').problem).toBe('DIGEST_INVALID');
  });

  it('closes an upload with its state and digest, and keeps quiet about parameters that it does not know', () => {
    const url = `/v2/a/blobs/uploads/${upload}?_state=s%3D&x=1&digest=${encodeURIComponent(digest)}`;
    expect(parseRoute('PUT', url)).toMatchObject({ upload, state: 's=', digest });
    expect(parseRoute('PATCH', url)).not.toHaveProperty('digest');
  });

  it('asks for a page, and for no more than one page can hold', () => {
    expect(parseRoute('GET', '/v2/_catalog?n=0&last=a%2Fb')).toMatchObject({ page: { n: 0, last: 'a/b' } });
    // No name is longer, so that the rest of it decides nothing.
    const long = `/v2/_catalog?last=${'a/'.repeat(4000)}`;
    expect(parseRoute('GET', long)).toMatchObject({ page: { last: 'a/'.repeat(128) } });
    const half = `/v2/_catalog?last=${'a'.repeat(255)}%F0%9F%98%80`;
    expect(parseRoute('GET', half)).toMatchObject({ page: { last: 'a'.repeat(255) } });
    expect(parseRoute('GET', '/v2/_catalog')).toMatchObject({ page: {} });
    expect(parseRoute('GET', `/v2/_catalog?n=${'9'.repeat(400)}`)).toMatchObject({ page: { n: 10_000 } });
  });

  it('filters referrers by a media type whose plus sign is escaped or not', () => {
    const artifactType = 'application/vnd.x+json';
    expect(parseRoute('GET', `/v2/a/referrers/${digest}?artifactType=${artifactType}`)).toMatchObject({ artifactType });
    expect(
      parseRoute('GET', `/v2/a/referrers/${digest}?artifactType=${encodeURIComponent(artifactType)}`),
    ).toMatchObject({ artifactType });
  });

  it('gives a manifest several tags, each of them checked', () => {
    expect(parseRoute('PUT', `/v2/a/manifests/${digest}?tag=1&tag=2`)).toMatchObject({ tags: ['1', '2'] });
    expect(refusal('PUT', `/v2/a/manifests/${digest}?tag=.`).problem).toBe('TAG_INVALID');
  });

  it('may hold the colon of a digest in the path as an escape', () => {
    expect(parseRoute('GET', `/v2/a/blobs/${encodeURIComponent(digest)}`)).toMatchObject({ digest });
    expect(parseRoute('GET', `/v2/a/blobs/${digest.replace(':', '%3a')}`)).toMatchObject({ digest });
  });
});

describe('a repository that is named like the words of a path', () => {
  it.each(['foo/blobs/uploads', 'a/manifests/tags', 'tags/list', 'blobs', 'manifests/latest', 'referrers', 'v2/v2'])(
    'is reached in every way: %s',
    (repository) => {
      expect(parseRoute('GET', `/v2/${repository}/tags/list`)).toMatchObject({ kind: 'tags', repository });
      expect(parseRoute('GET', `/v2/${repository}/manifests/list`)).toMatchObject({ kind: 'manifest', repository });
      expect(parseRoute('GET', `/v2/${repository}/blobs/${digest}`)).toMatchObject({ kind: 'blob', repository });
      expect(parseRoute('POST', `/v2/${repository}/blobs/uploads/`)).toMatchObject({ kind: 'uploads', repository });
      expect(parseRoute('PATCH', `/v2/${repository}/blobs/uploads/${upload}`)).toMatchObject({
        kind: 'upload',
        repository,
      });
      expect(parseRoute('GET', `/v2/${repository}/referrers/${digest}`)).toMatchObject({
        kind: 'referrers',
        repository,
      });
    },
  );
});

const component = fc.oneof(
  fc.constantFrom('blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers', 'v2', 'sha256'),
  fc.stringMatching(/^[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}$/),
);
const repositoryName = fc.array(component, { minLength: 1, maxLength: 6 }).map((parts) => parts.join('/'));
const anyTag = fc.oneof(
  fc.constantFrom('list', 'uploads', 'blobs', 'manifests'),
  fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/),
);
const anyDigest = fc.uint8Array({ maxLength: 4 }).map((bytes) => digestOf(bytes));

describe('any repository', () => {
  const lastWords = fc.oneof(
    fc.constant(['tags', 'tags/list']),
    fc.constant(['uploads', 'blobs/uploads/']),
    fc.uuid({ version: 4 }).map((id) => ['upload', `blobs/uploads/${id}`]),
    anyTag.map((tag) => ['manifest', `manifests/${tag}`]),
    anyDigest.chain((value) =>
      fc.constantFrom(
        ['blob', `blobs/${value}`],
        ['manifest', `manifests/${value}`],
        ['referrers', `referrers/${value}`],
      ),
    ),
  );

  it('comes out of the path as it went in, whatever is asked of it', () => {
    fc.assert(
      fc.property(repositoryName, lastWords, (repository, [kind, words]) => {
        const method = kind === 'uploads' ? 'POST' : 'GET';
        const route = parseRoute(method, `/v2/${repository}/${words}`);
        expect(route).toMatchObject({ kind, repository, access: [{ type: 'repository', name: repository }] });
      }),
    );
  });
});

/** Whatever of a route may end up in a path of the storage. */
function pathParts(route: Route): string[] {
  switch (route.kind) {
    case 'version':
    case 'catalog':
      return [];
    case 'manifest':
      return [route.repository, route.reference.tag ?? route.reference.digest, ...route.tags];
    case 'upload':
      return [route.repository, route.upload, route.digest ?? ''];
    case 'uploads':
      return [route.repository, route.digest ?? '', route.mount?.digest ?? '', route.mount?.from ?? ''];
    case 'blob':
    case 'referrers':
      return [route.repository, route.digest];
    case 'tags':
      return [route.repository];
  }
}

describe('any request line', () => {
  const piece = fc.oneof(
    component,
    anyTag,
    anyDigest,
    fc.constantFrom('..', '.', '', '%2e%2e', '%2F', '%3A', ';', '\\', '\0', '?', '#', '@', 'é', '?digest=', '?mount='),
    fc.string({ unit: 'binary', maxLength: 6 }),
  );
  const anyUrl = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 8 }).map((pieces) => `/v2/${pieces.join('/')}`),
    fc.array(piece, { maxLength: 8 }).map((pieces) => `/v2/${pieces.join('')}`),
  );
  const anyMethod = fc.constantFrom('GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'OPTIONS', 'toString');

  it('is understood or refused with an OciError of a 4xx status, and never leads out of its folder', () => {
    fc.assert(
      fc.property(anyMethod, anyUrl, (method, url) => {
        try {
          for (const part of pathParts(parseRoute(method, url))) {
            expect(part).toMatch(/^[A-Za-z0-9._:/-]*$/);
            expect(part.split('/')).not.toContain('..');
            expect(part.split('/')).not.toContain('.');
          }
        } catch (error) {
          if (!(error instanceof OciError)) throw error;
          expect(error.status).toBeGreaterThanOrEqual(400);
          expect(error.status).toBeLessThan(500);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
