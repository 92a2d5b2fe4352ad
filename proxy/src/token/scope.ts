import { catalogAccess, isRepositoryName, repositoryAccess, type Access, type Action } from '@wharfie/shared';
import { allowsAnonymous, decide, type Asker } from '../access/decide.js';
import { actions, type Policy } from '../access/policy.js';

/**
 * What the `scope` parameters of a token request ask for, one entry a repository, whatever their number and order. What
 * is not understood asks for nothing, as the specification wants it: a token with less is an answer, an error is none.
 * https://distribution.github.io/distribution/spec/auth/scope/
 */
export function parseScopes(parameters: readonly string[]): Access[] {
  const repositories = new Map<string, Set<Action>>();
  let catalog = false;
  for (const scope of parameters.flatMap((parameter) => parameter.split(' '))) {
    const [, type, name = '', words = ''] = /^([^:]+):(.+):([^:]*)$/.exec(scope) ?? [];
    const asked = words.split(',');
    if (type === 'registry' && name === 'catalog') catalog ||= asked.includes('*');
    if (type !== 'repository' || !isRepositoryName(name)) continue;
    const known = actions.filter((action) => asked.includes(action) || asked.includes('*'));
    repositories.set(name, new Set([...(repositories.get(name) ?? []), ...known]));
  }
  const asked = [...repositories].map(([name, set]) => repositoryAccess(name, ...actions.filter((a) => set.has(a))));
  return catalog ? [catalogAccess, ...asked] : asked;
}

/** The part of `asked` that `asker` may have, by the policy of now. */
export function grant(policy: Policy, asker: Asker, asked: readonly Access[]): Access[] {
  return asked
    .map((access): Access => {
      if (access.type === 'registry') return asker === 'anonymous' && !allowsAnonymous(policy) ? none(access) : access;
      const allowed = (access.actions as Action[]).filter(
        (action) => decide(policy, asker, action, access.name).allowed,
      );
      return repositoryAccess(access.name, ...allowed);
    })
    .filter((access) => access.actions.length > 0);
}

/** `access` as a challenge names it. Whoever pushes also looks at what is there already. */
export function scopeText(access: readonly Access[]): string {
  return access
    .map(({ type, name, actions: needed }) => {
      const words = needed.includes('push') ? ['pull', 'push'] : needed;
      return `${type}:${name}:${words.join(',')}`;
    })
    .join(' ');
}

function none(access: Access): Access {
  return { ...access, actions: [] };
}
