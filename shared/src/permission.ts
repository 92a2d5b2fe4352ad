import { z } from 'zod';

/** What may be done to a repository. */
export type Action = 'pull' | 'push' | 'delete';

/**
 * One entry of a token's `access` claim, as Docker's token specification has it.
 * https://distribution.github.io/distribution/spec/auth/jwt/
 */
export const accessSchema = z.object({
  type: z.enum(['repository', 'registry']),
  name: z.string(),
  actions: z.array(z.string()).readonly(),
});
export type Access = z.infer<typeof accessSchema>;

/** The access that stands for pulling from every repository; no repository can have this name. */
export const everything = '*';

export const catalogAccess: Access = { type: 'registry', name: 'catalog', actions: ['*'] };

/** What lets its holder do `actions` in one repository. */
export function repositoryAccess(name: string, ...actions: Action[]): Access {
  return { type: 'repository', name, actions };
}

/** Whether `granted` holds every action of `needed`. */
export function covers(granted: readonly Access[], needed: Access): boolean {
  return needed.actions.every((action) =>
    granted.some(({ type, name, actions }) => type === needed.type && name === needed.name && actions.includes(action)),
  );
}
