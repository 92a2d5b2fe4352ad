import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { mediaTypes, repositoryAccess } from '@wharfie/shared';
import { MemoryDriver } from '../src/storage/memory.js';
import type { Client, Registry } from './harness.js';
import {
  client,
  errorCode,
  imageManifest,
  pushBlob,
  putManifest,
  sha256,
  sha512,
  startRegistry,
  token,
} from './harness.js';

let registry: Registry;
let call: Client;
beforeAll(async () => {
  registry = await startRegistry();
  call = client(registry, 'a', 'b', 'c', 'refs', 'tags', 'none');
});
afterAll(() => registry.close());

const empty = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}';
interface Listed {
  manifests: { digest: string; artifactType?: string; annotations?: object; size: number; mediaType: string }[];
}
async function referrers(subject: string, query = '', repository = 'refs'): Promise<Listed & { response: Response }> {
  const response = await call('GET', `/v2/${repository}/referrers/${subject}${query}`);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe(mediaTypes.ociIndex);
  return { ...((await response.json()) as Listed), response };
}

/** A connection on which the PUT of a manifest has begun: `rest` follows the first lines of its head. */
function beginPut(rest: string, account?: string): Socket {
  const socket = connect(registry.port, '127.0.0.1').on('error', () => undefined);
  const authorization = token([repositoryAccess('a', 'push')], account);
  socket.write(`PUT /v2/a/manifests/slow HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\n${rest}`);
  return socket;
}

