import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { freePort } from '../../e2e/harness/free-port.mjs';
import { ask, deferred, listenOn } from './harness.js';

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
const script = fileURLToPath(new URL('../../scripts/start.mjs', import.meta.url));
/** Of a password that nobody knows. */
const hash = `$2y$10$${'a'.repeat(53)}`;

interface Running {
  child: ChildProcess;
  stdout: () => string;
  stderr: () => string;
  /** What it said once it was ready; undefined when it ended before. */
  ready: Promise<{ ready: boolean; url: string; user?: string } | undefined>;
  ended: Promise<number | null>;
  /** Resolves when `pattern` stands in what it printed. */
  prints: (pattern: RegExp) => Promise<void>;
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Addresses that nobody uses, and a data folder that is not there yet. */
async function environment() {
  const address = async () => `127.0.0.1:${await freePort()}`;
  return {
    WHARFIE_DATA: join(await temporaryFolder(), 'data'),
    WHARFIE_LISTEN: await address(),
    WHARFIE_ADMIN_LISTEN: await address(),
    WHARFIE_REGISTRY_LISTEN: await address(),
    WHARFIE_REGISTRY_ADMIN_LISTEN: await address(),
    WHARFIE_WORKERS: '1',
  };
}

function run(file: string, settings: Record<string, string>): Running {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(WHARFIE_|npm_|INIT_CWD)/.test(name));
  const child = spawn(process.execPath, [file], {
    env: { ...Object.fromEntries(inherited), ...settings },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const outputs = [child.stdout, child.stderr].map((stream) => stream && once(stream, 'close'));
  const ended = Promise.all([once(child, 'exit'), ...outputs]).then(([[code]]) => code as number | null);
  const ready = Promise.race([
    once(child, 'message').then(([message]) => message as { ready: boolean; url: string; user?: string }),
    ended.then(() => undefined),
  ]);
  const prints = async (pattern: RegExp) => {
    while (!pattern.test(stdout)) {
      if (!child.stdout || child.stdout.readableEnded) throw new Error(`it ended with ${stdout}${stderr}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
  };
  return { child, ready, ended, prints, stdout: () => stdout, stderr: () => stderr };
}

async function said(settings: Record<string, string>): Promise<string> {
  const proxy = run(main, settings);
  await proxy.ready;
  return proxy.stdout();
}

const portOf = (address = '') => Number(address.split(':').at(-1));
const passwordIn = (text: string) => /^password: (\S+)$/m.exec(text)?.[1];
const basicAuth = (name: string, password: string) => ({
  Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
});

async function fakeRegistry(
  address = '',
  answer: (incoming: IncomingMessage, response: ServerResponse) => void = (_, response) => response.end('{}'),
) {
  const server = createServer(answer).listen(portOf(address), '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
}

describe('the proxy', () => {
  test('makes what is missing on its first start, prints a random password once, and knows it', async () => {
    const settings = await environment();
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN);
    const first = run(main, settings);
    expect(await first.ready).toEqual({ ready: true, url: `http://${settings.WHARFIE_LISTEN}`, user: 'admin' });
    const password = passwordIn(first.stdout()) ?? '';
    expect(password.length).toBeGreaterThan(20);
    const data = settings.WHARFIE_DATA;
    expect((await readdir(data)).sort()).toEqual(['access.yml', 'htpasswd', 'secret']);
    expect((await stat(data)).mode & 0o777).toBe(0o700);
    for (const file of await readdir(data)) expect((await stat(join(data, file))).mode & 0o777).toBe(0o600);
    const kept = await Promise.all((await readdir(data)).map((file) => readFile(join(data, file), 'utf8')));
    expect(kept.join()).not.toContain(password);
    const door = { port: portOf(settings.WHARFIE_LISTEN) };
    expect((await ask(door, 'GET', '/v2/', basicAuth('admin', password))).status).toBe(200);
    first.child.kill('SIGTERM');
    expect(await first.ended).toBe(0);

    const second = run(main, settings);
    await second.ready;
    expect(second.stdout()).not.toMatch(/password:/);
    expect((await ask(door, 'GET', '/v2/', basicAuth('admin', password))).status).toBe(200);
  });

  test.each([
    ['warns', 'was there before it', `bob:${hash}\n`],
    ['says nothing', 'is as new', undefined],
  ])('%s about the access.yml that it makes when htpasswd %s', async (outcome, _, htpasswd) => {
    const settings = await environment();
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN);
    await mkdir(settings.WHARFIE_DATA);
    if (htpasswd !== undefined) await writeFile(join(settings.WHARFIE_DATA, 'htpasswd'), htpasswd);
    const warning = `${settings.WHARFIE_DATA}/access.yml was missing and is made: every account of htpasswd may pull`;
    expect((await said(settings)).includes(warning)).toBe(outcome === 'warns');
  });

  test('shows what an operator watches, and keeps an audit log that is reopened on SIGHUP and SIGUSR2', async () => {
    const settings = await environment();
    const auditLog = join(await temporaryFolder(), 'audit.log');
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN);
    const proxy = run(main, { ...settings, WHARFIE_AUDIT_LOG: auditLog });
    await proxy.ready;
    const password = passwordIn(proxy.stdout()) ?? '';
    await ask({ port: portOf(settings.WHARFIE_LISTEN) }, 'GET', '/v2/', basicAuth('admin', password));
    await ask({ port: portOf(settings.WHARFIE_LISTEN) }, 'GET', '/v2/', basicAuth('admin', password));
    await writeFile(join(settings.WHARFIE_DATA, 'access.yml'), 'nonsense');
    await proxy.prints(/what was last good stays in force/);
    const { body } = await ask({ port: portOf(settings.WHARFIE_ADMIN_LISTEN) }, 'GET', '/metrics');
    for (const line of [
      /^wharfie_proxy_requests_total\{kind="version",method="GET",status="200"\} 2$/m,
      /^wharfie_proxy_request_seconds_count\{kind="version",method="GET"\} 2$/m,
      /^wharfie_proxy_body_bytes_total\{direction="out"\} \d+$/m,
      /^wharfie_proxy_logins_total\{outcome="accepted"\} 2$/m,
      /^wharfie_proxy_bcrypt_queue 0$/m,
      /^wharfie_proxy_bcrypt_checks_total 1$/m,
      /^wharfie_proxy_password_cache_hits_total 1$/m,
      /^wharfie_proxy_connections \d+$/m,
      /^wharfie_proxy_registry_up\{registry="http:\/\/127\.0\.0\.1:\d+"\} 1$/m,
      /^wharfie_proxy_reloads_total\{file="access.yml",outcome="taken"\} 1$/m,
      /^wharfie_proxy_reloads_total\{file="access.yml",outcome="refused"\} 1$/m,
      /^wharfie_proxy_reloads_total\{file="htpasswd",outcome="taken"\} 1$/m,
      /^nodejs_eventloop_lag_p99_seconds /m,
    ]) {
      expect(body).toMatch(line);
    }
    for (const signal of ['SIGHUP', 'SIGUSR2'] as const) {
      const old = `${auditLog}.${signal}`;
      await rename(auditLog, old);
      proxy.child.kill(signal);
      await vi.waitFor(() => stat(auditLog));
      expect(await readFile(signal === 'SIGHUP' ? old : `${auditLog}.SIGHUP`, 'utf8')).toContain('"added":["admin"]');
    }
  });

  test('makes the account that it is told to make, and shows its password nowhere', async () => {
    const settings = {
      ...(await environment()),
      WHARFIE_ADMIN_USER: 'boss',
      WHARFIE_ADMIN_PASSWORD: 'hunter2 hunter2',
    };
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN);
    const proxy = run(main, settings);
    await proxy.ready;
    const door = { port: portOf(settings.WHARFIE_LISTEN) };
    expect((await ask(door, 'GET', '/v2/', basicAuth('boss', 'hunter2 hunter2'))).status).toBe(200);
    expect(proxy.stdout() + proxy.stderr()).not.toContain('hunter2');
    expect(proxy.stdout()).toContain('WHARFIE_ADMIN_PASSWORD = ***');
    expect(proxy.stdout()).not.toMatch(/^password:/m);
  });

