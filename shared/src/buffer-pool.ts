/** Bytes of a buffer: large enough that the thread that reads and writes files is seldom woken. */
const large = 1024 * 1024;
/** The same once all large ones are in use, so that there is memory for many. */
const small = 128 * 1024;
/** How many large ones there are at most. */
const most = 16;
/** Bytes of a buffer once `plenty` are lent in small ones: then thousands wait for clients that do not read. */
const least = 16 * 1024;
const plenty = 64 * 1024 * 1024;

const spare: Buffer[] = [];
let made = 0;
let lent = 0;

/** A buffer for bytes on their way, whose content is anything. Whoever is done with it gives it back. */
export function takeBuffer(): Buffer {
  const known = spare.pop();
  if (known) return known;
  if (made === most) {
    const size = lent < plenty ? small : least;
    lent += size;
    return pages(size);
  }
  made += 1;
  return pages(large);
}

/** Only of buffers that nothing reads or writes any more. */
export function giveBack(...buffers: Buffer[]): void {
  for (const buffer of buffers) {
    if (buffer.length === large) spare.push(buffer);
    else lent -= buffer.length;
  }
}

/** Begins at a page of memory, as writing past the kernel's cache needs; an ArrayBuffer that could grow does. */
function pages(size: number): Buffer {
  return Buffer.from(new ArrayBuffer(size, { maxByteLength: size }), 0, size);
}
