/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((one, two) => one - two);
  const [low = NaN, high = NaN] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return (low + high) / 2;
}

/** Three digits say enough. @param {number} value */
export function shown(value) {
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : 2);
}