  test.each([
    ['WHARFIE_LISTEN', 'nowhere', /must be HOST:PORT/],
    ['WHARFIE_LISTEN', '192.0.2.1:5000', /cannot listen on 192\.0\.2\.1:5000/],
    ['WHARFIE_REGISTRY_URL', 'ftp://x', /must be http/],
    ['WHARFIE_REGISTRY_URL', 'http://x/path', /must be http/],
    ['WHARFIE_DRAIN', 'long', /must be a whole number/],
    ['WHARFIE_ADMIN_USER', 'a b', /without colon or space/],
    ['WHARFIE_ADMIN_PASSWORD', 'x'.repeat(73), /longer than 72 bytes/],
    ['WHARFIE_TLS_CERT', '/nowhere/cert.pem', /WHARFIE_TLS_KEY: must be set too/],
    ['WHARFIE_DATA', '/dev/null/data', /cannot be made or written/],
    // Node's own way to make it would never end.
    ['WHARFIE_DATA', '/proc/data', /cannot be made or written/],
    ['WHARFIE_SECRET_FILE', '/proc/below/secret', /cannot be read or made/],
    ['WHARFIE_LOG_LEVEL', 'loud', /must be trace or/],
  ])('ends with one line about %s=%.20s', async (variable, value, reason) => {
    const proxy = run(main, { ...(await environment()), [variable]: value });
    expect(await proxy.ended).toBe(1);
    expect(proxy.stderr()).toMatch(reason);
    expect(proxy.stderr()).toContain('WHARFIE_');
    expect(proxy.stderr().trimEnd().split('\n')).toHaveLength(1);
    expect(proxy.stdout()).not.toMatch(/^password:/m);
  });