describe('a manifest', () => {
  it('comes back with the type that it was pushed with, also where Go wrote a list without elements', async () => {
    const body = '{"schemaVersion":2,"manifests":null}';
    expect((await putManifest(call, 'a', 'null', body, mediaTypes.ociIndex)).status).toBe(201);
    const got = await call('GET', '/v2/a/manifests/null');
    expect(got.headers.get('content-type')).toBe(mediaTypes.ociIndex);
    for (const other of ['"config":null', '"layers":null']) {
      const both = await putManifest(call, 'a', 'null', body.replace('}', `,${other}}`), mediaTypes.ociIndex);
      expect(both.status).toBe(400);
    }
  });

  it('may have content in base64 that is broken into lines', async () => {
    const config = { mediaType: 'a/b', digest: await pushBlob(call, 'a', '{}'), size: 2, data: 'e3\r\n0=\n' };
    const body = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [] });
    expect((await putManifest(call, 'a', 'lines', body)).status).toBe(201);
  });

  it('may have numbers of any kind where Go wants no whole ones', async () => {
    const body = empty.replace('{', '{"x":[{"size":1},1.5],"y":[{"schemaVersion":2},{"a":2e3}],');
    expect((await putManifest(call, 'a', 'numbers', body, mediaTypes.ociIndex)).status).toBe(201);
  });

  it('comes back byte for byte, by tag and by digest, with its type', async () => {
    const body = (await imageManifest(call, 'a')).replace('{', '{ \n\t"custom": [1, {"x": null}],');
    const put = await putManifest(call, 'a', 'latest', body, `${mediaTypes.ociManifest}; charset=utf-8`);
    const digest = sha256(body);
    expect(put.status).toBe(201);
    expect(put.headers.get('location')).toBe(`/v2/a/manifests/${digest}`);
    expect(put.headers.get('docker-content-digest')).toBe(digest);
    for (const reference of ['latest', digest]) {
      for (const accept of [undefined, '*/*', mediaTypes.dockerManifest, 'application/json']) {
        const got = await call(
          'GET',
          `/v2/a/manifests/${reference}`,
          accept === undefined ? {} : { headers: { accept } },
        );
        expect(got.status).toBe(200);
        expect(await got.text()).toBe(body);
        expect(got.headers.get('content-type')).toBe(mediaTypes.ociManifest);
      }
      const head = await call('HEAD', `/v2/a/manifests/${reference}`);
      expect(head.headers.get('content-length')).toBe(String(body.length));
      expect(head.headers.get('docker-content-digest')).toBe(digest);
      expect(head.headers.get('etag')).toBe(`"${digest}"`);
      const known = await call('GET', `/v2/a/manifests/${reference}`, { headers: { 'if-none-match': `"${digest}"` } });
      expect(known.status).toBe(304);
    }
    expect((await call('GET', `/v2/b/manifests/${digest}`)).status).toBe(404);
  });

  it('can be pushed by digest, sha512 too, with tags beside it', async () => {
    const body = await imageManifest(call, 'a');
    for (const digest of [sha256(body), sha512(body)]) {
      const tags = Array.from({ length: 12 }, (_, index) => `${digest.slice(0, 6)}-${index}`);
      const put = await putManifest(call, 'a', `${digest}?${tags.map((tag) => `tag=${tag}`).join('&')}`, body);
      expect(put.status).toBe(201);
      expect(put.headers.get('docker-content-digest')).toBe(digest);
      expect(put.headers.get('oci-tag')).toBe(tags.join(', '));
      for (const tag of tags) {
        const got = await call('HEAD', `/v2/a/manifests/${tag}`);
        expect(got.headers.get('docker-content-digest')).toBe(digest);
      }
    }
    const many = `${sha256(body)}?${'tag=x&'.repeat(101)}`;
    expect((await putManifest(call, 'a', many, body)).status).toBe(414);
    const wrong = await putManifest(call, 'a', sha256(body), `${body}  `);
    expect([wrong.status, await errorCode(wrong)]).toEqual([400, 'DIGEST_INVALID']);
  });

  it('moves a tag and leaves the old one pullable by digest', async () => {
    const [one, two] = [await imageManifest(call, 'a'), await imageManifest(call, 'a')];
    for (const body of [one, two, two]) expect((await putManifest(call, 'a', 'moving', body)).status).toBe(201);
    expect((await call('HEAD', '/v2/a/manifests/moving')).headers.get('docker-content-digest')).toBe(sha256(two));
    expect((await call('HEAD', `/v2/a/manifests/${sha256(one)}`)).status).toBe(200);
  });

  it('is refused when what it names is missing, one error a digest', async () => {
    const body = await imageManifest(call, 'a');
    const response = await putManifest(call, 'b', 'x', body);
    expect(response.status).toBe(400);
    const { errors } = (await response.json()) as { errors: { code: string; detail: { digest: string } }[] };
    expect(errors).toHaveLength(2);
    expect(
      errors.every(({ code, detail }) => code === 'MANIFEST_BLOB_UNKNOWN' && detail.digest.startsWith('sha256:')),
    ).toBe(true);
    const indexOf = (contents: string[]) =>
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: contents.map((text) => ({ mediaType: mediaTypes.ociManifest, digest: sha256(text), size: 1 })),
      });
    expect((await putManifest(call, 'b', 'x', indexOf([body]), mediaTypes.ociIndex)).status).toBe(400);
    const thousands = indexOf(Array.from({ length: 5000 }, (_, count) => String(count)));
    const many = (await (await putManifest(call, 'b', 'x', thousands, mediaTypes.ociIndex)).json()) as {
      errors: unknown[];
    };
    expect(many.errors.length).toBeLessThan(200);
    expect((await call('GET', '/v2/b/manifests/x')).status).toBe(404);
  });

  it('may be an index of manifests, of blobs (as BuildKit caches), of indexes, or of nothing', async () => {
    const body = await imageManifest(call, 'a');
    await putManifest(call, 'a', sha256(body), body);
    const blob = await pushBlob(call, 'a', 'cache layer');
    const index = (manifests: object[]) =>
      JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
    const image = index([{ mediaType: mediaTypes.ociManifest, digest: sha256(body), size: body.length }]);
    const cache = index([
      { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: blob, size: 11 },
      { mediaType: 'application/vnd.buildkit.cacheconfig.v0', digest: blob, size: 11 },
    ]);
    const nested = index([{ mediaType: mediaTypes.ociIndex, digest: sha256(image), size: image.length }]);
    for (const [tag, content] of Object.entries({ image, cache, nested, empty: index([]) })) {
      expect((await putManifest(call, 'a', tag, content, mediaTypes.ociIndex)).status, tag).toBe(201);
    }
    expect(
      (await putManifest(call, 'a', 'bare', '{"schemaVersion":2,"manifests":[]}', mediaTypes.ociIndex)).status,
    ).toBe(201);
    expect((await call('HEAD', '/v2/a/manifests/bare')).headers.get('content-type')).toBe(mediaTypes.ociIndex);
  });

  it('may be an index of platforms and attestations, as buildx pushes it, or of Windows', async () => {
    const body = await imageManifest(call, 'a');
    await putManifest(call, 'a', sha256(body), body);
    const child = { mediaType: mediaTypes.ociManifest, digest: sha256(body), size: body.length };
    const attests = {
      'vnd.docker.reference.digest': child.digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    };
    const windows = {
      architecture: 'amd64',
      os: 'windows',
      'os.version': '10.0.17763.1339',
      'os.features': ['win32k'],
      features: null,
    };
    const manifests = [
      { ...child, platform: { architecture: 'arm', os: 'linux', variant: 'v7' } },
      { ...child, platform: { architecture: 'unknown', os: 'unknown' }, annotations: attests },
      { ...child, platform: windows },
      { ...child, platform: null, annotations: null },
    ];
    const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
    expect((await putManifest(call, 'a', 'buildx', index, mediaTypes.ociIndex)).status).toBe(201);
  });

  it('may leave layers with their vendor', async () => {
    const body = JSON.parse(await imageManifest(call, 'a')) as { layers: object[] };
    const foreign = {
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
      digest: sha256('never'),
      size: 5,
    };
    const put = (layer: object) =>
      putManifest(call, 'a', 'foreign', JSON.stringify({ ...body, layers: [...body.layers, layer] }));
    expect((await put({ ...foreign, urls: ['https://example.com/layer'] })).status).toBe(201);
    expect((await put(foreign)).status).toBe(400);
    expect((await put({ ...foreign, urls: ['file:///etc/passwd'] })).status).toBe(400);
  });

  it('that is not one is refused with the reason', async () => {
    const good = JSON.parse(await imageManifest(call, 'a')) as Record<string, unknown>;
    const config = good['config'] as object;
    const text = (more: object) => JSON.stringify({ ...good, ...more });
    const child = (platform: object) => ({
      schemaVersion: 2,
      manifests: [{ mediaType: mediaTypes.ociManifest, digest: sha256('x'), size: 1, platform }],
    });
    const cases: [string, string | object, string?][] = [
      ['no JSON', 'nope'],
      ['an array', '[]'],
      ['null', 'null'],
      ['a byte order mark', `\uFEFF${JSON.stringify(good)}`],
      ['deep nesting', '['.repeat(100_000)],
      ['deep nesting that ends', text({ nested: [] }).replace('[]', '['.repeat(200) + ']'.repeat(200))],
      ['a name that stands there twice', text(good).replace('{', '{"config":{},')],
      ['a name that stands there twice, written in two ways', text(good).replace('{', '{"confi\\u0067" : {},')],
      [
        'more names than anything real',
        text(good).replace('{', `{${Array.from({ length: 200_000 }, (_, count) => `"${count}":0,`).join('')}`),
      ],
      ['more objects than anything real', text({ x: Array(200_000).fill({}) })],
      ['a version that is no whole number to Go', text(good).replace(/"schemaVersion":\s*2/, '"schemaVersion":2.0')],
      ['a size that is no whole number to Go', text(good).replace(/"size":\s*\d/, '"size": 1e3, "x":1')],
      ['a name that stands twice in a layer', text(good).replace('"size"', '"size":1,"size"')],
      ['a field that Go takes for another', { ...good, Layers: [] }],
      ['another such, of an index', { ...good, MANIFESTS: [] }],
      ['another such, with letters that are none of ASCII', { ...good, 'layer\u017f': [] }],
      ['such a field in the config', { ...good, config: { ...config, Digest: sha256('x') } }],
      ['no schemaVersion', { ...good, schemaVersion: undefined }],
      ['another schemaVersion', { ...good, schemaVersion: 3 }],
      ['another type inside', good, mediaTypes.dockerManifest],
      ['an unknown type', { ...good, mediaType: 'text/plain' }, 'text/plain'],
      ['index and image at once', { ...good, manifests: [] }],
      ['an index without a list', { schemaVersion: 2 }, mediaTypes.ociIndex],
      ['an index that is called an image', { schemaVersion: 2, manifests: [] }],
      ['an image that is called an index', { ...good, mediaType: undefined }, mediaTypes.ociIndex],
      ['a negative size', { ...good, config: { ...config, size: -1 } }],
      ['a size that is no number', { ...good, config: { ...config, size: '1' } }],
      ['a bad digest', { ...good, config: { ...config, digest: 'sha256:../../x' } }],
      ['annotations of the config that are a list', { ...good, config: { ...config, annotations: ['x'] } }],
      ['annotations of a layer that are no text', { ...good, layers: [{ ...config, annotations: { x: 1 } }] }],
      ['a platform that is a string', { ...good, layers: [{ ...config, platform: 'linux' }] }],
      ['an architecture that is a number', { ...good, config: { ...config, platform: { architecture: 64 } } }],
      ['a version of a system that is one', { ...good, subject: { ...config, platform: { 'os.version': 10 } } }],
      ['features that are no list', child({ os: 'linux', 'os.features': 'x' }), mediaTypes.ociIndex],
      ['features that are no texts', child({ os: 'linux', features: [1] }), mediaTypes.ociIndex],
      ['a field of a platform that Go takes for another', child({ OS: 'linux' }), mediaTypes.ociIndex],
      ['content of a config that is a number', { ...good, config: { ...config, data: 5 } }],
      ['content of a config that is not in base64', { ...good, config: { ...config, data: 'YQ' } }],
      ['a type of artifact that is a number', { ...good, layers: [{ ...config, artifactType: 5 }] }],
      ['a type that is longer than types are', { ...good, artifactType: `text/${'x'.repeat(1000)}` }],
      ['no list where there is no type', { schemaVersion: 2, manifests: null }, ''],
      ['an unknown type of 4 MB', { ...good, mediaType: 'x'.repeat(4_000_000) }, ''],
      ['layers that are no list', { ...good, layers: {} }],
      ['many wrong layers', { ...good, layers: Array(300_000).fill({}) }],
      ['many wrong addresses', { ...good, layers: [{ ...config, urls: Array(500_000).fill('x') }] }],
      ['many wrong annotations', { ...good, annotations: Object.fromEntries(Object.entries(Array(200_000).fill(1))) }],
      ['a docker manifest that does not say so', { ...good, mediaType: undefined }, mediaTypes.dockerManifest],
    ];
    for (const [what, body, type] of cases) {
      const response = await putManifest(
        call,
        'a',
        'bad',
        typeof body === 'string' ? body : JSON.stringify(body),
        type,
      );
      const said = await response.text();
      expect([response.status, said], what).toEqual([400, expect.stringContaining('"code":"MANIFEST_INVALID"')]);
      expect(said.length, what).toBeLessThan(3000);
    }
    for (const type of ['', 'x', ';', 'a/b/c', '"x/y"', 'application/']) {
      const response = await call('PUT', '/v2/a/manifests/bad', { body: 'nope', headers: { 'content-type': type } });
      expect([response.status, await errorCode(response)], type).toEqual([400, 'MANIFEST_INVALID']);
      const upload = await call('POST', '/v2/a/blobs/uploads/', { headers: { 'content-type': type } });
      expect(upload.status, type).toBe(202);
    }
    const invalidUtf8 = await call('PUT', '/v2/a/manifests/bad', { body: Buffer.from([0x7b, 0xff, 0x7d]) });
    expect(invalidUtf8.status).toBe(400);
    for (const type of [
      'application/vnd.docker.distribution.manifest.v1+json',
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ]) {
      const response = await putManifest(call, 'a', 'old', '{"schemaVersion":1}', type);
      expect(response.status).toBe(400);
      expect(await response.text()).toContain('schema 1');
    }
    expect((await call('GET', '/v2/a/manifests/bad')).status).toBe(404);
  });

  it('may say what it likes where names are its own', async () => {
    const annotations = '{"a":"{\\"a\\":1,\\"a\\":2}","A":"\\\\","b":"x\\":","__proto__":"p"}';
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('told of'), size: 3 };
    const manifest = await imageManifest(call, 'refs', { subject, nested: [{ a: 1 }, { a: 1 }, [{ a: [] }]] });
    const body = manifest.replace('{', `{"annotations":${annotations},`);
    expect((await putManifest(call, 'refs', sha256(body), body)).status).toBe(201);
    expect(await (await call('GET', `/v2/refs/referrers/${subject.digest}`)).text()).toContain(annotations);
  });

  it('may have 4 MiB, and not a byte more', async () => {
    const body = (padding: number) =>
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [],
        annotations: { a: 'x'.repeat(padding) },
      });
    const frame = body(0).length;
    const limit = 4 * 1024 * 1024;
    expect((await putManifest(call, 'a', 'large', body(limit - frame), mediaTypes.ociIndex)).status).toBe(201);
    const over = await putManifest(call, 'a', 'large', body(limit - frame + 1), mediaTypes.ociIndex);
    expect([over.status, await errorCode(over)]).toEqual([413, 'SIZE_INVALID']);
  });

  it('of 1 GB is refused after 4 MiB', async () => {
    let sent = 0;
    const endless = new ReadableStream({
      pull: (controller) => {
        sent += 65_536;
        if (sent > 1024 ** 3) controller.close();
        else controller.enqueue(new Uint8Array(65_536));
      },
    });
    const response = await call('PUT', '/v2/a/manifests/huge', { body: endless }).catch(() => undefined);
    if (response) expect(response.status).toBe(413);
    expect(sent).toBeLessThan(256 * 1024 * 1024);
    expect((await call('GET', '/v2/')).status).toBe(200);
  });

  it('whose end does not come is held within bounds', async () => {
    const sockets = Array.from({ length: 40 }, (_, index) => {
      // With and without its length, and in very small pieces.
      const [framing, piece] =
        index < 36
          ? ['Content-Length: 4194304', 'x'.repeat(4_194_303)]
          : ['Transfer-Encoding: chunked', '1\r\nx\r\n'.repeat(1000)];
      return beginPut(`${framing}\r\n\r\n${piece}`);
    });
    const refused = sockets.map((socket) => once(socket, 'data').then(([data]) => String(data)));
    expect(await Promise.race(refused)).toMatch(/^HTTP\/1.1 503 [^]*too many manifests/);
    // Those of others are taken all the same.
    const authorization = token([repositoryAccess('a', 'push')], 'another account');
    const others = { authorization, 'content-type': mediaTypes.ociIndex };
    const other = await call('PUT', '/v2/a/manifests/of-another', { body: empty, headers: others });
    expect(other.status).toBe(201);
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(async () => {
      const body = await imageManifest(call, 'a');
      expect((await putManifest(call, 'a', 'after', body)).status).toBe(201);
    }, 10_000);
  });

  it('whose end does not come is held within bounds over all accounts, too', async () => {
    const sockets = Array.from({ length: 35 }, (_, index) =>
      // Of each of them less than one account may send.
      beginPut(`Content-Length: 4194304\r\n\r\n${'x'.repeat(4_194_303)}`, `account ${index % 5}`),
    );
    const refused = sockets.map((socket) => once(socket, 'data').then(([data]) => String(data)));
    expect(await Promise.race(refused)).toMatch(/^HTTP\/1.1 503 [^]*too many manifests/);
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(async () => {
      const body = await imageManifest(call, 'a');
      expect((await putManifest(call, 'a', 'after', body)).status).toBe(201);
    });
  });

  it('that the storage is slow to take counts until it has', async () => {
    const storage = new MemoryDriver();
    const slow = await startRegistry(storage);
    onTestFinished(() => slow.close());
    let resume: () => void = () => undefined;
    const resumed = new Promise<void>((resolve) => (resume = resolve));
    let waiting = 0;
    storage.putAll = async (...call) => {
      waiting += 1;
      await resumed;
      await MemoryDriver.prototype.putAll.apply(storage, call);
    };
    const body = empty.replace('{', `{"annotations":{"x":"${'x'.repeat(4_000_000)}"},`);
    const put = (tag: string) => putManifest(client(slow, 'a'), 'a', tag, body, mediaTypes.ociIndex);
    const taken = Array.from({ length: 8 }, (_, index) => put(`v${index}`));
    await vi.waitFor(() => {
      expect(waiting).toBe(8);
    }, 10_000);
    expect((await put('more')).status).toBe(503);
    resume();
    for (const { status } of await Promise.all(taken)) expect(status).toBe(201);
    expect((await put('after')).status).toBe(201);
  });

  it('that is refused at once is so too where the client reads only when it has sent everything', async () => {
    // However long that takes here.
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const megabyte = Buffer.alloc(1024 * 1024);
    const socket = beginPut(`Content-Length: ${50 * megabyte.length}\r\n\r\n`).pause();
    for (let sent = 0; sent < 50; sent += 1) if (!socket.write(megabyte)) await once(socket, 'drain');
    expect(await text(socket)).toMatch(/^HTTP\/1.1 413 [^]*SIZE_INVALID/);
  });

  it('is taken while many others have hardly begun', async () => {
    const beginnings = ['Content-Length: 4194304\r\n\r\nx', 'Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n'];
    const sockets = Array.from({ length: 64 }, (_, index) => beginPut(beginnings[index % 2] ?? ''));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    // Each of them has come further than this one.
    const body = await imageManifest(call, 'a');
    expect((await putManifest(call, 'a', 'meanwhile', body)).status).toBe(201);
    for (const socket of sockets) socket.destroy();
  });

  it('is deleted by tag as a tag, by digest with every tag, once', async () => {
    const body = await imageManifest(call, 'c');
    const digest = sha256(body);
    for (const tag of ['one', 'two', 'three']) await putManifest(call, 'c', tag, body);
    await putManifest(call, 'c', 'other', await imageManifest(call, 'c'));
    expect((await call('DELETE', '/v2/c/manifests/one')).status).toBe(202);
    expect((await call('DELETE', '/v2/c/manifests/one')).status).toBe(404);
    expect((await call('HEAD', `/v2/c/manifests/${digest}`)).status).toBe(200);
    expect((await call('DELETE', `/v2/c/manifests/${digest}`)).status).toBe(202);
    for (const reference of ['two', 'three', digest])
      expect((await call('GET', `/v2/c/manifests/${reference}`)).status).toBe(404);
    expect((await call('DELETE', `/v2/c/manifests/${digest}`)).status).toBe(404);
    expect(await (await call('GET', '/v2/c/tags/list')).json()).toEqual({ name: 'c', tags: ['other'] });
  });

  it('written to one tag by 24 at once leaves all of them, and one tag', async () => {
    const bodies = await Promise.all(Array.from({ length: 24 }, () => imageManifest(call, 'a')));
    const results = await Promise.all(bodies.map((body) => putManifest(call, 'a', 'contended', body)));
    expect(results.map(({ status }) => status)).toEqual(Array(24).fill(201));
    const now = (await call('HEAD', '/v2/a/manifests/contended')).headers.get('docker-content-digest');
    expect(bodies.map((body) => sha256(body) as string)).toContain(now);
    for (const body of bodies) expect((await call('HEAD', `/v2/a/manifests/${sha256(body)}`)).status).toBe(200);
  });
});

