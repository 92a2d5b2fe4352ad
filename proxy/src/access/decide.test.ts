import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import {
  allowsAnonymous,
  decide,
  groupsOf,
  isAdmin,
  mayPullEverything,
  mentions,
  pushable,
  type Asker,
} from './decide.js';
import { actions, parsePolicy } from './policy.js';

const text = `admins: [admin, "@ops"]
groups:
  builders: [bob, carol]
  ops: [olga]
rules:
  - repositories: "team/**"
    pull: [$authenticated]
    push: ["@builders"]
  - repositories: "\${user}/**"
    push: ["\${user}"]
  - repositories: ["public/**", "demo"]
    pull: [$anonymous]
    delete:
      - dave
`;
const policy = parsePolicy(text);
const may = (asker: string, action: 'pull' | 'push' | 'delete', repository: string) =>
  decide(policy, asker === 'anonymous' ? 'anonymous' : { name: asker }, action, repository);

describe('decide', () => {
  it.each([
    ['admin', 'delete', 'any/thing', 1],
    ['olga', 'push', 'any/thing', 1],
    ['bob', 'push', 'team/app', 8],
    ['bob', 'pull', 'team/app', 7],
    ['ann', 'pull', 'team/app', 7],
    ['ann', 'push', 'ann/app', 10],
    ['ann', 'pull', 'ann/app', 10],
    ['anonymous', 'pull', 'public/app', 12],
    ['ann', 'pull', 'demo', 12],
    ['dave', 'delete', 'demo', 14],
  ] as const)('allows %s %s on %s by line %i', (asker, action, repository, line) => {
    expect(may(asker, action, repository)).toMatchObject({ allowed: true, line });
  });

  it.each([
    ['ann', 'push', 'team/app'],
    ['bob', 'push', 'team'],
    ['bob', 'delete', 'team/app'],
    ['ann', 'push', 'bob/app'],
    ['dave', 'push', 'demo'],
    ['anonymous', 'pull', 'team/app'],
    ['anonymous', 'push', 'public/app'],
    ['$anonymous', 'push', 'team/app'],
    ['@builders', 'push', 'team/app'],
    ['Bob', 'push', 'team/app'],
  ] as const)('denies %s %s on %s', (asker, action, repository) => {
    const reason = `no rule gives ${asker === 'anonymous' ? '$anonymous' : asker} ${action} on ${repository}`;
    expect(may(asker, action, repository)).toEqual({ allowed: false, reason });
  });

  it('takes one who left a group for no member', () => {
    const without = parsePolicy(text.replace('[bob, carol]', '[carol]'));
    expect(decide(without, { name: 'bob' }, 'push', 'team/app').allowed).toBe(false);
  });

  it('gives a stranger nothing by the name "anonymous"', () => {
    const policy = parsePolicy('rules:\n  - repositories: "**"\n    push: [anonymous]\n');
    expect(decide(policy, 'anonymous', 'push', 'a').allowed).toBe(false);
    expect(allowsAnonymous(policy)).toBe(false);
  });
});

describe('questions about a whole policy', () => {
  it('says who may pull everything', () => {
    const everyone = parsePolicy('rules:\n  - repositories: "**"\n    pull: [$authenticated]\n');
    expect(mayPullEverything(everyone, { name: 'ann' })).toBe(true);
    expect(mayPullEverything(everyone, 'anonymous')).toBe(false);
    expect(mayPullEverything(policy, { name: 'bob' })).toBe(false);
    expect(mayPullEverything(policy, { name: 'admin' })).toBe(true);
  });

  it('says whether strangers may do anything', () => {
    expect(allowsAnonymous(policy)).toBe(true);
    expect(allowsAnonymous(parsePolicy(text.replace('$anonymous', '$authenticated')))).toBe(false);
  });

  it('says where an account stands and what it may push', () => {
    expect(groupsOf(policy, 'bob')).toEqual(['builders']);
    expect(pushable(policy, 'bob')).toEqual(['team/**', 'bob/**']);
    expect(pushable(policy, 'A*')).toEqual([]);
    expect(pushable(policy, 'olga')).toEqual(['everything']);
    expect(mentions(policy, 'bob')).toEqual([{ line: 3, where: 'group builders' }]);
    expect(mentions(policy, 'dave')).toEqual([{ line: 14, where: 'delete on public/**, demo' }]);
  });
});