  test.each(['$root', '@ops', '#x'])('makes no policy for an account %s, which cannot be', async (user) => {
    const settings = { ...(await environment()), WHARFIE_ADMIN_USER: user };
    const proxy = run(main, settings);
    expect(await proxy.ended).toBe(1);
    expect(proxy.stderr()).toMatch(/^wharfie proxy: WHARFIE_ADMIN_USER: must not begin with/);
    await expect(readdir(settings.WHARFIE_DATA)).rejects.toThrow('ENOENT');
  });

  test.each(['WHARFIE_LISTEN', 'WHARFIE_ADMIN_LISTEN'])('makes no file when %s is in use', async (variable) => {
    const settings = await environment();
    await fakeRegistry(settings[variable as 'WHARFIE_LISTEN']);
    const proxy = run(main, settings);
    expect(await proxy.ended).toBe(1);
    expect(proxy.stderr()).toMatch(new RegExp(`${variable}: 127\\.0\\.0\\.1:\\d+ is in use`));
    expect(await readdir(settings.WHARFIE_DATA)).toEqual([]);
  });

  test.each([
    ['access.yml', 'rules: nonsense', /access\.yml: line 1: rules must be a list/],
    ['secret', 'short', /WHARFIE_SECRET_FILE.*at least 32/],
  ])('ends with one line about a wrong %s', async (file, content, reason) => {
    const settings = await environment();
    await mkdir(settings.WHARFIE_DATA);
    await writeFile(join(settings.WHARFIE_DATA, file), content);
    const proxy = run(main, settings);
    expect(await proxy.ended).toBe(1);
    expect(proxy.stderr()).toMatch(reason);
    expect(proxy.stderr().trimEnd().split('\n')).toHaveLength(1);
    expect(proxy.stdout()).not.toMatch(/^password:/m);
  });

