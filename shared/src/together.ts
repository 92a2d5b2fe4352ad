/** The same call, but whoever asks while one is under way gets its result: many who ask at once cost as much as one. */
export function together<T>(call: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined;
  return () => {
    underWay ??= call().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
}
