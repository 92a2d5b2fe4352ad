/** Calls to the storage that one request has under way at most. */
export const concurrency = 16;

/** Calls `action` for every item, at most `concurrency` at a time; after a failure it begins no more, and throws the first one. */
export async function mapLimited<T>(
  items: Iterable<T> | AsyncIterable<T>,
  action: (item: T) => Promise<unknown>,
): Promise<void> {
  const running = new Set<Promise<unknown>>();
  const failures: unknown[] = [];
  for await (const item of items) {
    const call: Promise<unknown> = action(item)
      .catch((error: unknown) => failures.push(error))
      .finally(() => running.delete(call));
    running.add(call);
    if (running.size >= concurrency) await Promise.race(running);
    if (failures.length > 0) break;
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}

/** What `action` makes of every item, in their order: it is called for at most `limit` of them before they are asked for. */
export async function* mapOrdered<T, Result>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  action: (item: T) => Promise<Result>,
): AsyncGenerator<Result> {
  const ahead: Promise<Result>[] = [];
  for await (const item of items) {
    const call = action(item);
    // Awaited in its turn, or never, when nobody asks any more.
    call.catch(() => undefined);
    if (ahead.push(call) < limit) continue;
    yield (await ahead.shift()) as Result;
  }
  for (const call of ahead) yield await call;
}