describe('referrers', () => {
  it('come in pages that clients accept, whatever letters their annotations have', async () => {
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('much is said of it'), size: 3 };
    for (const name of ['one', 'two', 'three']) {
      const annotations = { [name]: 'ü'.repeat(900_000) };
      const manifest = await imageManifest(call, 'refs', { subject, annotations });
      expect((await putManifest(call, 'refs', sha256(manifest), manifest)).status).toBe(201);
    }
    const { response, manifests } = await referrers(subject.digest);
    expect(manifests.length).toBeLessThan(3);
    expect(response.headers.get('link')).toContain('rel="next"');
  });

  it('come without annotations where those alone are more than clients accept', async () => {
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('too much is said of it'), size: 3 };
    const annotations = { all: 'x'.repeat(4_190_000) };
    const manifest = await imageManifest(call, 'refs', { subject, annotations });
    expect((await putManifest(call, 'refs', sha256(manifest), manifest)).status).toBe(201);
    const { manifests } = await referrers(subject.digest);
    expect(manifests).toHaveLength(1);
    expect(manifests[0]).not.toHaveProperty('annotations');
  });

  it('are an empty index for what nobody knows, and 400 for what is no digest', async () => {
    const { response } = await referrers(sha256('x'), '', 'none');
    expect(await (await call('GET', response.url.replace(registry.url, ''))).text()).toBe(empty);
    expect((await call('GET', '/v2/refs/referrers/sha256:bad')).status).toBe(400);
  });

  it('are listed with type and annotations, filtered, and forgotten when deleted', async () => {
    const image = await imageManifest(call, 'refs');
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256(image), size: image.length };
    const annotations = { 'org.example.note': 'signed' };
    const artifact = await imageManifest(call, 'refs', {
      subject,
      artifactType: 'application/vnd.example+json',
      annotations,
    });
    const plain = await imageManifest(call, 'refs', { subject });
    const index = JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [], subject });
    // The subject is still missing: it is accepted all the same.
    for (const [body, type] of [[artifact], [plain], [index, mediaTypes.ociIndex]] as const) {
      const put = await putManifest(call, 'refs', sha256(body), body, type);
      expect([put.status, put.headers.get('oci-subject')]).toEqual([201, subject.digest]);
    }
    const { manifests } = await referrers(subject.digest);
    expect(manifests).toEqual(
      [
        {
          mediaType: mediaTypes.ociManifest,
          digest: sha256(artifact),
          size: artifact.length,
          artifactType: 'application/vnd.example+json',
          annotations,
        },
        {
          mediaType: mediaTypes.ociManifest,
          digest: sha256(plain),
          size: plain.length,
          artifactType: 'application/vnd.oci.image.config.v1+json',
        },
        { mediaType: mediaTypes.ociIndex, digest: sha256(index), size: index.length },
      ].sort((one, two) => (one.digest < two.digest ? -1 : 1)),
    );
    for (const query of ['application/vnd.example%2Bjson', 'application/vnd.example+json']) {
      const filtered = await referrers(subject.digest, `?artifactType=${query}`);
      expect(filtered.manifests.map(({ digest }) => digest)).toEqual([sha256(artifact)]);
      expect(filtered.response.headers.get('oci-filters-applied')).toBe('artifactType');
    }
    await call('DELETE', `/v2/refs/manifests/${sha256(artifact)}`);
    expect((await referrers(subject.digest)).manifests).toHaveLength(2);
  });

  it('pushed at once by 20 are all listed, in pages too', async () => {
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('a subject that never comes'), size: 3 };
    const bodies = await Promise.all(Array.from({ length: 20 }, () => imageManifest(call, 'refs', { subject })));
    await Promise.all(bodies.map((body) => putManifest(call, 'refs', sha256(body), body)));
    const seen: string[] = [];
    let next: string | undefined = `/v2/refs/referrers/${subject.digest}?n=7`;
    while (next !== undefined) {
      const response: Response = await call('GET', next);
      seen.push(...((await response.json()) as Listed).manifests.map(({ digest }) => digest));
      next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
    }
    expect(seen).toEqual(bodies.map((body) => sha256(body) as string).sort());
  });

  it('that clients listed under the tag of the fallback schema are shown too', async () => {
    const subject = { mediaType: mediaTypes.ociManifest, digest: sha256('older subject'), size: 3 };
    const listed = await imageManifest(call, 'refs', { subject });
    const unrelated = await imageManifest(call, 'refs');
    for (const body of [listed, unrelated]) await putManifest(call, 'refs', sha256(body), body);
    // As it lies where distribution, which knows no referrers, stored it.
    const [algorithm, hex] = subject.digest.split(':');
    await registry.storage.delete(
      `docker/registry/v2/repositories/refs/_referrers/${algorithm}/${hex}`,
      new AbortController().signal,
    );
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociIndex,
      manifests: [listed, unrelated].map((body) => ({
        mediaType: mediaTypes.ociManifest,
        digest: sha256(body),
        size: body.length,
      })),
    });
    expect((await referrers(subject.digest)).manifests).toEqual([]);
    await putManifest(call, 'refs', `${algorithm}-${hex}`, index, mediaTypes.ociIndex);
    expect((await referrers(subject.digest)).manifests.map(({ digest }) => digest)).toEqual([sha256(listed)]);
  });
});

