import { describe, expect, it } from 'vitest';
import { catalogAccess, covers, repositoryAccess } from './permission.js';

describe('access that was granted', () => {
  const granted = [repositoryAccess('team/app', 'pull', 'push'), repositoryAccess('team', 'pull')];

  it('covers the same repository and any of the actions', () => {
    expect(covers(granted, repositoryAccess('team/app', 'push'))).toBe(true);
    expect(covers(granted, repositoryAccess('team/app', 'pull', 'push'))).toBe(true);
  });

  it('covers actions that several entries give together', () => {
    const entries = [repositoryAccess('a', 'pull'), repositoryAccess('a', 'push')];
    expect(covers(entries, repositoryAccess('a', 'pull', 'push'))).toBe(true);
  });

  it('covers no other action, no other repository and no other type', () => {
    expect(covers(granted, repositoryAccess('team/app', 'delete'))).toBe(false);
    expect(covers(granted, repositoryAccess('team', 'push'))).toBe(false);
    expect(covers(granted, repositoryAccess('team/app/x', 'pull'))).toBe(false);
    expect(covers(granted, catalogAccess)).toBe(false);
    expect(covers([], repositoryAccess('team/app', 'pull'))).toBe(false);
  });

  it('to a repository that is named catalog does not open the catalog', () => {
    expect(covers([repositoryAccess('catalog', 'pull')], { ...catalogAccess, actions: ['pull'] })).toBe(false);
  });
});
