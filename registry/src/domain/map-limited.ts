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
  try {
    for await (const item of items) {
      const call = action(item);
      // Awaited in its turn.
      call.catch(() => undefined);
      if (ahead.push(call) < limit) continue;
      yield (await ahead.shift()) as Result;
    }
    for (let call; (call = ahead.shift());) yield await call;
  } finally {
    // Nobody asks any more: none is under way when this has ended.
    await Promise.allSettled(ahead);
  }
}

/** Makes calls `limit` at a time, whoever asks for them; the others wait for their turn. */
export function limited(limit: number): <Result>(call: () => Promise<Result>) => Promise<Result> {
  const waiting: (() => void)[] = [];
  let underWay = 0;
  return async (call) => {
    if (underWay < limit) underWay += 1;
    else await new Promise<void>((begin) => waiting.push(begin));
    try {
      return await call();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else underWay -= 1;
    }
  };
}
