/**
 * Has `purge` look at each of `names`, also after one that it failed at; counts those that it says to have removed.
 * @throws Error after the last one when it failed at some, with the first failure as its cause
 */
export async function purgeEach(
  names: Iterable<string>,
  purge: (name: string) => Promise<boolean>,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  const failures: unknown[] = [];
  for (const name of names) {
    signal.throwIfAborted();
    try {
      if (await purge(name)) removed += 1;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 0) return removed;
  throw new Error(`${removed} were removed, at ${failures.length} it failed`, { cause: failures[0] });
}