  test('says which name was meant, and that passwords travel in the clear', async () => {
    const settings = await environment();
    const port = portOf(settings.WHARFIE_LISTEN);
    const proxy = run(main, { ...settings, WHARFIE_LISTEN: `0.0.0.0:${port}`, WHARFIE_ADMIN_PASWORD: 'hunter2' });
    await proxy.ready;
    expect(proxy.stdout()).toContain('WHARFIE_ADMIN_PASWORD is not a setting; did you mean WHARFIE_ADMIN_PASSWORD?');
    expect(proxy.stdout()).not.toContain('hunter2');
    expect(proxy.stdout()).toMatch(/passwords travel there in the clear/);
  });

  test('says which port it got where it was to take any', async () => {
    const proxy = run(main, { ...(await environment()), WHARFIE_LISTEN: '127.0.0.1:0' });
    const { url = '' } = (await proxy.ready) ?? {};
    expect((await fetch(`${url}/v2/`)).status).toBe(401);
  });

  test('says in a container what to type, by the name that clients use', async () => {
    const settings = { ...(await environment()), WHARFIE_PUBLISH: '[::]:5050' };
    expect(await said(settings)).toContain('docker login --username admin localhost:5050\n');
    const renamed = { ...(await environment()), WHARFIE_PUBLISH: '5050', WHARFIE_PUBLIC_URL: 'https://example.com' };
    expect(await said(renamed)).toContain('docker login --username admin example.com\n');
  });

  test('applies a change of access.yml and of htpasswd without a restart, and keeps the last good ones', async () => {
    const settings = { ...(await environment()), WHARFIE_ADMIN_PASSWORD: 'secret' };
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN);
    const proxy = run(main, settings);
    await proxy.ready;
    const door = { port: portOf(settings.WHARFIE_LISTEN) };
    const policy = join(settings.WHARFIE_DATA, 'access.yml');
    await writeFile(policy, 'rules:\n  - repositories: "public/**"\n    pull: [$anonymous]\n');
    await proxy.prints(/access\.yml is in force[^]*access\.yml is in force/);
    expect((await ask(door, 'GET', '/v2/public/app/manifests/1')).status).toBe(200);
    await writeFile(policy, 'rules: nonsense');
    await proxy.prints(/rules must be a list[^\n]*stays in force/);
    expect((await ask(door, 'GET', '/v2/public/app/manifests/1')).status).toBe(200);
    await writeFile(join(settings.WHARFIE_DATA, 'htpasswd'), '# nobody\n');
    await proxy.prints(/"users":0/);
    expect((await ask(door, 'GET', '/v2/', basicAuth('admin', 'secret'))).status).toBe(401);
  });

  test('is ready exactly while the registry answers', async () => {
    const settings = await environment();
    const proxy = run(main, settings);
    await proxy.ready;
    const admin = { port: portOf(settings.WHARFIE_ADMIN_LISTEN) };
    expect((await ask(admin, 'GET', '/healthz')).status).toBe(200);
    expect(await ask(admin, 'GET', '/readyz')).toMatchObject({ status: 503 });
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN, (_, response) => response.writeHead(401).end());
    expect((await ask(admin, 'GET', '/readyz')).status).toBe(200);
    expect((await ask(admin, 'GET', '/metrics')).body).toContain('wharfie_proxy_requests_total');
    const door = { port: portOf(settings.WHARFIE_LISTEN) };
    expect((await ask(door, 'GET', '/metrics')).status).toBe(404);
  });

  test.each([
    ['SIGTERM', (child: ChildProcess) => child.kill('SIGTERM')],
    ['SIGINT', (child: ChildProcess) => child.kill('SIGINT')],
    [
      'the end of its parent',
      (child: ChildProcess) => {
        child.disconnect();
      },
    ],
  ])('lets requests under way end on %s', async (_, stop) => {
    const settings = { ...(await environment()), WHARFIE_ADMIN_PASSWORD: 'secret' };
    const asked = deferred<ServerResponse>();
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN, (_incoming, response) => {
      asked.resolve(response);
    });
    const proxy = run(main, settings);
    await proxy.ready;
    const answer = ask({ port: portOf(settings.WHARFIE_LISTEN) }, 'GET', '/v2/', basicAuth('admin', 'secret'));
    const response = await asked.promise;
    stop(proxy.child);
    await proxy.prints(/stopping/);
    response.end('{}');
    expect((await answer).status).toBe(200);
    expect(await proxy.ended).toBe(0);
  });

  test('ends at once when it is told twice', async () => {
    const settings = { ...(await environment()), WHARFIE_ADMIN_PASSWORD: 'secret', WHARFIE_DRAIN: '3600' };
    const asked = deferred<ServerResponse>();
    await fakeRegistry(settings.WHARFIE_REGISTRY_LISTEN, (_, response) => {
      asked.resolve(response);
    });
    const proxy = run(main, settings);
    await proxy.ready;
    const answer = ask({ port: portOf(settings.WHARFIE_LISTEN) }, 'GET', '/v2/', basicAuth('admin', 'secret'));
    await asked.promise;
    proxy.child.kill('SIGTERM');
    await proxy.prints(/stopping/);
    proxy.child.kill('SIGTERM');
    await expect(answer).rejects.toThrow();
    expect(await proxy.ended).toBe(1);
  });
});

