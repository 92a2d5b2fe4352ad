import { describe, expect, it } from 'vitest';
import { compilePattern } from './pattern.js';

describe('patterns', () => {
  it.each([
    ['team/**', 'team/a, team/a/b', 'team, teams/a, x/team/a'],
    ['**', 'a, a/b, a/b/c', ''],
    ['*', 'a', 'a/b'],
    ['team/*', 'team/a', 'team, team/a/b'],
    ['**/app', 'app, a/app, a/b/app', 'myapp, app/x'],
    ['a/**/b', 'a/b, a/x/b, a/x/y/b', 'a, a/xb'],
    ['team{,/**}', 'team, team/a', 'teams'],
    ['{a,b}/*', 'a/x, b/x', 'a, c/x, a/x/y'],
    ['{a,b{c,d}}', 'a, bc, bd', 'b, ab'],
    ['{a/**,b}/c', 'a/c, a/x/c, b/c', 'a, b/x/c'],
    ['app-?', 'app-1', 'app-, app-12'],
    ['a.b', 'a.b', 'axb'],
    ['team*', 'team, teams', 'team/a, a/team'],
    ['Team/*', '', 'team/a'],
    ['*-*-*-*', 'a-b-c-d, a-b-c-d-e', 'a-b-c, a-b-c/d-e'],
    ['**/a/**/b', 'a/b, x/a/y/a/z/b, a/a/b', 'b, a/b/c'],
    ['a/*/**', 'a/b/c, a/b/c/d', 'a, a/b'],
    ['*b*/?', 'b/c, abc/d', 'ac/d, b/cd'],
  ])('%s means %s but not %s', (pattern, yes, no) => {
    const { matches } = compilePattern(pattern);
    for (const name of yes.split(', ').filter(Boolean)) expect([name, matches(name, 'bob')]).toEqual([name, true]);
    for (const name of no.split(', ').filter(Boolean)) expect([name, matches(name, 'bob')]).toEqual([name, false]);
  });

  it.each([
    ['', 'empty'],
    ['!a', '"!"'],
    ['@(a|b)', '"@"'],
    ['a[bc]', '"["'],
    ['a\\*', '"\\\\"'],
    ['(a)', '"("'],
    ['a b', '" "'],
    ['~/x', '"~"'],
    ['${users}/*', '"$"'],
    ['$anonymous', '"$"'],
    ['a**', 'stand alone'],
    ['a{**,b}', 'stand alone'],
    ['{a/**,b}c', 'stand alone'],
    ['a/**/**', 'no more than'],
    ['/a', 'slash'],
    ['a/', 'slash'],
    ['a//b', 'slash'],
    ['./a', 'alone'],
    ['{a', 'no partner'],
    ['a}', 'no partner'],
    ['a,b', 'list'],
    ['{1..3}', '..'],
    ['{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}', 'more than 1000'],
  ])('refuses %s', (pattern, reason) => {
    expect(() => compilePattern(pattern)).toThrow(reason);
  });

  it('takes no time to speak of, whatever it is and whatever it is asked', () => {
    // Backtracking would not come to an end in this universe.
    const { matches } = compilePattern(`${'*a'.repeat(50)}*z/${'**/a/'.repeat(50)}z`);
    expect(matches('a'.repeat(255), undefined)).toBe(false);
    expect(matches(`az/${'a/'.repeat(125)}a`, undefined)).toBe(false);
  });

  it('gives each user a corner, and no corner to a name that is no component', () => {
    const { matches } = compilePattern('${user}/**');
    expect(matches('bob/app', 'bob')).toBe(true);
    expect(matches('bob', 'bob')).toBe(false);
    expect(matches('bobby/app', 'bob')).toBe(false);
    expect(matches('bob/app', undefined)).toBe(false);
    for (const user of ['*', '**', '?ob', '{bob,ann}', 'bob/app', '', '.', '..', 'b*', '~', '${user}', '!ann', 'Bob']) {
      expect([user, matches('bob/app/x', user)]).toEqual([user, false]);
    }
  });
});
