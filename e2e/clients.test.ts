import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { tools, type Client } from './harness/clients.js';
import { writeLayout } from './harness/oci-layout.js';
import { describeWith } from './harness/requirements.js';
import { must } from './harness/run.js';
import { Wharfie } from './harness/wharfie.js';

const rules = (whoever: '$authenticated' | '$anonymous') => `admins: [admin]
rules:
  - repositories: "team/**"
    push: [bob]
  - repositories: "elsewhere/**"
    pull: [bob]
  - repositories: "public/**"
    pull: [${whoever}]
`;

// docs/clients.md has what is held here as a table.
describe.each(tools)('$name', (tool) => {
  describeWith([...tool.needs, 'skopeo'], 'as a client', () => {
    let wharfie: Wharfie;
    let client: Client;
    beforeAll(async () => {
      [wharfie, client] = await Promise.all([Wharfie.start(), tool.start()]);
      await wharfie.addUser('bob', 'bobs: password');
      const folder = await mkdtemp(join(tmpdir(), 'wharfie-seed-'));
      await writeLayout(folder, ['amd64']);
      const credentials = `--dest-creds=admin:${wharfie.password}`;
      const copy = ['--insecure-policy', 'copy', '--dest-tls-verify=false', credentials, `oci:${folder}:latest`];
      for (const name of ['public/base:1', 'secret/base:1']) await must('skopeo', [...copy, `docker://${image(name)}`]);
      await rm(folder, { recursive: true });
    });
    afterAll(async () => {
      await Promise.all([client.dispose(), wharfie.dispose()]);
    });
    const image = (name: string) => `${wharfie.address}/${name}`;
    const loginAs = async (user: string, password: string) => {
      client.use?.(`${user}:${password}`);
      return client.login?.(wharfie.address, user, password);
    };
    const logout = async () => {
      client.use?.(undefined);
      await client.logout?.(wharfie.address);
    };
    /** What the door was asked while `act` went on. */
    const requestsOf = async (act: () => Promise<void>) => {
      const before = (await wharfie.requests('proxy')).length;
      await act();
      return (await wharfie.requests('proxy')).slice(before);
    };
    const uploads = (requests: Record<string, unknown>[]) =>
      requests.filter(({ method, kind }) => method === 'POST' && kind === 'uploads');

    describe.each([
      { when: 'while something is open to strangers', open: true },
      { when: 'while nothing is', open: false },
    ])('$when', ({ open }) => {
      const tag = open ? '1' : '2';
      beforeAll(() => wharfie.writeAccess(rules(open ? '$anonymous' : '$authenticated')));

      describe('with an account', () => {
        beforeEach(async () => {
          const login = await loginAs('bob', 'bobs: password');
          expect(login?.code ?? 0, login?.stderr).toBe(0);
        });

        it('pushes where it may, pulls, and mounts what it pushed', async () => {
          const pushed = await client.push(image(`team/app:${tag}`));
          expect(pushed.code, pushed.stderr).toBe(0);
          const pulled = await client.pull(image(`team/app:${tag}`));
          expect(pulled.code, pulled.stderr).toBe(0);
          const requests = await requestsOf(async () => {
            const again = await client.push(image(`team/other${tag}:1`));
            expect(again.code, again.stderr).toBe(0);
          });
          const mounts = uploads(requests).filter(({ status }) => status === 201);
          expect(mounts.length).toBeGreaterThanOrEqual(3);
        });

        it('is told at once what it may not', async () => {
          const requests = await requestsOf(async () => {
            const refused = await client.push(image('elsewhere/app:1'));
            expect(refused.code).not.toBe(0);
            // containerd's shows the status alone.
            const reason = tool.name === 'containerd' ? '403 Forbidden' : 'bob may not push to elsewhere/app';
            expect(refused.stderr).toContain(reason);
          });
          expect(uploads(requests).length).toBeLessThanOrEqual(12);
          expect(uploads(requests).every(({ status }) => status === 403)).toBe(true);
          expect((await client.pull(image('secret/base:1'))).code).not.toBe(0);
        });
      });

      it('is not let in with a wrong password', async () => {
        await logout();
        const login = await loginAs('bob', 'wrong');
        expect(login?.code ?? 1).not.toBe(0);
        if (login) expect(login.stderr).toMatch(/unauthorized|401|invalid username\/password/i);
        expect((await client.push(image('team/app:3'))).code).not.toBe(0);
        expect((await client.pull(image(`team/app:${tag}`))).code).not.toBe(0);
      });

      it(open ? 'pulls without an account what is open, and no more' : 'pulls nothing without an account', async () => {
        await logout();
        const pulled = await client.pull(image('public/base:1'));
        expect(pulled.code === 0, pulled.stderr).toBe(open);
        expect((await client.pull(image('secret/base:1'))).code).not.toBe(0);
        const requests = await requestsOf(async () => {
          expect((await client.push(image('public/app:1'))).code).not.toBe(0);
        });
        // Nobody tries for a minute whether the answer changes.
        expect(requests.length).toBeLessThanOrEqual(40);
      });
    });

    it('meets no error of the services', async () => {
      const requests = [...(await wharfie.requests('proxy')), ...(await wharfie.requests('registry'))];
      const statuses = requests.map(({ status }) => status);
      expect(statuses.filter((status) => (status as number) >= 500)).toEqual([]);
    });
  });
});