describe('lists', () => {
  it('of tags are in byte order, and exact at every edge', async () => {
    const tags = ['1', '1-0', '1.0', '1.0.0', '10', 'A', '_', 'a', 'aa', 'b'];
    const body = await imageManifest(call, 'tags');
    for (const tag of tags.toReversed()) await putManifest(call, 'tags', tag, body);
    const list = async (query: string) => {
      const response = await call('GET', `/v2/tags/tags/list${query}`);
      expect(response.status).toBe(200);
      return { ...((await response.json()) as { tags: string[] }), link: response.headers.get('link') };
    };
    expect(await list('')).toEqual({ name: 'tags', tags, link: null });
    expect(await list('?n=0')).toMatchObject({ tags: [], link: null });
    expect(await list(`?n=${tags.length}`)).toMatchObject({ tags, link: null });
    expect(await list('?n=3')).toMatchObject({
      tags: tags.slice(0, 3),
      link: '</v2/tags/tags/list?n=3&last=1.0>; rel="next"',
    });
    expect(await list('?n=2&last=1.0')).toMatchObject({ tags: ['1.0.0', '10'] });
    expect(await list('?last=9')).toMatchObject({ tags: tags.slice(5), link: null });
    expect(await list('?n=5&last=b')).toMatchObject({ tags: [], link: null });
    expect(await list('?n=10000000000')).toMatchObject({ tags });
    for (const n of ['-1', 'abc', '1.5', '']) {
      const response = await call('GET', `/v2/tags/tags/list?n=${n}`);
      expect([response.status, await errorCode(response)], n).toEqual([400, 'PAGINATION_NUMBER_INVALID']);
    }
    const unknown = await call('GET', '/v2/none/tags/list');
    expect([unknown.status, await errorCode(unknown)]).toEqual([404, 'NAME_UNKNOWN']);
    for (const tag of tags) await call('DELETE', `/v2/tags/manifests/${tag}`);
    expect(await list('')).toMatchObject({ tags: [] });
  });

  it('of repositories are in byte order of the whole names, each once, however they are paged', async () => {
    const names = [
      'a',
      'a-b',
      'a.b',
      'a/b',
      'a/b/c',
      'a/b-c',
      'a0',
      'ab',
      'ab/c',
      'b',
      'x/y/z',
      'a--b/c',
      'a.b/c',
      'blobs/uploads',
    ].toSorted();
    const fresh = await startRegistry();
    const push = client(fresh, ...names, 'pushed/nothing');
    for (const name of names)
      await putManifest(push, name, 'x', '{"schemaVersion":2,"manifests":[]}', mediaTypes.ociIndex);
    await pushBlob(push, 'pushed/nothing', 'a push that was given up');
    const whole = await push('GET', '/v2/_catalog');
    expect(await whole.json()).toEqual({ repositories: names });
    for (let size = 1; size <= names.length; size += 1) {
      const seen: string[] = [];
      let next: string | undefined = `/v2/_catalog?n=${size}`;
      while (next !== undefined) {
        const response: Response = await push('GET', next);
        const page = ((await response.json()) as { repositories: string[] }).repositories;
        expect(page.length).toBeLessThanOrEqual(size);
        expect(page.length).toBeGreaterThan(0);
        seen.push(...page);
        next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1];
      }
      expect(seen, `pages of ${size}`).toEqual(names);
    }
    for (const last of [
      '',
      'a',
      'a-',
      'a-b',
      'a.',
      'a/',
      'a/b',
      'a/b-c/d',
      'a/zz',
      'a0',
      'a00',
      'zz',
      'a!',
      'a b',
      'a/b,',
    ]) {
      const response = await push('GET', `/v2/_catalog?last=${encodeURIComponent(last)}`);
      expect(await response.json(), last).toEqual({ repositories: names.filter((name) => name > last) });
    }
    expect(await (await push('GET', '/v2/_catalog?n=0')).json()).toEqual({ repositories: [] });
    for (const last of ['.', '..', '../x', 'a/../b', 'a\0', 'a\\b', '.-.', 'x'.repeat(300)])
      expect((await push('GET', `/v2/_catalog?last=${encodeURIComponent(last)}`)).status, last).toBe(200);
    await fresh.close();
  });
});

