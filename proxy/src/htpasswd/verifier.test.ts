import { spawnSync } from 'node:child_process';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseHtpasswd, setHash, type Htpasswd } from './file.js';
import { hashPassword } from './password.js';
import { Verifier } from './verifier.js';

describe('Verifier', () => {
  let text: string;
  let file: { current: Htpasswd };
  let verifier: Verifier;

  beforeAll(async () => {
    text = `bob:${await hashPassword('right', 4)}\nlong:${await hashPassword('x'.repeat(72), 4)}\nold:$apr1$a$b\n`;
  });
  beforeEach(() => {
    file = { current: parseHtpasswd(text) };
    verifier = new Verifier(file);
  });
  afterEach(() => verifier.destroy());

  it('knows a right password from a wrong one', async () => {
    expect(await verifier.verify('bob', 'right')).toBe(true);
    expect(await verifier.verify('bob', 'wrong')).toBe(false);
    expect(await verifier.verify('Bob', 'right')).toBe(false);
  });

  it('runs bcrypt once for a password that was right', async () => {
    for (let time = 0; time < 5; time++) expect(await verifier.verify('bob', 'right')).toBe(true);
    expect(verifier).toMatchObject({ checks: 1, cacheHits: 4 });
  });

  it('runs bcrypt every time for one that was wrong', async () => {
    for (let time = 0; time < 3; time++) expect(await verifier.verify('bob', 'wrong')).toBe(false);
    expect(verifier).toMatchObject({ checks: 3, cacheHits: 0 });
  });

  it('joins equal checks that are under way', async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => verifier.verify('bob', 'right')));
    expect(answers.every((answer) => answer)).toBe(true);
    expect(verifier.checks).toBe(1);
  });

  it('forgets at once what it remembered of a line that changed or went', async () => {
    expect(await verifier.verify('bob', 'right')).toBe(true);
    file.current = parseHtpasswd(setHash(text, 'bob', await hashPassword('another', 4)));
    expect(await verifier.verify('bob', 'right')).toBe(false);
    expect(await verifier.verify('bob', 'another')).toBe(true);
    file.current = parseHtpasswd('');
    expect(await verifier.verify('bob', 'another')).toBe(false);
  });

  it('runs bcrypt for names that are unknown or whose line cannot be used, and lets none of them in', async () => {
    expect(await verifier.verify('nobody', 'right')).toBe(false);
    expect(await verifier.verify('old', 'right')).toBe(false);
    expect(await verifier.verify('__proto__', 'right')).toBe(false);
    expect(verifier.checks).toBe(3);
  });

  it('refuses without bcrypt a password that is empty, holds a NUL or is longer than bcrypt reads', async () => {
    expect(await verifier.verify('long', 'x'.repeat(72))).toBe(true);
    expect(await verifier.verify('long', `${'x'.repeat(72)}y`)).toBe(false);
    expect(await verifier.verify('bob', '')).toBe(false);
    expect(await verifier.verify('bob', 'right\0')).toBe(false);
    expect(verifier.checks).toBe(1);
  });

  it('says "too many" rather than let checks queue without bound', async () => {
    const checks = Array.from({ length: 1500 }, (_, guess) => verifier.verify('nobody', `guess ${guess}`));
    const refused = (await Promise.allSettled(checks)).filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({ reason: { problem: 'TOOMANYREQUESTS', headers: { 'Retry-After': '5' } } });
    expect(verifier.queueSize).toBe(0);
  });

  it('does not take a password for right that was changed while it was checked', async () => {
    const checked = verifier.verify('bob', 'right');
    file.current = parseHtpasswd(setHash(text, 'bob', await hashPassword('another', 4)));
    expect(await checked).toBe(false);
  });

  it('makes who guesses wait, though the guess were right and known to be', async () => {
    expect(await verifier.verify('bob', 'right', '192.0.2.1')).toBe(true);
    for (let guess = 0; guess < 10; guess++) await verifier.verify('bob', `guess ${guess}`, '192.0.2.2');
    const { checks } = verifier;
    await expect(verifier.verify('bob', 'right', '192.0.2.2')).rejects.toMatchObject({ problem: 'TOOMANYREQUESTS' });
    expect(verifier.checks).toBe(checks);
    expect(await verifier.verify('bob', 'right', '192.0.2.3')).toBe(true);
    expect(await verifier.verify('bob', 'right')).toBe(true);
  });

  it('answers who is in while wrong passwords are checked', async () => {
    const slow = `bob:${await hashPassword('right', 4)}\neve:${await hashPassword('hers', 11)}\n`;
    file.current = parseHtpasswd(slow);
    expect(await verifier.verify('bob', 'right')).toBe(true);
    const order: string[] = [];
    const guesses = Array.from({ length: 8 }, (_, guess) =>
      verifier.verify('eve', `guess ${guess}`).then(() => order.push('guess')),
    );
    await verifier.verify('bob', 'right').then(() => order.push('bob'));
    await Promise.all(guesses);
    expect(order).toEqual(['bob', ...Array.from({ length: 8 }, () => 'guess')]);
  });

  it('does not keep the process alive', () => {
    const program = `
      import { Verifier } from ${JSON.stringify(new URL('../../dist/htpasswd/verifier.js', import.meta.url).href)};
      const verifier = new Verifier({ current: { users: new Map(), warnings: [] } });
      console.log(await verifier.verify('bob', 'right'));`;
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { timeout: 15_000 });
    expect([status, stdout.toString()]).toEqual([0, 'false\n']);
  });
});
