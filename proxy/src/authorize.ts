import type { Access, Action, Identity, Route } from '@wharfie/shared';
import { covers, everything, OciError, repositoryAccess } from '@wharfie/shared';
import { allowsAnonymous, decide, mayPullEverything, type Asker } from './access/decide.js';
import type { Policy } from './access/policy.js';
import type { Credentials } from './authenticate.js';

/**
 * What the request may do, and no more than it needs: what the policy of now allows, and of that, with a token, what
 * stands in it. The answer never depends on what exists.
 * @throws OciError UNAUTHORIZED when an account or another token might help, DENIED when it does not
 */
export function authorize(policy: Policy, { asker, scope }: Credentials, route: Route): Identity {
  if (asker === 'anonymous' && needsAccount(policy, scope, route)) {
    throw new OciError('UNAUTHORIZED', 'this registry needs a login: use a name and a password');
  }
  for (const access of route.access) refuseUnlessAllowed(policy, asker, access);
  if (scope && !route.access.every((access) => covers(scope, access))) {
    throw new OciError('UNAUTHORIZED', 'the token was not given for this: ask for one with the scope of the challenge');
  }
  const subject = asker === 'anonymous' ? '' : asker.name;
  const mount = mountAccess(policy, asker, route).filter((access) => !scope || covers(scope, access));
  return { subject, access: [...route.access, ...mount] };
}

/** `/v2/` is where clients learn how to log in. Whoever comes back from there with a token has learned it. */
function needsAccount(policy: Policy, scope: readonly Access[] | undefined, { kind }: Route): boolean {
  if (kind === 'version') return !scope || !allowsAnonymous(policy);
  return kind === 'catalog' && !allowsAnonymous(policy);
}

function refuseUnlessAllowed(policy: Policy, asker: Asker, { type, name, actions }: Access): void {
  if (type !== 'repository') return;
  for (const action of actions as Action[]) {
    if (decide(policy, asker, action, name).allowed) continue;
    if (asker === 'anonymous') {
      throw new OciError(
        'UNAUTHORIZED',
        `whoever wants to ${phrase(action, name)} must log in: use a name and a password`,
      );
    }
    const message = `${asker.name} may not ${phrase(action, name)}: that takes the right ${action} there; ask ${admins(policy)}`;
    throw new OciError('DENIED', message, { user: asker.name, action, repository: name });
  }
}

/** What a mount needs besides the push: without it the registry makes it an ordinary upload, as for a blob that is not there. */
function mountAccess(policy: Policy, asker: Asker, route: Route): Access[] {
  if (route.kind !== 'uploads' || !route.mount) return [];
  const { from } = route.mount;
  if (from !== undefined) return decide(policy, asker, 'pull', from).allowed ? [repositoryAccess(from, 'pull')] : [];
  return mayPullEverything(policy, asker) ? [repositoryAccess(everything, 'pull')] : [];
}

/** Who can help, as far as the policy knows. */
function admins({ admins: { names } }: Policy): string {
  if (names.size === 0) return 'whoever runs this registry';
  const some = [...names].slice(0, 3);
  if (names.size > some.length) some.push('another admin');
  return [some.slice(0, -1).join(', '), some.at(-1)].filter(Boolean).join(' or ');
}

function phrase(action: Action, repository: string): string {
  return { pull: `pull ${repository}`, push: `push to ${repository}`, delete: `delete from ${repository}` }[action];
}
