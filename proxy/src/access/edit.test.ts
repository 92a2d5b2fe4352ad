import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from './decide.js';
import { grant, revoke, stillAllows } from './edit.js';
import { actions, parsePolicy } from './policy.js';

const text = `# ours
admins: [admin] # the boss

groups:
  builders: [bob, carol]

rules:
  # everybody
  - repositories: "**"
    pull: [$authenticated]

  # the team
  - repositories: "team/**" # all of it
    push:
      - ann # until June
      - "@builders"
  # the end
`;

describe('grant', () => {
  it('adds to the list of the rule for exactly that pattern', () => {
    expect(grant(text, 'dave', 'push', 'team/**')).toBe(
      text.replace('      - "@builders"\n', '      - "@builders"\n      - dave\n'),
    );
    expect(grant(text, '$anonymous', 'pull', '**')).toBe(
      text.replace('[$authenticated]', '[$authenticated, $anonymous]'),
    );
  });

  it('gives that rule a list when it has none for the action', () => {
    expect(grant(text, '@builders', 'delete', '**')).toBe(
      text.replace('[$authenticated]', '[$authenticated]\n    delete: ["@builders"]'),
    );
  });

  it('makes a rule when there is none, and keeps every comment', () => {
    const after = grant(text, '${user}', 'push', '${user}/**');
    expect(after).toContain('  - repositories: "${user}/**"\n    push: ["${user}"]\n');
    for (const comment of text.match(/#.*/g) ?? []) expect(after).toContain(comment);
    expect(decide(parsePolicy(after), { name: 'eve' }, 'push', 'eve/app').allowed).toBe(true);
  });

  it.each(['', '# nothing yet\n', 'admins: [a]\n', 'rules: []\n'])('makes the first rule of %j', (before) => {
    const after = grant(before, '123', 'push', '**');
    expect(decide(parsePolicy(after), { name: '123' }, 'push', 'a/b').allowed).toBe(true);
    if (before.startsWith('#')) expect(after).toContain(before);
    else expect(after).toContain('rules:\n  - repositories: "**"\n    push: [123]\n');
  });

  it('changes nothing when it is said already', () => {
    expect(grant(text, 'ann', 'push', 'team/**')).toBe(text);
  });

  it('keeps comments wherever they stand, though not their columns', () => {
    const before = `admins: [admin]                       # everything
rules:                                # additive
  - repositories: "public/**"         # no account
    pull: [$anonymous]                # needed
    push:                             # few
      # a friend
      - ann                           # until June
`;
    const after = grant(grant(before, 'bob', 'push', 'public/**'), 'bob', 'push', 'lab/*');
    for (const comment of before.match(/#.*/g) ?? []) expect(after).toContain(comment);
    expect(after).toContain('admins: [admin] # everything');
  });

  it('keeps CRLF', () => {
    const after = grant(text.replaceAll('\n', '\r\n'), 'dave', 'push', 'team/**');
    expect(after.replaceAll('\r\n', '')).not.toContain('\n');
  });

  it('refuses unknown groups, words and patterns, and a policy that is wrong', () => {
    expect(() => grant(text, '@devs', 'push', 'a')).toThrow('no group devs');
    expect(() => grant(text, '$all', 'push', 'a')).toThrow('unknown word $all');
    expect(() => grant(text, 'bob', 'push', '!a')).toThrow('cannot hold');
    expect(() => grant('admin: [a]', 'bob', 'push', 'a')).toThrow('line 1: unknown key');
  });
});

describe('revoke', () => {
  it('takes a name out of a list', () => {
    expect(revoke(text, '@builders', 'push', 'team/**')).toBe(text.replace('      - "@builders"\n', ''));
  });

  it('drops a rule that then allows nothing, and keeps the comments around it', () => {
    const after = revoke(revoke(text, 'ann', 'push', 'team/**'), '@builders', 'push', 'team/**');
    expect(parsePolicy(after).rules).toHaveLength(1);
    for (const comment of ['# ours', '# the boss', '# everybody', '# the team', '# the end']) {
      expect(after).toContain(comment);
    }
  });

  it('keeps the heading of the next rule, also behind comments that stand further in', () => {
    const before = `rules:
  # the team
  - repositories: "team/**"
    push: [bob]
    # delete: [bob] asked for, not granted

  # customers
  - repositories: "product/**"
    pull:
      - acme
      # and others soon

  # everybody
  - repositories: "public/**"
    pull: [eve]
`;
    const after = revoke(revoke(before, 'bob', 'push', 'team/**'), 'acme', 'pull', 'product/**');
    expect(parsePolicy(after).rules).toHaveLength(1);
    for (const comment of before.match(/#.*/g) ?? []) expect(after).toContain(comment);
  });

  it('keeps what stands above a word, which may be the heading of others', () => {
    const rule = (...words: string[]) =>
      `rules:\n  - repositories: a\n    push:\n${words.map((word) => `      ${word}\n`).join('')}`;
    const all = rule('# release team', '- ann', '- bob', '# guests', '- eve');
    expect(revoke(all, 'ann', 'push', 'a')).toBe(rule('# release team', '- bob', '# guests', '- eve'));
    expect(revoke(all, 'eve', 'push', 'a')).toBe(rule('# release team', '- ann', '- bob', '# guests'));
    const one = `${rule('# release team', '- ann')}    pull: [eve]\n`;
    expect(revoke(one, 'ann', 'push', 'a')).toContain('# release team');
  });

  it('leaves a policy when its last rule goes', () => {
    const after = revoke('rules:\n  - repositories: a\n    pull: [bob]\n', 'bob', 'pull', 'a');
    expect(parsePolicy(after).rules).toEqual([]);
  });

  it('changes nothing when no rule for exactly that pattern names who', () => {
    expect(revoke(text, 'ann', 'push', 'team/*')).toBe(text);
    expect(revoke(text, 'bob', 'push', 'team/**')).toBe(text);
  });
});

it('keeps the ends of lines, also where comments go over an empty one', () => {
  const before = '# what this is\n\n# and more\nrules:\n  - repositories: a\n    pull: [bob]\n'.replaceAll(
    '\n',
    '\r\n',
  );
  const after = grant(before, 'ann', 'pull', 'a');
  expect(after).toBe(before.replace('[bob]', '[bob, ann]'));
  expect(revoke(after, 'ann', 'pull', 'a')).toBe(before);
});

it('says which rule allows all the same', () => {
  const policy = parsePolicy(text);
  expect(stillAllows(policy, 'bob', 'push', 'team/{a,b}')).toMatchObject({ line: 16 });
  expect(stillAllows(policy, '@builders', 'pull', 'x/**')).toMatchObject({ line: 10 });
  expect(stillAllows(policy, '$authenticated', 'pull', '?')).toMatchObject({ line: 10 });
  expect(stillAllows(policy, '$anonymous', 'pull', '**')).toBeUndefined();
  expect(stillAllows(policy, 'eve', 'push', 'team/**')).toBeUndefined();
});

it('grants and revokes, whatever the name and whatever was there', () => {
  const names = fc.string({ minLength: 1 }).filter((name) => !/^[$@]/.test(name) && name.trim() !== '');
  const edits = fc.array(fc.record({ name: names, action: fc.constantFrom(...actions) }), { maxLength: 5 });
  fc.assert(
    fc.property(edits, names, fc.constantFrom(...actions), (edits, name, action) => {
      let policy = text;
      for (const edit of edits) policy = grant(policy, edit.name, edit.action, 'lab/*');
      policy = grant(policy, name, action, 'lab/*');
      expect(decide(parsePolicy(policy), { name }, action, 'lab/x').allowed).toBe(true);
      for (const action of actions) policy = revoke(policy, name, action, 'lab/*');
      expect(decide(parsePolicy(policy), { name }, 'push', 'lab/x').allowed).toBe(name === 'admin');
    }),
  );
});
