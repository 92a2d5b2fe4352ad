/** Whether an `If-None-Match` names this digest, quoted or not, weak or not. RFC 9110 §13.1.2 */
export function isKnown(ifNoneMatch: string | undefined, digest: string): boolean {
  if (ifNoneMatch === undefined) return false;
  return ifNoneMatch.split(',').some((tag) =>
    ['*', digest].includes(
      tag
        .trim()
        .replace(/^W\//, '')
        .replace(/^"(.*)"$/, '$1'),
    ),
  );
}
