import type { Access, Action, Identity, Route } from '@wharfie/shared';
import { everything, OciError, repositoryAccess } from '@wharfie/shared';
import { allowsAnonymous, decide, mayPullEverything, type Asker } from './access/decide.js';
import type { Policy } from './access/policy.js';
import { unauthorized } from './authenticate.js';

/**
 * What the request may do, and no more than it needs. The answer never depends on what exists.
 * @throws OciError UNAUTHORIZED when an account might help, DENIED when it does not
 */
export function authorize(policy: Policy, asker: Asker, route: Route): Identity {
  const needsAccount = route.kind === 'version' || (route.kind === 'catalog' && !allowsAnonymous(policy));
  if (asker === 'anonymous' && needsAccount) {
    throw unauthorized('this registry needs a login: use a name and a password');
  }
  for (const access of route.access) refuseUnlessAllowed(policy, asker, access);
  const subject = asker === 'anonymous' ? '' : asker.name;
  return { subject, access: [...route.access, ...mountAccess(policy, asker, route)] };
}

function refuseUnlessAllowed(policy: Policy, asker: Asker, { type, name, actions }: Access): void {
  if (type !== 'repository') return;
  for (const action of actions as Action[]) {
    if (decide(policy, asker, action, name).allowed) continue;
    if (asker === 'anonymous') {
      throw unauthorized(`whoever wants to ${phrase(action, name)} must log in: use a name and a password`);
    }
    const message = `${asker.name} may not ${phrase(action, name)}; ask an admin of this registry`;
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

function phrase(action: Action, repository: string): string {
  return { pull: `pull ${repository}`, push: `push to ${repository}`, delete: `delete from ${repository}` }[action];
}
