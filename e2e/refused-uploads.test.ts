import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Engine } from './docker/engine.js';
import { describeWith } from './harness/requirements.js';
import { run } from './harness/run.js';
import { Wharfie } from './harness/wharfie.js';

const layerSize = 64 * 1024 * 1024;

/** A registry that lets every upload begin and refuses its bytes by the head alone, reading none of them. */
function refusingRegistry(answer: { status: number; code: string; message: string }): Server {
  return createServer((request, response) => {
    const { method = '', url = '' } = request;
    if (url === '/v2/') response.end('{}');
    else if (method === 'POST') {
      const repository = /^\/v2\/(.*)\/blobs\/uploads\//.exec(url)?.[1] ?? '';
      const headers = {
        Location: `/v2/${repository}/blobs/uploads/${randomUUID()}`,
        Range: '0-0',
        'Content-Length': 0,
      };
      response.writeHead(202, headers).end();
    } else if (method === 'PATCH' || method === 'PUT') {
      const body = JSON.stringify({ errors: [{ code: answer.code, message: answer.message, detail: {} }] });
      const headers = { 'Content-Type': 'application/json', 'Content-Length': body.length, Connection: 'close' };
      response.writeHead(answer.status, headers).end(body);
    } else response.writeHead(404, { 'Content-Type': 'application/json' }).end('{"errors":[]}');
  });
}

describeWith(['root', 'docker', 'skopeo', 'curl'], 'an upload that is refused while it is sent', () => {
  let folder: string;
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.start();
    folder = await mkdtemp(join(tmpdir(), 'wharfie-refused-'));
    await writeFile(join(folder, 'layer'), randomBytes(layerSize));
    await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY layer /layer\n');
    await engine.must(['build', '--quiet', '--tag', 'app', folder]);
    await engine.must(['save', '--output', join(folder, 'app.tar'), 'app']);
  });
  afterAll(async () => {
    await engine.stop();
    await rm(folder, { recursive: true });
  });

  describe.each([
    { status: 403, code: 'DENIED', message: 'no more today: the quota of team is used up' },
    { status: 404, code: 'BLOB_UPLOAD_UNKNOWN', message: 'this upload was cancelled by somebody' },
    { status: 413, code: 'SIZE_INVALID', message: 'this registry takes layers of a megabyte only' },
  ])('by the registry with $status', (answer) => {
    let registry: Server;
    let wharfie: Wharfie;
    beforeAll(async () => {
      registry = refusingRegistry(answer).listen(0, '127.0.0.1');
      await once(registry, 'listening');
      const { port } = registry.address() as AddressInfo;
      wharfie = await Wharfie.start({ env: { WHARFIE_REGISTRY_URL: `http://127.0.0.1:${port}` } });
    });
    afterAll(async () => {
      await wharfie.dispose();
      registry.closeAllConnections();
      registry.close();
    });

    // At a 404 the engine says `blob upload unknown` in its own words, after 50 seconds of trying again.
    const showsWhy = async () => {
      const image = `${wharfie.address}/team/app:1`;
      await engine.login(wharfie.address, 'admin', wharfie.password);
      await engine.must(['tag', 'app', image]);
      const { code, stdout, stderr } = await engine.docker(['push', image]);
      expect(code).toBe(1);
      expect(stdout + stderr).toContain(answer.message);
    };
    if (answer.status !== 404) it('shows Docker’s user why', showsWhy);

    it('shows skopeo’s user why', async () => {
      const options = ['--dest-tls-verify=false', `--dest-creds=admin:${wharfie.password}`, '--insecure-policy'];
      const { code, stderr } = await run('skopeo', [
        ...['copy', ...options, `docker-archive:${folder}/app.tar`, `docker://${wharfie.address}/team/app:1`],
      ]);
      expect(code).toBe(1);
      expect(stderr).toContain(answer.message);
    });

    it.each([
      ['with a length', []],
      ['in chunks', ['--header', 'Transfer-Encoding: chunked']],
      ['without waiting for 100-continue', ['--header', 'Expect:']],
    ])('tells curl, which sends %s', async (_, more) => {
      const { stdout, stderr } = await upload(wharfie, ['--user', `admin:${wharfie.password}`, ...more]);
      expect(stdout, stderr).toContain(answer.message);
      expect(stdout).toMatch(new RegExp(`\n${answer.status}$`));
    });
  });

  describe('by the door', () => {
    let wharfie: Wharfie;
    beforeAll(async () => {
      wharfie = await Wharfie.start();
      await wharfie.addUser('eve', 'eves password');
    });
    afterAll(() => wharfie.dispose());

    it.each([
      ['401', 'who has no account', [], 'must log in'],
      ['401', 'with a wrong password', ['--user', 'eve:wrong'], 'the password is wrong'],
      ['403', 'who may not push', ['--user', 'eve:eves password'], 'eve may not push to team/app'],
    ])('tells curl with %s %s', async (status, _, credentials, message) => {
      for (const more of [[], ['--header', 'Transfer-Encoding: chunked'], ['--header', 'Expect:']]) {
        const { stdout, stderr } = await upload(wharfie, [...credentials, ...more]);
        expect(stdout, stderr).toContain(message);
        expect(stdout.split('\n').at(-1)).toBe(status);
      }
      // Whoever asked for 100-continue got the refusal instead, and sent nothing.
      expect((await wharfie.requests('registry')).filter(({ method }) => method === 'PUT')).toEqual([]);
    });
  });

  function upload({ address }: Wharfie, more: readonly string[]) {
    const url = `http://${address}/v2/team/app/blobs/uploads/${randomUUID()}`;
    const body = ['--request', 'PUT', '--upload-file', join(folder, 'layer')];
    return run('curl', ['--silent', '--show-error', ...body, '--write-out', '\n%{http_code}', ...more, url]);
  }
});
