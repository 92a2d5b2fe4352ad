// A bar chart of one measure, as SVG: a bar to the median of each side, and a line from its lowest to its highest value.
import { median, shown } from './numbers.mjs';

const [width, left, right, row, top] = [720, 230, 130, 30, 36];
const colours = ['#1f6feb', '#8b949e', '#bf8700', '#6e7781'];

/** @param {import('./bench.mjs').Result} result @param {string[]} sides */
export function plot({ title, unit, better, values }, sides) {
  const most = Math.max(...sides.flatMap((side) => values[side] ?? []));
  /** @param {number} value */
  const at = (value) => left + (value / most) * (width - left - right);
  const bars = sides.map((side, index) => {
    const taken = values[side] ?? [];
    const [middle, y] = [median(taken), top + index * row];
    const [from, to] = [at(Math.min(...taken)), at(Math.max(...taken))].map((x) => x.toFixed(1));
    return `<text x="${left - 8}" y="${y + 15}" text-anchor="end">${escaped(side)}</text>
<rect x="${left}" y="${y}" width="${(at(middle) - left).toFixed(1)}" height="20" fill="${colours[index % colours.length]}"/>
<path d="M${from} ${y + 10}H${to}M${from} ${y + 6}v8M${to} ${y + 6}v8" stroke="#24292f"/>
<text x="${(Math.max(at(middle), Number(to)) + 8).toFixed(1)}" y="${y + 15}">${shown(middle)}</text>`;
  });
  const height = top + sides.length * row;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="13">
<rect width="${width}" height="${height}" fill="#ffffff"/>
<text x="8" y="20" font-weight="bold">${escaped(title)}, ${escaped(unit)} (${better} is better)</text>
${bars.join('\n')}
</svg>
`;
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
