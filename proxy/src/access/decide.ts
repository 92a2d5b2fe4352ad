import type { Action } from '@wharfie/shared';
import { isOneComponent } from './pattern.js';
import type { Audience, Policy } from './policy.js';

/** The one asking: an account, or somebody without one. */
export type Asker = { readonly name: string } | 'anonymous';

export interface Decision {
  allowed: boolean;
  /** The line of access.yml that allows it; a denial follows from no line. */
  line?: number;
  /** For people: what allows it, or what would have to. Says nothing about whether the repository exists. */
  reason: string;
}

/** The lists that allow an action, in the order in which they are looked at. */
export const allowing: Readonly<Record<Action, readonly Action[]>> = {
  pull: ['pull', 'push', 'delete'],
  push: ['push'],
  delete: ['delete'],
};

/** Whether `asker` may do `action` to `repository`: administrators may, else the first rule that allows it decides. */
export function decide(policy: Policy, asker: Asker, action: Action, repository: string): Decision {
  const admin = adminEntry(policy, asker);
  if (admin) return { allowed: true, line: admin.line, reason: `${nameOf(asker)} is one of the admins` };
  const user = asker === 'anonymous' ? undefined : asker.name;
  for (const { patterns, audiences } of policy.rules) {
    const given = allowing[action].find((list) => includes(audiences.get(list), asker));
    const audience = given && audiences.get(given);
    const pattern = audience && patterns.find(({ matches }) => matches(repository, user));
    if (!pattern) continue;
    const who = audience.who.find(({ text }) => names(policy, text, asker));
    const reason = `the rule for ${pattern.text} gives ${given} to ${who?.text ?? nameOf(asker)}`;
    return { allowed: true, line: who?.line ?? audience.line, reason };
  }
  return { allowed: false, reason: `no rule gives ${nameOf(asker)} ${action} on ${repository}` };
}

/**
 * What is in the way of something that is denied, for people: whom the rules for this repository give it to instead, and
 * the command that would give it to `asker`.
 */
export function remedies(policy: Policy, asker: Asker, action: Action, repository: string): string[] {
  const user = asker === 'anonymous' ? undefined : asker.name;
  const given = policy.rules.flatMap(({ patterns, audiences }) => {
    const pattern = patterns.find(({ matches }) => matches(repository, user));
    if (!pattern) return [];
    return allowing[action].flatMap((list) => {
      const audience = audiences.get(list);
      if (!audience) return [];
      const who = audience.who.map(({ text }) => text).join(', ');
      return [`line ${audience.line} gives ${list} on ${pattern.text} to ${who}`];
    });
  });
  const name = shellWord(nameOf(asker));
  return [...given.slice(0, 3), `\`wharfie access grant ${name} ${action} ${repository}\` would allow it`];
}

/** `text` as one word that a shell leaves as it is. */
export function shellWord(text: string): string {
  return /^[\w.@/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Whether `asker` surely may pull every repository, so that a listing need not be asked name by name. */
export function mayPullEverything(policy: Policy, asker: Asker): boolean {
  if (isAdmin(policy, asker)) return true;
  return policy.rules.some(
    ({ patterns, audiences }) =>
      patterns.some(({ everything }) => everything) &&
      [...audiences.values()].some((audience) => includes(audience, asker)),
  );
}

/** Whether a rule gives something to those without an account. */
export function allowsAnonymous(policy: Policy): boolean {
  return policy.rules.some(({ audiences }) => [...audiences.values()].some(({ anonymous }) => anonymous));
}

export function isAdmin(policy: Policy, asker: Asker): boolean {
  return asker !== 'anonymous' && policy.admins.names.has(asker.name);
}

/** The groups that `name` belongs to. */
export function groupsOf(policy: Policy, name: string): string[] {
  return [...policy.groups].filter(([, members]) => members.some(({ text }) => text === name)).map(([group]) => group);
}

/** The patterns of repositories that the account `name` may push to; its own corner with the name filled in. */
export function pushable(policy: Policy, name: string): string[] {
  if (isAdmin(policy, { name })) return ['everything'];
  const patterns = policy.rules
    .filter(({ audiences }) => includes(audiences.get('push'), { name }))
    .flatMap((rule) => rule.patterns.map(({ text }) => text))
    .filter((text) => !text.includes('${user}') || isOneComponent(name))
    .map((text) => text.replaceAll('${user}', name));
  return [...new Set(patterns)];
}

/** Every place of access.yml that names the account `name` itself, first line first. */
export function mentions(policy: Policy, name: string): { line: number; where: string }[] {
  const places = [
    { where: 'admins', entries: policy.admins.who },
    ...[...policy.groups].map(([group, entries]) => ({ where: `group ${group}`, entries })),
    ...policy.rules.flatMap(({ patterns, audiences }) =>
      [...audiences].map(([action, { who }]) => ({
        where: `${action} on ${patterns.map(({ text }) => text).join(', ')}`,
        entries: who,
      })),
    ),
  ];
  return places
    .flatMap(({ where, entries }) => entries.filter(({ text }) => text === name).map(({ line }) => ({ line, where })))
    .sort((a, b) => a.line - b.line);
}

function includes(audience: Audience | undefined, asker: Asker): boolean {
  if (!audience) return false;
  if (asker === 'anonymous') return audience.anonymous;
  return audience.accounts || audience.names.has(asker.name);
}

/** Whether the word `text` of a list names `asker`. */
function names(policy: Policy, text: string, asker: Asker): boolean {
  if (text === '$anonymous') return true;
  if (asker === 'anonymous') return false;
  if (text === '$authenticated' || text === '${user}') return true;
  if (text.startsWith('@'))
    return policy.groups.get(text.slice(1))?.some((member) => member.text === asker.name) ?? false;
  return text === asker.name;
}

function adminEntry(policy: Policy, asker: Asker) {
  return isAdmin(policy, asker) ? policy.admins.who.find(({ text }) => names(policy, text, asker)) : undefined;
}

function nameOf(asker: Asker): string {
  return asker === 'anonymous' ? '$anonymous' : asker.name;
}
