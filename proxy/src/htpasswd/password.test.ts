import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { describeWith } from '../../../e2e/harness/requirements.js';
import { parseHtpasswd } from './file.js';
import { accountNameProblem, generatePassword, hashPassword, passwordProblem } from './password.js';
import { Verifier } from './verifier.js';

describe('passwords and names', () => {
  it('refuses a password that bcrypt would cut, that is empty or holds a NUL', () => {
    expect(passwordProblem('x'.repeat(72))).toBeUndefined();
    expect(passwordProblem('x'.repeat(73))).toMatch(/72 bytes/);
    expect(passwordProblem('ü'.repeat(37))).toMatch(/72 bytes/);
    expect(passwordProblem('')).toMatch(/empty/);
    expect(passwordProblem('a\0b')).toMatch(/NUL/);
    // basic-auth takes no credentials with it.
    expect(passwordProblem('a\u2028b')).toMatch(/line break/);
  });

  it.each(['\uFFFD', '', 'a:b', '#a', '$a', '@a', ' a', 'a ', 'a\nb', 'a\u0000', 'x'.repeat(256)])(
    'refuses the name %j',
    (name) => {
      expect(accountNameProblem(name)).toBeDefined();
    },
  );

  it.each(['bob', 'Bob Smith', 'bob@example.org', 'müller', '__proto__', '*'])('accepts the name %j', (name) => {
    expect(accountNameProblem(name)).toBeUndefined();
  });

  it('makes passwords of which no two are equal', () => {
    expect(generatePassword()).toMatch(/^[A-Za-z0-9]{24}$/);
    expect(generatePassword()).not.toBe(generatePassword());
  });
});

describeWith(['htpasswd'], "Apache's htpasswd", () => {
  const folder = () => {
    const path = mkdtempSync(join(tmpdir(), 'wharfie-'));
    onTestFinished(() => {
      rmSync(path, { recursive: true });
    });
    return path;
  };

  it('is understood', async () => {
    const path = join(folder(), 'htpasswd');
    execFileSync('htpasswd', ['-cbB', '-C', '5', path, 'bob', 'pässword: with colon'], { stdio: 'ignore' });
    execFileSync('htpasswd', ['-bm', path, 'old', 'secret'], { stdio: 'ignore' });
    const current = parseHtpasswd(readFileSync(path, 'utf8'));
    const verifier = new Verifier({ current });
    onTestFinished(() => verifier.destroy());
    expect(await verifier.verify('bob', 'pässword: with colon')).toBe(true);
    expect(await verifier.verify('bob', 'password: with colon')).toBe(false);
    expect(await verifier.verify('old', 'secret')).toBe(false);
    expect(current.warnings).toEqual([expect.stringMatching(/^line 2: old cannot log in/)]);
  });

  it('understands our hashes', async () => {
    const path = join(folder(), 'htpasswd');
    writeFileSync(path, `bob:${await hashPassword('correct', 5)}\n`);
    const verify = (password: string) => execFileSync('htpasswd', ['-vb', path, 'bob', password], { stdio: 'ignore' });
    expect(() => verify('correct')).not.toThrow();
    expect(() => verify('wrong')).toThrow();
  });
});
