/** One version of the metrics library for both services, so that what each counts appears in one registry. */
export { AggregatorRegistry, collectDefaultMetrics, Counter, Gauge, Histogram, Registry, register } from 'prom-client';
