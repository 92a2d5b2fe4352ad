import { createServer } from 'node:net';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { must } from './harness/run.js';
import { Wharfie, projectRoot } from './harness/wharfie.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'wharfie-start-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('npm start', () => {
  it('makes what is missing, prints the password once and what to type next', async () => {
    const data = join(folder, 'first');
    const first = await Wharfie.start({ data });
    expect(first.stdout.match(/^password: \S+$/gm)).toHaveLength(1);
    const commands = first.stdout.split('\n').filter((line) => /^\s*docker (login|tag|push)\b/.test(line));
    expect(commands).toHaveLength(3);
    expect(commands.every((line) => line.includes(first.address))).toBe(true);
    expect((await readdir(data)).sort()).toEqual(['access.yml', 'htpasswd', 'registry', 'secret']);
    for (const name of ['secret', 'htpasswd', 'access.yml'])
      expect((await stat(join(data, name))).mode & 0o777, name).toBe(0o600);
    expect((await stat(data)).mode & 0o777).toBe(0o700);
    expect((await first.fetch('/v2/')).status).toBe(200);
    const { password } = first;
    expect(await first.stop('SIGTERM')).toBe(0);
    expect(first.survivors()).toEqual([]);

    const second = await Wharfie.start({ data });
    expect(second.stdout).not.toContain('password:');
    expect((await second.fetch('/v2/', { password })).status).toBe(200);
    // Below npm one Ctrl-C comes twice.
    second.process.kill('SIGINT');
    setTimeout(() => second.process.kill('SIGINT'), 20);
    expect(await second.ended()).toBe(0);
    expect(second.survivors()).toEqual([]);
  });

  it('ends with one line that says what to do, and leaves nothing half-started', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    await writeFile(join(folder, 'file'), 'in place of a folder');
    const cases: [string, Record<string, string>, RegExp][] = [
      ['the door', { WHARFIE_LISTEN: `127.0.0.1:${port}` }, /WHARFIE_LISTEN.*in use/],
      ['the registry', { WHARFIE_REGISTRY_LISTEN: `127.0.0.1:${port}` }, /WHARFIE_REGISTRY_LISTEN.*in use/],
      ['the proxy’s health', { WHARFIE_ADMIN_LISTEN: `127.0.0.1:${port}` }, /WHARFIE_ADMIN_LISTEN.*in use/],
      [
        'the registry’s health',
        { WHARFIE_REGISTRY_ADMIN_LISTEN: `127.0.0.1:${port}` },
        /WHARFIE_REGISTRY_ADMIN_LISTEN.*in use/,
      ],
      ['the folder', { WHARFIE_DATA: join(folder, 'file', 'data') }, /WHARFIE_(DATA|SECRET_FILE).*\/file\//],
      ['a number', { WHARFIE_WORKERS: 'many' }, /WHARFIE_WORKERS.*whole number/],
      ['a word', { WHARFIE_STORAGE: 'tape' }, /WHARFIE_STORAGE.*filesystem/],
      ['an address', { WHARFIE_LISTEN: 'here' }, /WHARFIE_LISTEN.*HOST:PORT/],
    ];
    for (const [what, env, expected] of cases) {
      const data = join(folder, `failed ${what}`);
      const wharfie = await Wharfie.spawn({ data, env });
      expect(await wharfie.ended(), what).not.toBe(0);
      const lines = wharfie.stderr.split('\n').filter((line) => line !== '');
      expect(lines, what).toHaveLength(1);
      expect(lines[0], what).toMatch(expected);
      expect(wharfie.survivors(), what).toEqual([]);
      expect(wharfie.stdout, what).not.toContain('password:');
      await rm(data, { recursive: true, force: true });
    }
    taken.close();
  });

  it('kills a service that does not end, and says so', async () => {
    const wharfie = await Wharfie.start({ env: { WHARFIE_DRAIN: '1' } });
    process.kill(wharfie.pid('registry'), 'SIGSTOP');
    expect(await wharfie.stop()).toBe(1);
    expect(wharfie.stderr).toContain('the registry does not end; killing it');
    expect(wharfie.survivors()).toEqual([]);
    await wharfie.dispose();
  });

  it('lets requests under way end when it is told to stop', async () => {
    const wharfie = await Wharfie.start();
    const begun = await wharfie.fetch('/v2/slow/app/blobs/uploads/', { method: 'POST' });
    let end: () => void = () => undefined;
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(new Uint8Array(100_000));
        end = () => {
          controller.enqueue(new Uint8Array(100_000));
          controller.close();
        };
      },
    });
    const answer = wharfie.fetch(begun.headers.get('location') ?? '', {
      method: 'PATCH',
      body,
      duplex: 'half',
    });
    // It has arrived when the upload is claimed by its writer.
    const uploads = join(wharfie.data, 'registry', 'wharfie', 'uploads');
    await wharfie.waitFor(async () =>
      (await readdir(uploads, { recursive: true })).some((name) => /\/0\.data\./.test(name)),
    );
    const stopped = wharfie.stop();
    await wharfie.said(/stopping/);
    end();
    expect((await answer).status).toBe(202);
    expect(await stopped).toBe(0);
    await wharfie.dispose();
  });
});

// Installs from the package registry, so only where everything is asked for.
describe.skipIf(process.env['WHARFIE_E2E'] !== 'all')(
  'npm start on a fresh clone (needs the network: npm run e2e)',
  () => {
    it('installs, builds and serves', async () => {
      const clone = join(folder, 'clone');
      await must('git', ['clone', '--quiet', projectRoot, clone]);
      const wharfie = await Wharfie.start({ root: clone });
      expect(wharfie.stdout).toMatch(/installing/);
      expect((await wharfie.fetch('/v2/')).status).toBe(200);
      expect(await wharfie.stop()).toBe(0);
      await wharfie.dispose();
    }, 300_000);
  },
);
