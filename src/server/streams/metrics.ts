import type { Metric } from '../http/metrics.ts';
import type { StreamCounters, StreamHub } from './hub.ts';

/** What the streams count, for Prometheus. */
export function streamMetrics(hub: StreamHub): Metric[] {
  const metric = (
    name: Metric['name'],
    help: string,
    type: Metric['type'],
    read: (counters: StreamCounters) => number,
  ): Metric => ({ name, help, type, read: () => read(hub.counters()) });
  return [
    metric(
      'sallyport_streams_open',
      'WebSockets and other streams that are open',
      'gauge',
      ({ open }) => open,
    ),
    metric('sallyport_streams_tasks', 'Tasks that are followed', 'gauge', ({ tasks }) => tasks),
    metric(
      'sallyport_streams_events_sent_total',
      'Events, each as often as it was sent',
      'counter',
      ({ eventsSent }) => eventsSent,
    ),
    metric(
      'sallyport_streams_slow_closed_total',
      'Readers that were closed because they did not keep up',
      'counter',
      ({ slowClosed }) => slowClosed,
    ),
  ];
}