describe('the registry’s own port', () => {
  it('answers nothing without a token that the proxy signed for just this', async () => {
    const pull = repositoryAccess('a', 'pull');
    const attempts: [string, string, string | undefined, number][] = [
      ['GET', '/v2/', undefined, 401],
      ['GET', '/v2/', 'Bearer x.y.z', 401],
      ['GET', '/v2/', `Basic ${Buffer.from('admin:admin').toString('base64')}`, 401],
      ['GET', '/nothing', undefined, 401],
      ['GET', '/nothing', token([]), 404],
      ['GET', '/v2/', token([]), 200],
      ['GET', '/v2/a/tags/list', token([pull]), 200],
      ['GET', '/v2/b/tags/list', token([pull]), 403],
      ['POST', '/v2/a/blobs/uploads/', token([pull]), 403],
      ['DELETE', '/v2/a/manifests/x', token([pull]), 403],
      ['GET', '/v2/_catalog', token([pull]), 403],
      ['OPTIONS', '/v2/a/tags/list', token([pull]), 405],
    ];
    for (const [method, path, authorization, status] of attempts) {
      const response = await fetch(registry.url + path, {
        method,
        ...(authorization ? { headers: { authorization } } : {}),
      });
      expect(response.status, `${method} ${path}`).toBe(status);
      if (status >= 400) expect(response.headers.get('content-type')).toBe('application/json');
      if (status === 405) expect(response.headers.get('allow')).toBe('GET');
    }
  });
});
