import { AggregatorRegistry, type register } from '@wharfie/shared';

/** What one process counts and measures. */
export type ProcessMetrics = Awaited<ReturnType<typeof register.getMetricsAsJSON>>;

/**
 * The metrics of several processes as one. What a process last said stays: its counters and histograms for good, because
 * a counter that goes backwards is taken for a restart; its gauges, such as memory, until it ends.
 */
export class SummedMetrics {
  readonly #living = new Map<object, ProcessMetrics>();
  #ended: Promise<ProcessMetrics> = Promise.resolve([]);

  /** Notes what `child` says now. */
  remember(child: object, metrics: ProcessMetrics): void {
    this.#living.set(child, metrics);
  }

  /** `child` says nothing any more. */
  ended(child: object): void {
    // The library's type says a number, which is never there.
    const last = (this.#living.get(child) ?? []).filter(({ type }) => String(type) !== 'gauge');
    this.#living.delete(child);
    this.#ended = this.#ended.then((before) => AggregatorRegistry.aggregate([before, last]).getMetricsAsJSON());
  }

  /** Everything that is known, in Prometheus' format, with `own` added. */
  async with(own: ProcessMetrics): Promise<string> {
    const ended = await this.#ended;
    return AggregatorRegistry.aggregate([own, ...this.#living.values(), ended]).metrics();
  }
}
