import { identityVerifier } from '@wharfie/shared';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { describeWith } from '../../e2e/harness/requirements.js';
import { listenOn } from './harness.js';

const bin = fileURLToPath(new URL('../bin/wharfie.js', import.meta.url));
const secret = 'x'.repeat(43);

/** A server that ends with the test. */
async function serving(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${await listenOn(server)}`;
}

const registryOf = (key: string) => {
  const verify = identityVerifier(Buffer.from(key));
  return serving(({ headers }, response) => {
    try {
      verify(headers.authorization?.replace('Bearer ', '') ?? '');
      response.end('{}');
    } catch {
      response.writeHead(401).end();
    }
  });
};

/** A data folder with everything in order, and services that answer as they should. */
async function healthy(key = secret) {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-doctor-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const data = join(folder, 'data');
  await mkdir(data, { mode: 0o700 });
  const file = (name: string) => join(data, name);
  await writeFile(file('htpasswd'), `admin:$2y$10$${'a'.repeat(53)}\n`, { mode: 0o600 });
  await writeFile(file('access.yml'), 'admins: [admin]\n', { mode: 0o600 });
  await writeFile(file('secret'), `${key}\n`, { mode: 0o600 });
  const settings: Record<string, string> = {
    WHARFIE_DATA: data,
    WHARFIE_REGISTRY_LISTEN: await registryOf(key),
    WHARFIE_REGISTRY_ADMIN_LISTEN: await serving((_, response) => response.end('ready\n')),
    WHARFIE_LISTEN: await serving((_, response) =>
      response.writeHead(401, { 'Docker-Distribution-API-Version': 'registry/2.0' }).end(),
    ),
  };
  return { folder, file, settings };
}

function doctor(settings: Record<string, string>): Promise<{ code: number; said: string }> {
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('WHARFIE_'));
  const env = { ...Object.fromEntries(own), ...settings };
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, 'doctor'], { env }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, said: stdout + stderr });
    });
  });
}

describe('wharfie doctor', () => {
  test('finds nothing where everything is in order', async () => {
    const { settings } = await healthy();
    const { code, said } = await doctor(settings);
    expect(said).not.toMatch(/^(warn|bad)/m);
    expect(code).toBe(0);
    for (const about of [
      'settings',
      'data',
      'htpasswd',
      'access.yml',
      'secret',
      'storage',
      'clock',
      'registry',
      'TLS',
      'door',
    ]) {
      expect(said).toMatch(new RegExp(`^ok +${about}`, 'm'));
    }
  });

  test('names what is set, the registry’s settings too', async () => {
    const { settings } = await healthy();
    const { said } = await doctor({ ...settings, WHARFIE_STORAGE: 'memory', WHARFIE_WORKERS: '2' });
    expect(said).toMatch(/^ok +settings: set: WHARFIE_DATA, .*WHARFIE_STORAGE, WHARFIE_WORKERS$/m);
  });

  test('measures a secret in bytes, as both services do', async () => {
    const { settings } = await healthy('ü'.repeat(16));
    const { said } = await doctor(settings);
    expect(said).toMatch(/^ok +secret/m);
    expect(said).toMatch(/^ok +registry/m);
  });

  test.each<[string, (found: Awaited<ReturnType<typeof healthy>>) => unknown, RegExp]>([
    ['a wrong setting', ({ settings }) => (settings['WHARFIE_DRAIN'] = 'x'), /^bad +settings: WHARFIE_DRAIN: must be/m],
    [
      'a wrong setting of the registry',
      ({ settings }) => (settings['WHARFIE_WORKERS'] = 'zero'),
      /^bad +settings: WHARFIE_WORKERS: must be/m,
    ],
    [
      'a data folder that is a file',
      async ({ settings, folder }) => {
        await writeFile(join(folder, 'file'), '');
        settings['WHARFIE_DATA'] = join(folder, 'file');
      },
      /^bad +data: .*\/file is no folder .*; chown -R USER .*\/file, USER being who runs the services, or/m,
    ],
    [
      'a data folder that cannot be made',
      async ({ settings, folder }) => {
        await writeFile(join(folder, 'file'), '');
        settings['WHARFIE_DATA'] = join(folder, 'file', 'data', 'below');
      },
      /^bad +data: .*\/file is no folder .*; make .*\/file\/data\/below and chown -R USER/m,
    ],
    [
      'a policy that is wrong',
      ({ file }) => writeFile(file('access.yml'), 'x: 1'),
      /^bad +access.yml: .*line 1: unknown key/m,
    ],
    [
      'an audit log that cannot be',
      ({ settings }) => (settings['WHARFIE_AUDIT_LOG'] = '/nowhere/audit'),
      /^bad +audit log: \/nowhere\/audit cannot be written \(ENOENT\)/m,
    ],
    [
      'a first password that cannot be',
      async ({ file, settings }) => {
        await rm(file('htpasswd'));
        settings['WHARFIE_ADMIN_PASSWORD'] = 'x'.repeat(73);
      },
      /^bad +first account: WHARFIE_ADMIN_PASSWORD: .*72 bytes/m,
    ],
    ['a short secret', ({ file }) => writeFile(file('secret'), 'x'), /^bad +secret: .*remove it/m],
    [
      'another secret than the registry’s',
      ({ file }) => writeFile(file('secret'), 'y'.repeat(43)),
      /^bad +registry http:.*refuses what this proxy signs.*same WHARFIE_SECRET_FILE/m,
    ],
    [
      'a storage that does not work',
      async ({ settings }) =>
        (settings['WHARFIE_REGISTRY_ADMIN_LISTEN'] = await serving((_, response) =>
          response.writeHead(503).end('the storage does not work: EROFS\n'),
        )),
      /^bad +storage: the storage does not work: EROFS; /m,
    ],
    [
      'a storage that does not work, of a registry that does not run',
      async ({ settings, folder }) => {
        await writeFile(join(folder, 'file'), '');
        settings['WHARFIE_STORAGE_ROOT'] = join(folder, 'file', 'below');
        settings['WHARFIE_REGISTRY_ADMIN_LISTEN'] = '127.0.0.1:1';
      },
      /^bad +storage: .*; check WHARFIE_STORAGE/m,
    ],
    [
      'a door without a registry',
      ({ settings }) => (settings['WHARFIE_REGISTRY_URL'] = 'http://127.0.0.1:1'),
      /^bad +registry: the door runs, and /m,
    ],
    [
      'another service in the door’s place',
      async ({ settings }) => (settings['WHARFIE_LISTEN'] = await serving((_, response) => response.end('hello'))),
      /^bad +door: what answers on .* set WHARFIE_LISTEN/m,
    ],
    [
      'a clock that is wrong',
      async ({ settings }) =>
        (settings['WHARFIE_REGISTRY_LISTEN'] = await serving((_, response) =>
          response.writeHead(401, { Date: new Date(Date.now() - 300_000).toUTCString() }).end(),
        )),
      /^bad +clock: it differs by \d+ s .*NTP/m,
    ],
    [
      'a certificate that cannot be read',
      ({ settings }) => Object.assign(settings, { WHARFIE_TLS_CERT: '/nowhere', WHARFIE_TLS_KEY: '/nowhere' }),
      /^bad +TLS: WHARFIE_TLS_CERT: \/nowhere/m,
    ],
  ])('says how to mend %s, and exits with 1', async (_, spoil, expected) => {
    const found = await healthy();
    await spoil(found);
    const { code, said } = await doctor(found.settings);
    expect(said).toMatch(expected);
    expect(code).toBe(1);
  });

  test.each<[string, (found: Awaited<ReturnType<typeof healthy>>) => unknown, RegExp]>([
    [
      'an unknown setting',
      ({ settings }) => (settings['WHARFIE_DRIAN'] = '1'),
      /^warn +settings: WHARFIE_DRIAN.*WHARFIE_DRAIN/m,
    ],
    [
      'a folder that others may write',
      ({ settings }) => chmod(settings['WHARFIE_DATA'] ?? '', 0o777),
      /^warn +data: .*chmod go-w/m,
    ],
    ['a file that others may read', ({ file }) => chmod(file('htpasswd'), 0o644), /^warn +htpasswd: .*chmod 600/m],
    [
      'a line that logs nobody in',
      ({ file }) => writeFile(file('htpasswd'), 'bob:plain\n', { flag: 'a' }),
      /^warn +htpasswd: .*line 2: bob cannot log in/m,
    ],
    [
      'a rule for nobody',
      ({ file }) => writeFile(file('access.yml'), 'admins: [admin, carol]\n'),
      /^warn +access.yml: .*line 1: no account is called carol/m,
    ],
    [
      'a folder that is not there yet',
      ({ settings }) => (settings['WHARFIE_DATA'] = '/tmp/wharfie-nowhere'),
      /^warn +data: .*first start/m,
    ],
    [
      'a door in the open without TLS',
      ({ settings }) => (settings['WHARFIE_LISTEN'] = '0.0.0.0:1'),
      /^warn +TLS: passwords cross the network.*WHARFIE_TLS_CERT/m,
    ],
    [
      'a door with TLS that is tried without',
      async ({ settings }) => (settings['WHARFIE_LISTEN'] = await serving(({ socket }) => socket.destroy())),
      /^warn +door: something answers on .*, but does not speak HTTP .*; does it speak TLS\?/m,
    ],
    [
      'services that do not run',
      ({ settings }) =>
        Object.assign(settings, { WHARFIE_REGISTRY_LISTEN: '127.0.0.1:1', WHARFIE_LISTEN: '127.0.0.1:1' }),
      /^warn +registry http:\/\/127.0.0.1:1: it does not answer/m,
    ],
    [
      'no secret',
      ({ file }) => rm(file('secret')),
      /^warn +registry http:.*cannot be asked for more without a secret to sign with; see what is said of the secret/m,
    ],
    [
      'a registry that serves anybody',
      async ({ settings }) =>
        (settings['WHARFIE_REGISTRY_LISTEN'] = await serving((_, response) => response.end('{}'))),
      /^warn +registry .*nobody signed; see to it/m,
    ],
  ])('warns of %s', async (_, spoil, expected) => {
    const found = await healthy();
    await spoil(found);
    const { code, said } = await doctor(found.settings);
    expect(said).toMatch(expected);
    expect(said).not.toMatch(/^bad/m);
    expect(code).toBe(0);
  });

  test.each([
    ['one of a kind', 1, /: 1 account$/m, /: 1 rule$/m],
    ['more', 2, /: 2 accounts$/m, /: 2 rules$/m],
  ])('counts %s', async (_, count, accounts, rules) => {
    const { file, settings } = await healthy();
    const names = ['admin', 'bob'].slice(0, count);
    await writeFile(file('htpasswd'), names.map((name) => `${name}:$2y$10$${'a'.repeat(53)}\n`).join(''));
    const rule = (name: string) => `  - repositories: ${name}\n    pull: [${name}]\n`;
    await writeFile(file('access.yml'), `rules:\n${names.map(rule).join('')}`);
    const { said } = await doctor(settings);
    expect(said).toMatch(accounts);
    expect(said).toMatch(rules);
  });

  test('has the registry’s own program try the storage when no registry runs', async () => {
    const { file, settings } = await healthy();
    await mkdir(file('registry'));
    const { said } = await doctor({ ...settings, WHARFIE_REGISTRY_ADMIN_LISTEN: '127.0.0.1:1' });
    expect(said).toMatch(/^ok +storage: a small object was written, read and deleted; no registry runs/m);
  });

  test('makes nothing before the first start, and says what that makes', async () => {
    const { folder, settings } = await healthy();
    const data = join(folder, 'none');
    const { code, said } = await doctor({
      ...settings,
      WHARFIE_DATA: data,
      WHARFIE_REGISTRY_ADMIN_LISTEN: '127.0.0.1:1',
    });
    expect(said).toMatch(/^warn +storage: .*none\/registry does not exist; the first start makes it$/m);
    expect(code).toBe(0);
    expect(existsSync(data)).toBe(false);
  });

  describeWith(['root'], 'run by root', () => {
    test('is content with a file of root that the group of the services reads', async () => {
      const { file, settings } = await healthy();
      await chown(file('htpasswd'), 0, 4243);
      await chmod(file('htpasswd'), 0o640);
      expect((await doctor(settings)).said).toMatch(/^ok +htpasswd: /m);
      await chmod(file('htpasswd'), 0o644);
      expect((await doctor(settings)).said).toMatch(/^warn +htpasswd: .*chmod 600/m);
    });

    test('leaves the storage to its owner', async () => {
      const { folder, file, settings } = await healthy();
      await mkdir(file('registry'));
      for (const path of [folder, join(folder, 'data'), file('registry')]) await chown(path, 4242, 4243);
      const { said } = await doctor({ ...settings, WHARFIE_REGISTRY_ADMIN_LISTEN: '127.0.0.1:1' });
      expect(said).toMatch(/^ok +storage: /m);
      expect(await stat(join(file('registry'), 'wharfie', 'tmp'))).toMatchObject({ uid: 4242, gid: 4243 });

      // As after `chown` without `-R`.
      await mkdir(file('registry/docker/registry/v2/blobs'), { recursive: true });
      const without = await doctor({ ...settings, WHARFIE_REGISTRY_ADMIN_LISTEN: '127.0.0.1:1' });
      expect(without.said).toMatch(/^bad +storage: .*WHARFIE_STORAGE_ROOT: .*EACCES.*blobs'; make it writable/m);
    });
  });
});