describe('any policy', () => {
  const component = fc.constantFrom('a', 'b', 'bob', 'team', 'x-y');
  const repository = fc.array(component, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
  const name = fc.oneof(
    component,
    fc.constantFrom('*', '**', '{a,b}', 'a/b', '?', '[a]', '..', '~', '!a', '$x', '@g', 'A'),
  );
  const who = fc.constantFrom('a', 'bob', '@g', '$authenticated', '$anonymous', '${user}');
  const glob = fc
    .array(fc.oneof(component, fc.constantFrom('*', '**', '${user}', '{a,b}', 'x-?', 'b*')), {
      minLength: 1,
      maxLength: 3,
    })
    .map((parts) => parts.join('/').replaceAll(/\*\*(\/\*\*)+/g, '**'));
  const rule = fc.record({
    repositories: fc.array(glob, { minLength: 1, maxLength: 2 }),
    pull: fc.array(who, { maxLength: 2 }),
    push: fc.array(who, { maxLength: 2 }),
    delete: fc.array(who, { maxLength: 2 }),
  });
  const rules = fc.array(rule, { maxLength: 4 });
  const asker = fc.oneof(
    fc.constant<Asker>('anonymous'),
    name.map((name): Asker => ({ name })),
  );
  const action = fc.constantFrom(...actions);
  const policyOf = (rules: unknown[]) =>
    parsePolicy(stringify({ admins: ['root'], groups: { g: ['a', 'team'] }, rules }, { aliasDuplicateObjects: false }));

  it('lets an administrator do everything', () => {
    fc.assert(
      fc.property(rules, action, repository, (rules, action, repository) => {
        expect(isAdmin(policyOf(rules), { name: 'root' })).toBe(true);
        expect(decide(policyOf(rules), { name: 'root' }, action, repository).allowed).toBe(true);
      }),
    );
  });

  it('denies everything to everybody else without a rule', () => {
    fc.assert(
      fc.property(asker, action, repository, (asker, action, repository) => {
        expect(decide(policyOf([]), asker, action, repository).allowed).toBe(false);
      }),
    );
  });

  it('includes pull in push and in delete', () => {
    fc.assert(
      fc.property(rules, asker, repository, (rules, asker, repository) => {
        const policy = policyOf(rules);
        const [pull, push, remove] = actions.map((action) => decide(policy, asker, action, repository).allowed);
        expect(pull || !(push || remove)).toBe(true);
      }),
    );
  });

  it('never loses a right by another rule', () => {
    fc.assert(
      fc.property(rules, rule, asker, action, repository, (rules, another, asker, action, repository) => {
        const before = decide(policyOf(rules), asker, action, repository).allowed;
        for (const more of [
          [...rules, another],
          [another, ...rules],
        ]) {
          expect(decide(policyOf(more), asker, action, repository).allowed || !before).toBe(true);
        }
      }),
    );
  });

  it('gives every account what it gives strangers, but for corners', () => {
    fc.assert(
      fc.property(rules, name, action, repository, (rules, name, action, repository) => {
        const policy = policyOf(rules);
        const stranger = decide(policy, 'anonymous', action, repository).allowed;
        expect(decide(policy, { name }, action, repository).allowed || !stranger).toBe(true);
      }),
    );
  });

  it('names nobody into another corner', () => {
    const corners = policyOf([{ repositories: '${user}/**', push: ['${user}'] }]);
    fc.assert(
      fc.property(fc.oneof(name, fc.string()), action, repository, (name, action, repository) => {
        const { allowed } = decide(corners, { name }, action, repository);
        expect(allowed && !repository.startsWith(`${name}/`)).toBe(false);
        expect(allowed && name.includes('/')).toBe(false);
      }),
    );
  });

  it('lets those pull everything of whom it says so', () => {
    fc.assert(
      fc.property(rules, asker, repository, (rules, asker, repository) => {
        const policy = policyOf(rules);
        fc.pre(mayPullEverything(policy, asker));
        expect(decide(policy, asker, 'pull', repository).allowed).toBe(true);
      }),
    );
  });
});
