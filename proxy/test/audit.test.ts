import { createLogger, SettingsError, type Logger } from '@wharfie/shared';
import { appendFileSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { parsePolicy } from '../src/access/policy.js';
import { AuditLog } from '../src/audit.js';
import { parseHtpasswd } from '../src/htpasswd/file.js';
import { ask, basic, openDoor, passwordOf } from './harness.js';

const digest = `sha256:${'a'.repeat(64)}`;
const upload = '/v2/team/app/blobs/uploads/01234567-0123-4123-8123-0123456789ab';

function openAudit() {
  const folder = mkdtempSync(join(tmpdir(), 'wharfie-audit-'));
  const path = join(folder, 'audit.log');
  const problems: string[] = [];
  const error = (_: object, message: string) => problems.push(message);
  const audit = new AuditLog(path, { error } as unknown as Logger);
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const entries = (file = path) =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { audit, path, folder, problems, entries };
}

test('the audit log has who pushed and deleted what, and who was refused, and nothing else', async () => {
  const { audit, path, entries } = openAudit();
  const door = await openDoor({
    audit,
    registry: (incoming, response) => {
      const status = { PUT: 201, DELETE: 202, PATCH: 202, POST: 202 }[incoming.method ?? ''] ?? 200;
      incoming.resume().once('end', () => response.writeHead(status, { 'Docker-Content-Digest': digest }).end());
    },
  });
  const bob = basic('bob');
  await ask(door, 'GET', '/v2/', bob);
  await ask(door, 'GET', '/v2/');
  await ask(door, 'GET', '/v2/team/app/manifests/1', bob);
  await ask(door, 'POST', '/v2/team/app/blobs/uploads/', bob);
  await ask(door, 'PATCH', upload, bob, 'hello');
  await ask(door, 'PUT', `${upload}?digest=${digest}&_state=secret-state`, bob);
  await ask(door, 'PUT', '/v2/team/app/manifests/1', bob, '{}');
  await ask(door, 'PUT', `/v2/team/app/manifests/${digest}?tag=1&tag=2`, bob, '{}');
  await ask(door, 'DELETE', '/v2/team/app/manifests/1', basic('eve'));
  await ask(door, 'PUT', '/v2/team/app/manifests/2', basic('eve'), '{}');
  await ask(door, 'GET', '/v2/eve/app/manifests/3', bob);
  await ask(door, 'GET', '/v2/', basic('bob', 'a wrong one'));
  await ask(door, 'POST', '/v2/team/app/blobs/uploads/');
  const common = { remote: '127.0.0.1', time: expect.any(String) as unknown, requestId: expect.any(String) as unknown };
  const app = { ...common, repository: 'team/app' };
  expect(entries()).toMatchObject([
    { ...app, event: 'push', outcome: 'done', user: 'bob', kind: 'upload', digest, status: 201 },
    { ...app, event: 'push', outcome: 'done', user: 'bob', kind: 'manifest', tag: '1', digest },
    { ...app, event: 'push', outcome: 'done', user: 'bob', kind: 'manifest', tags: ['1', '2'], digest },
    { ...app, event: 'delete', outcome: 'done', user: 'eve', kind: 'manifest', tag: '1', digest },
    {
      ...app,
      event: 'push',
      outcome: 'refused',
      user: 'eve',
      tag: '2',
      reason: expect.stringContaining('eve may not') as unknown,
    },
    { ...common, event: 'pull', outcome: 'refused', user: 'bob', repository: 'eve/app', tag: '3', status: 403 },
    { ...common, event: 'login', outcome: 'refused', login: 'refused', status: 401 },
    { ...app, event: 'push', outcome: 'refused', status: 401 },
  ]);
  const text = readFileSync(path, 'utf8');
  for (const secret of ['a wrong one', passwordOf('bob'), 'secret-state', 'Basic']) expect(text).not.toContain(secret);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('the audit log says which accounts came, went and changed, and which policy is in force', () => {
  const { audit, entries } = openAudit();
  const hash = (salt: string) => `$2y$10$${salt.repeat(53)}`;
  const before = parseHtpasswd(`a:${hash('x')}\nb:${hash('x')}\n`);
  audit.accounts(undefined, before);
  audit.accounts(before, parseHtpasswd(`b:${hash('y')}\nc:${hash('x')}\n`));
  audit.policy(parsePolicy('admins: [boss]\nrules:\n  - repositories: a\n    pull: [b]\n'));
  audit.rejected('policy', 'line 3: wrong');
  expect(entries()).toMatchObject([
    { event: 'accounts', added: ['a', 'b'], removed: [], changed: [] },
    { event: 'accounts', added: ['c'], removed: ['a'], changed: ['b'] },
    { event: 'policy', outcome: 'done', admins: ['boss'], rules: 1 },
    { event: 'policy', outcome: 'refused', reason: 'line 3: wrong' },
  ]);
});

test('the audit log goes on in a new file when the old one was renamed, and in the old one when that fails', () => {
  const { audit, path, folder, problems, entries } = openAudit();
  audit.rejected('policy', 'first');
  renameSync(path, `${path}.1`);
  audit.rejected('policy', 'second');
  audit.reopen();
  audit.rejected('policy', 'third');
  expect(entries(`${path}.1`).map(({ reason }) => reason)).toEqual(['first', 'second']);
  expect(entries().map(({ reason }) => reason)).toEqual(['third']);
  renameSync(folder, `${folder}.away`);
  audit.reopen();
  renameSync(`${folder}.away`, folder);
  audit.rejected('policy', 'fourth');
  expect(problems).toEqual(['the audit log cannot be reopened; it goes on in the file that is open']);
  expect(entries().map(({ reason }) => reason)).toEqual(['third', 'fourth']);
});

test('the audit log begins a new line after an entry that was written in half', () => {
  const { audit, path, problems } = openAudit();
  // Its file cannot be written until the number of the file is given out again.
  audit.close();
  audit.rejected('policy', 'first');
  appendFileSync(path, '{"time":"20');
  openSync(path, 'a');
  audit.rejected('policy', 'second');
  audit.rejected('policy', 'third');
  audit.close();
  expect(problems).toEqual(['the audit log cannot be written']);
  expect(readFileSync(path, 'utf8')).toMatch(/^\{"time":"20\n.*"second".*\n.*"third".*\n$/);
});

test('the audit log that cannot be opened ends the start with the setting’s name', () => {
  const open = () => new AuditLog('/nowhere/audit.log', createLogger('proxy', { level: 'silent', format: 'json' }));
  expect(open).toThrow(SettingsError);
  expect(open).toThrow(/^WHARFIE_AUDIT_LOG: \/nowhere.*: name a file in a folder that is there/);
});
