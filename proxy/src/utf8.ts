/** Whether `text` was UTF-8: Node reads every byte that is not as U+FFFD, so that different texts would be the same. */
export function wasUtf8(text: string): boolean {
  return !text.includes('\uFFFD');
}