/** Whether nobody listens at the addresses of `settings` any more. */
async function expectNobodyLeft(settings: Record<string, string>): Promise<void> {
  for (const [name, address] of Object.entries(settings)) {
    if (!name.endsWith('LISTEN')) continue;
    const server = createServer();
    server.listen(portOf(address), '127.0.0.1');
    await once(server, 'listening');
    server.close();
  }
}

describe('npm start', () => {
  test('starts both services, says what to type, and ends them', async () => {
    const settings = await environment();
    const started = run(script, settings);
    await started.prints(/docker push .*\n/);
    const address = settings.WHARFIE_LISTEN;
    for (const command of ['login', 'tag', 'push']) {
      expect(started.stdout()).toMatch(new RegExp(`^ +docker ${command} .*${address}`, 'm'));
    }
    const password = passwordIn(started.stdout()) ?? '';
    expect((await ask({ port: portOf(address) }, 'GET', '/v2/', basicAuth('admin', password))).status).toBe(200);
    expect((await ask({ port: portOf(settings.WHARFIE_REGISTRY_LISTEN) }, 'GET', '/v2/')).status).toBe(401);
    started.child.kill('SIGTERM');
    expect(await started.ended).toBe(0);
    expect(started.stderr()).toBe('');
    await expectNobodyLeft(settings);
  });

  test('says what to type where a proxy in front connects to a socket', async () => {
    const socket = `unix:${join(await temporaryFolder(), 'door')}`;
    const started = run(script, { ...(await environment()), WHARFIE_LISTEN: socket });
    await started.prints(/docker push .*\n/);
    expect(started.stdout()).toContain(`Wharfie is ready at ${socket}. `);
    expect(started.stdout()).toContain('docker login --username admin HOST\n');
  });

  test.each<[string, { user?: string; htpasswd?: string; expected: string }]>([
    ['the account that it made', { user: 'boss', expected: 'boss' }],
    ['that account beside others', { htpasswd: `bob:${hash}\nadmin:${hash}\n`, expected: 'admin' }],
    ['NAME where that account is not there', { htpasswd: `bob:${hash}\n`, expected: 'NAME' }],
    ['NAME where that account cannot log in', { htpasswd: `bob:${hash}\nadmin:plain\n`, expected: 'NAME' }],
  ])('says how to log in as %s', async (_, { user = '', htpasswd, expected }) => {
    const settings = { ...(await environment()), WHARFIE_ADMIN_USER: user };
    if (htpasswd !== undefined) {
      await mkdir(settings.WHARFIE_DATA);
      await writeFile(join(settings.WHARFIE_DATA, 'htpasswd'), htpasswd);
    }
    const started = run(script, settings);
    await started.prints(/docker push .*\n/);
    expect(started.stdout()).toContain(`docker login --username ${expected} ${settings.WHARFIE_LISTEN}\n`);
  });

  test.each(['WHARFIE_LISTEN', 'WHARFIE_ADMIN_LISTEN', 'WHARFIE_REGISTRY_LISTEN', 'WHARFIE_REGISTRY_ADMIN_LISTEN'])(
    'leaves nothing behind when %s is in use',
    async (variable) => {
      const settings = await environment();
      const taken = createServer();
      await listenOn(taken);
      onTestFinished(() => void taken.close());
      const { port } = taken.address() as AddressInfo;
      const { [variable as 'WHARFIE_LISTEN']: _, ...others } = settings;
      const started = run(script, { ...others, [variable]: `127.0.0.1:${port}` });
      expect(await started.ended).not.toBe(0);
      expect(started.stderr()).toMatch(new RegExp(`${variable}: .* is in use`));
      expect(started.stderr().trimEnd().split('\n')).toHaveLength(1);
      expect(started.stdout()).not.toMatch(/^password:/m);
      await expectNobodyLeft(others);
    },
  );

  test.each([
    ['WHARFIE_LISTEN', 'nowhere'],
    ['WHARFIE_STORAGE', 'paper'],
    ['WHARFIE_LOG_LEVEL', 'loud'],
    ['WHARFIE_DATA', '/dev/null/data'],
  ])('leaves nothing behind when %s is %s', async (variable, value) => {
    const settings = await environment();
    const started = run(script, { ...settings, [variable]: value });
    expect(await started.ended).not.toBe(0);
    expect(started.stderr()).toContain('WHARFIE_');
    expect(started.stderr().trimEnd().split('\n')).toHaveLength(1);
    await expectNobodyLeft(settings);
  });

  test('leaves nothing behind when the folder may not be written', async () => {
    const settings = await environment();
    // Nothing keeps root from writing to a folder of its own, but nobody can make one in /sys.
    const folder = process.getuid?.() === 0 ? '/sys' : await temporaryFolder();
    if (folder !== '/sys') await chmod(folder, 0o500);
    const started = run(script, { ...settings, WHARFIE_DATA: join(folder, 'data') });
    expect(await started.ended).not.toBe(0);
    expect(started.stderr().trimEnd().split('\n')).toHaveLength(1);
    await expectNobodyLeft(settings);
  });

  test.each(['registry', 'proxy'])('ends the other one, and says so, when the %s dies', async (name) => {
    const settings = await environment();
    const started = run(script, settings);
    await started.prints(/docker push/);
    process.kill(await pidOf(started.child.pid, `${name}/dist/main.js`), 'SIGKILL');
    expect(await started.ended).toBe(1);
    expect(started.stderr()).toMatch(new RegExp(`the ${name} ended by itself \\(SIGKILL\\)`));
    await expectNobodyLeft(settings);
  });

  test('ends both when it is killed itself', async () => {
    const settings = await environment();
    const started = run(script, settings);
    await started.prints(/docker push/);
    started.child.kill('SIGKILL');
    await started.ended;
    await expectNobodyLeft(settings);
  });
});

/** The child of `parent` that runs `file`. */
async function pidOf(parent: number | undefined, file: string): Promise<number> {
  const children = await readFile(`/proc/${parent ?? ''}/task/${parent ?? ''}/children`, 'utf8');
  for (const pid of children.trim().split(' ')) {
    if ((await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes(file)) return Number(pid);
  }
  throw new Error(`no child runs ${file}`);
}
