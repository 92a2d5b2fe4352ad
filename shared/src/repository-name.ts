/** A component: lower-case letters and digits, joined by one of `.`, `_`, `__` or any number of dashes. */
const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;

/** Longest name accepted, as in distribution; clients count the registry's host name against it too. */
export const maxRepositoryNameLength = 255;

/** Whether `text` is a repository name. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
export function isRepositoryName(text: string): boolean {
  return text.length <= maxRepositoryNameLength && text.split('/').every((part) => component.test(part));
}
