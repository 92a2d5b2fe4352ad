import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tools, type Client } from './harness/clients.js';
import { Distribution } from './harness/distribution.js';
import { digestOf, expectStatus, pullImage, pushBlob, pushImage, type Call } from './harness/images.js';
import { describeWith } from './harness/requirements.js';
import { Wharfie } from './harness/wharfie.js';

const access = `admins: [admin]
rules:
  - repositories: "team/**"
    push: [bob]
  - repositories: "elsewhere/**"
    pull: [bob]
  - repositories: "public/**"
    pull: [$anonymous]
    push: [bob]
`;

// Debian's docker-registry, which asks nobody for anything: what may be done is for the door alone to say.
describeWith(['distribution'], 'before a registry that is not ours', () => {
  let root: string;
  let registry: Distribution;
  let wharfie: Wharfie;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'wharfie-foreign-'));
    registry = await Distribution.start(`filesystem: {rootdirectory: ${root}}`);
    wharfie = await Wharfie.start({ env: { WHARFIE_REGISTRY_URL: `http://${registry.address}` } });
    await wharfie.addUser('bob', 'bobs password');
    await wharfie.writeAccess(access);
  });
  afterAll(async () => {
    await wharfie.dispose();
    await registry.stop();
    await rm(root, { recursive: true });
  });
  const bob = { user: 'bob', password: 'bobs password' };
  const asAdmin = (method: string, path: string, init: RequestInit = {}) => wharfie.fetch(path, { method, ...init });
  const token = async (scope: string, who: RequestInit & { user?: string; password?: string }) => {
    const response = await expectStatus(await wharfie.fetch(`/token?scope=${scope}`, who), 200);
    return { authorization: `Bearer ${((await response.json()) as { token: string }).token}` };
  };

  it('has the same accounts, rights and tokens', async () => {
    await pushImage(asAdmin, 'public/app', '1');
    await pushImage(asAdmin, 'secret/app', '1');
    expect(await wharfie.requests('registry')).toEqual([]);
    const nobody = await token('repository:public/app:pull', { headers: { authorization: 'Basic Og==' } });
    const asNobody: Call = (method, path, init) =>
      wharfie.fetch(path, { method, ...init, headers: { ...(init?.headers as Record<string, string>), ...nobody } });
    await pullImage(asNobody, 'public/app', '1');
    expect((await wharfie.fetch('/v2/secret/app/manifests/1', { headers: nobody })).status).toBe(401);
    expect((await wharfie.fetch('/v2/secret/app/manifests/1', bob)).status).toBe(403);
    expect((await wharfie.fetch('/v2/', { ...bob, password: 'wrong' })).status).toBe(401);
  });

  it('shows each what they may pull', async () => {
    const response = await wharfie.fetch('/v2/_catalog', bob);
    expect(await response.json()).toEqual({ repositories: ['public/app'] });
    expect(await (await asAdmin('GET', '/v2/_catalog')).json()).toEqual({ repositories: ['public/app', 'secret/app'] });
  });

  it('mounts nothing from where the asker may not pull, however that is asked for', async () => {
    const content = Buffer.from('a secret layer');
    const digest = await pushBlob(asAdmin, 'secret/app', content);
    expect(digest).toBe(digestOf(content));
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const path = '/v2/team/app/blobs/uploads/';
    const asked = `mount=${digest}&from=secret/app`;
    const tried = await Promise.all([
      wharfie.fetch(`${path}?${asked}`, { ...bob, method: 'POST' }),
      wharfie.fetch(`${path}?mount=${digest}&from=%zz&from=secret/app`, { ...bob, method: 'POST' }),
      wharfie.fetch(path, { ...bob, method: 'POST', headers: form, body: asked }),
      wharfie.fetch(`${path}?mount=${digest}&from=public/app`, { ...bob, method: 'POST', headers: form, body: asked }),
    ]);
    for (const response of tried) {
      expect(response.status).toBe(202);
      expect(response.headers.get('location')).toMatch(/^\/v2\/team\/app\/blobs\/uploads\//);
    }
    expect((await wharfie.fetch(`/v2/team/app/blobs/${digest}`, bob)).status).toBe(404);
    const allowed = await wharfie.fetch(`/v2/team/app/blobs/uploads/?${asked}`, { method: 'POST' });
    expect(allowed.status).toBe(201);
  });

  for (const tool of tools.filter(({ name }) => name === 'Docker' || name === 'skopeo')) {
    describeWith([...tool.needs, 'distribution'], tool.name, () => {
      let client: Client;
      beforeAll(async () => {
        client = await tool.start();
      });
      afterAll(() => client.dispose());
      const image = (name: string) => `${wharfie.address}/${name}`;

      it('logs in, pushes, pulls and mounts; is refused; pulls without an account', async () => {
        expect((await client.login?.(wharfie.address, 'bob', 'wrong'))?.code).not.toBe(0);
        expect((await client.login?.(wharfie.address, 'bob', 'bobs password'))?.code).toBe(0);
        for (const name of ['public/client:1', 'team/two:1']) {
          const pushed = await client.push(image(name));
          expect(pushed.code, pushed.stderr).toBe(0);
        }
        expect(
          (await wharfie.requests('proxy')).filter(({ kind, status }) => kind === 'uploads' && status === 201).length,
        ).toBeGreaterThan(2);
        expect((await client.pull(image('team/two:1'))).code).toBe(0);
        expect((await client.push(image('elsewhere/app:1'))).stderr).toContain('bob may not push to elsewhere/app');
        await client.logout?.(wharfie.address);
        expect((await client.pull(image('team/two:1'))).code).not.toBe(0);
        const pulled = await client.pull(image('public/client:1'));
        expect(pulled.code, pulled.stderr).toBe(0);
        expect((await client.push(image('public/client:1'))).code).not.toBe(0);
      });
    });
  }

  describe('a token', () => {
    it('ends with the account, and no other of the registry’s answers is changed', async () => {
      const headers = await token('repository:team/app:pull', bob);
      const missing = await wharfie.fetch('/v2/team/app/manifests/none', { headers });
      expect(missing.status).toBe(404);
      expect(await missing.json()).toMatchObject({ errors: [{ code: 'MANIFEST_UNKNOWN' }] });
      expect((await wharfie.cli(['users', 'remove', 'bob'])).code).toBe(0);
      await wharfie.waitFor(async () => (await wharfie.fetch('/v2/team/app/tags/list', { headers })).status === 401);
    });
  });
});
