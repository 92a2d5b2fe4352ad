import { describe, expect, it } from 'vitest';
import { decide } from './decide.js';
import { defaultPolicy, parsePolicy, PolicyError } from './policy.js';

const problemOf = (text: string): string => {
  try {
    parsePolicy(text);
  } catch (error) {
    expect(error).toBeInstanceOf(PolicyError);
    return (error as PolicyError).message;
  }
  return 'none';
};
const rule = (lines: string) => `rules:\n  - ${lines.replaceAll('\n', '\n    ')}\n`;

describe('parsePolicy', () => {
  it('reads what the first start writes: the administrator everything, every account may pull', () => {
    for (const admin of ['admin', 'it is "me"', '*', '-', 'null']) {
      const policy = parsePolicy(defaultPolicy(admin));
      expect(policy.warnings).toEqual([]);
      expect(decide(policy, { name: admin }, 'delete', 'a/b').allowed).toBe(true);
      expect(decide(policy, { name: 'bob' }, 'pull', 'a/b').allowed).toBe(true);
      expect(decide(policy, { name: 'bob' }, 'push', 'a/b').allowed).toBe(false);
      expect(decide(policy, 'anonymous', 'pull', 'a/b').allowed).toBe(false);
    }
  });

  it('reads the same with a byte order mark and CRLF', () => {
    const policy = parsePolicy(`\uFEFF${defaultPolicy('admin').replaceAll('\n', '\r\n')}`);
    expect(policy.admins.line).toBe(4);
    expect(policy.rules[0]?.line).toBe(14);
  });

  it.each(['', '# nothing\n', '---\n', '\n\n'])('takes %j for a policy that allows nothing, and warns', (text) => {
    const policy = parsePolicy(text);
    expect(policy.warnings).toHaveLength(1);
    expect(decide(policy, { name: 'admin' }, 'pull', 'a').allowed).toBe(false);
  });

  it('takes names that YAML reads as something else', () => {
    const policy = parsePolicy('admins: [123, null, on, ~, __proto__]');
    for (const name of ['123', 'null', 'on', '~', '__proto__']) {
      expect(decide(policy, { name }, 'push', 'a').allowed).toBe(true);
    }
    expect(decide(policy, { name: 'constructor' }, 'push', 'a').allowed).toBe(false);
  });

  it.each([
    ['an unknown key', 'admins: [a]\nadmin: [b]\n', 2, 'unknown key "admin"'],
    ['an unknown key of a rule', rule('repositories: a\npul: [b]'), 3, 'unknown key "pul"'],
    ['an unknown group', rule('repositories: a\npull: ["@devs"]'), 3, 'no group devs'],
    ['an unknown word', rule('repositories: a\npull: [$everyone]'), 3, 'unknown word $everyone'],
    ['a word among admins', 'admins: [$authenticated]', 1, 'admins are names'],
    ['a group in a group', 'groups:\n  a: [b]\n  c: ["@a"]\n', 3, 'names only'],
    ['a group that is no word', 'groups:\n  a b: [c]\n', 2, 'cannot be called'],
    ['one name instead of a list', rule('repositories: a\npull: bob'), 3, 'must be a list'],
    ['a mapping instead of a name', rule('repositories: a\npull:\n  - bob: x'), 4, 'must be a word'],
    ['an empty name', rule('repositories: a\npull: [bob, ""]'), 3, 'empty'],
    ['a name that was not UTF-8', rule('repositories: a\npull: [bob, m\uFFFDller]'), 3, 'is not UTF-8'],
    ['a list without a value', rule('repositories: a\npull:'), 3, 'must be a list'],
    ['rules that are no list', 'rules:\n  a: b\n', 2, 'must be a list'],
    ['no mapping at all', '- a\n', 1, 'must be a mapping'],
    ['a rule without repositories', rule('pull: [a]'), 2, 'repositories is missing'],
    ['a rule without an action', rule('repositories: a'), 2, 'allows nothing'],
    ['a rule for no repository', rule('repositories: []\npull: [a]'), 2, 'empty list'],
    ['a wrong pattern in a list', rule('repositories:\n  - a\n  - "!b"\npull: [a]'), 4, 'cannot hold "!"'],
    ['a key given twice', 'admins: [a]\ngroups: {}\nadmins: [b]\n', 3, 'unique'],
    ['an anchor', 'admins: &a [b]\n', 1, 'anchors'],
    ['an alias', 'admins: &a [b]\ngroups:\n  c: *a\n', 1, 'anchors'],
    ['a tag', 'admins: !bob [a]\n', 1, 'tag'],
    ['a second document', 'admins: [a]\n---\nrules: []\n', 2, 'second document'],
    ['a group without quotes', rule('repositories: a\npull: [@devs]'), 3, '@: put quotes around words with @ or {'],
    ['a word without quotes', rule('repositories: a\npull: [${user}]'), 3, ': put quotes around words with @ or {'],
    ['a group without a name', rule('repositories: a\npull: ["@"]'), 3, 'a group has no name'],
    ['a tab', 'admins:\n\t- a\n', 2, 'Tab'],
    ['a quote that never ends', 'admins: ["a]\n', 2, 'quote'],
  ])('refuses %s and names the line', (_what, text, line, reason) => {
    const problem = problemOf(text);
    expect(problem).toContain(reason);
    expect(problem).toMatch(new RegExp(`^line ${line}: [^\\n]+$`));
  });

  it('is not kept busy by aliases within aliases', () => {
    const bomb = Array.from({ length: 30 }, (_, n) => `a${n}: &a${n} [${n === 0 ? 'x' : `*a${n - 1}, *a${n - 1}`}]`);
    expect(problemOf(bomb.join('\n'))).toContain('anchors');
  });
});
