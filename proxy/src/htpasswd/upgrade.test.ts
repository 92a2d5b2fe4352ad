import { createLogger } from '@wharfie/shared';
import bcrypt from 'bcryptjs';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { parseHtpasswd } from './file.js';
import { hashPassword, saltOf } from './password.js';
import { betterSalt, upgradeFile } from './upgrade.js';
import { Verifier } from './verifier.js';

const wanted = 6;

async function open(text: string) {
  const folder = await mkdtemp(join(tmpdir(), 'wharfie-'));
  const path = join(folder, 'htpasswd');
  await writeFile(path, text);
  const log: string[] = [];
  const logger = createLogger('proxy', { level: 'info', format: 'json' }, { write: (line) => log.push(line) });
  const file = { current: parseHtpasswd(text) };
  const upgradeOfFile = upgradeFile(path, wanted, logger);
  let stored = Promise.resolve();
  const upgrade = {
    cost: wanted,
    store: (...line: [string, string, string]) => (stored = upgradeOfFile.store(...line)),
  };
  const verifier = new Verifier(file, { upgrade });
  onTestFinished(async () => {
    await verifier.destroy();
    await rm(folder, { recursive: true });
  });
  const hashOf = async (name: string) => parseHtpasswd(await readFile(path, 'utf8')).users.get(name)?.bcrypt?.hash;
  const isStored = async () => {
    const before = stored;
    await vi.waitUntil(() => stored !== before || log.length > 0, { timeout: 10_000 });
    await stored;
  };
  return { path, file, verifier, log, hashOf, isStored };
}

describe('a hash of a lower cost than wanted', () => {
  it('is replaced at a login, with no second check and the rest of the file as it was', async () => {
    const weak = await hashPassword('right', 4);
    const { path, file, verifier, log, hashOf, isStored } = await open(
      `# keep\r\nbob:${weak}:of the harbour\r\neve:x\r\n`,
    );
    expect(await verifier.verify('bob', 'wrong')).toBe(false);
    expect(await hashOf('bob')).toBe(weak);
    expect(await verifier.verify('bob', 'right')).toBe(true);
    await isStored();
    const better = (await hashOf('bob')) ?? '';
    expect(better).toMatch(/^\$2y\$06\$/);
    expect(saltOf(better)).toBe(saltOf(weak));
    expect(bcrypt.compareSync('right', better)).toBe(true);
    expect(await readFile(path, 'utf8')).toBe(`# keep\r\nbob:${better}:of the harbour\r\neve:x\r\n`);
    expect(log.join('')).toContain('bob');
    file.current = parseHtpasswd(await readFile(path, 'utf8'));
    expect(await verifier.verify('bob', 'right')).toBe(true);
    expect(verifier.checks).toBe(2);
  });

  it('stays when the account got another password meanwhile', async () => {
    const weak = await hashPassword('right', 4);
    const { path, verifier, hashOf } = await open(`bob:${weak}\n`);
    const another = await hashPassword('another', 4);
    await writeFile(path, `bob:${another}\n`);
    const logger = createLogger('proxy', { level: 'silent', format: 'json' });
    await upgradeFile(path, wanted, logger).store('bob', weak, await hashPassword('right', wanted));
    expect(await hashOf('bob')).toBe(another);
    await verifier.destroy();
  });

  it('lets its account in where the file cannot be replaced, and says so', async () => {
    const { path, verifier, log, isStored } = await open(`bob:${await hashPassword('right', 4)}\n`);
    await rm(path);
    expect(await verifier.verify('bob', 'right')).toBe(true);
    await isStored();
    expect(log.join('')).toContain('the hash of bob stays as it is');
    expect(existsSync(path)).toBe(false);
    expect(log.join('')).not.toContain('right');
  });
});

describe('betterSalt', () => {
  const salt = 'abcdefghijklmnopqrstuO';
  const hash = (head: string) => `${head}${salt}${'x'.repeat(31)}`;

  it.each([
    ['$2y$10$', 10, 12, '$2b$12$'],
    ['$2a$10$', 10, 10, '$2b$10$'],
    ['$2b$12$', 12, 10, '$2b$12$'],
    ['$2y$04$', 4, 9, '$2b$09$'],
  ])('of %s is better at cost %i when %i is wanted', (head, cost, least, better) => {
    expect(betterSalt({ hash: hash(head), cost }, least)).toBe(better + salt);
  });

  it.each([
    ['$2y$10$', 10, 10],
    ['$2y$12$', 12, 10],
  ])('is none for %s of cost %i when %i is wanted', (head, cost, least) => {
    expect(betterSalt({ hash: hash(head), cost }, least)).toBeUndefined();
  });
});
