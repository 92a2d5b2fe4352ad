/** `length` bytes from `start`, counted from 0. */
export interface ByteRange {
  start: number;
  length: number;
}

/** Each is a reading of the storage; whoever asks for more gets the whole (RFC 9110 §14.2). */
const mostRanges = 16;

/**
 * What a `Range` header asks of `size` bytes, as Go's http.ServeContent reads it: undefined when the whole is to be
 * served (no header, another unit, no bytes, or ranges that are many or overlap to more than the whole), an empty list when
 * none can be satisfied (416). RFC 9110 §14.
 */
export function parseRange(header: string | undefined, size: number): ByteRange[] | undefined {
  if (header === undefined || !header.startsWith('bytes=')) return undefined;
  const specs = header
    .slice('bytes='.length)
    .split(',')
    .map((spec) => spec.trim())
    .filter((spec) => spec !== '');
  // Some clients send a range with every request, and no range of nothing can be satisfied.
  if (specs.length === 0 || specs.length > mostRanges || size === 0) return undefined;
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const match = /^(\d*)\s*-\s*(\d*)$/.exec(spec);
    if (!match) return [];
    const [, first = '', last = ''] = match;
    if (first === '' && last === '') return [];
    if (first === '') {
      const length = Math.min(Number(last), size);
      if (length > 0) ranges.push({ start: size - length, length });
      continue;
    }
    const start = Number(first);
    const end = last === '' ? size - 1 : Number(last);
    if (last !== '' && end < start) return [];
    if (start < size) ranges.push({ start, length: Math.min(end + 1, size) - start });
  }
  const total = ranges.reduce((sum, { length }) => sum + length, 0);
  return total > size ? undefined : ranges;
}
