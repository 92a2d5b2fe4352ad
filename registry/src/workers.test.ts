import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Counter, Gauge, Histogram, Registry } from '@wharfie/shared';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { SummedMetrics } from './summed-metrics.js';
import { Workers } from './workers.js';

async function said(requests: number, memory: number) {
  const registers = [new Registry()];
  new Counter({ name: 'requests_total', help: 'x', labelNames: ['kind'], registers }).inc({ kind: 'blob' }, requests);
  new Gauge({ name: 'memory_bytes', help: 'x', registers }).set(memory);
  const seconds = new Histogram({ name: 'seconds', help: 'x', buckets: [1], registers });
  for (let count = 0; count < requests; count += 1) seconds.observe(0.5);
  return registers[0]?.getMetricsAsJSON() ?? [];
}

describe('the metrics of several processes', () => {
  it('keep the counters and histograms of those that ended, and only those', async () => {
    const summed = new SummedMetrics();
    const [first, second] = [{}, {}];
    summed.remember(first, await said(5, 100));
    summed.remember(second, await said(7, 100));
    expect(await summed.with(await said(1, 100))).toMatch(/requests_total\{kind="blob"\} 13\n/);
    summed.ended(first);
    summed.ended(second);
    summed.ended({});
    const text = await summed.with(await said(1, 100));
    expect(text).toMatch(/requests_total\{kind="blob"\} 13\n/);
    expect(text).toMatch(/seconds_count 13\n/);
    expect(text).toMatch(/seconds_bucket\{le="1"\} 13\n/);
    expect(text).toMatch(/memory_bytes 100\n/);
  });
});

/** Workers behind a port of their own, on which `count` connections stay open. */
async function connected(count: number, start: () => ReturnType<typeof fork>) {
  const lines: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => lines.push(line) });
  const served: Socket[] = [];
  const own = { emit: (_: 'connection', socket: Socket) => served.push(socket) > 0 };
  const workers = new Workers(own, { workers: 4, alone: 8 }, logger, start);
  workers.port.listen(0, '127.0.0.1');
  await once(workers.port, 'listening');
  const { port } = workers.port.address() as AddressInfo;
  let taken = 0;
  workers.port.on('connection', () => (taken += 1));
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  onTestFinished(async () => {
    for (const socket of [...sockets, ...served]) socket.destroy();
    await workers.close(60);
  });
  // One that is taken later would start another worker, where a test has killed some.
  await vi.waitFor(() => {
    expect(taken).toBe(count);
  }, 15_000);
  return { workers, lines, served, sockets };
}

function scriptOf(code: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'wharfie-workers-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  writeFileSync(join(folder, 'worker.mjs'), code);
  return join(folder, 'worker.mjs');
}

it('a worker that cannot be started leaves the registry to go on without it', async () => {
  const failed: Promise<unknown>[] = [];
  const start = () => {
    const child = fork('nothing.js', [], { execPath: '/nowhere/node' });
    failed.push(once(child, 'error'));
    return child;
  };
  const { workers, lines, served } = await connected(12, start);
  while (served.length < 12) await new Promise((resolve) => setImmediate(resolve));
  expect(failed.length).toBeGreaterThan(0);
  await Promise.all(failed);
  expect(lines.join('')).toContain('a worker cannot be started');
  expect(await workers.metrics()).toBeTypeOf('string');
});

it('a worker that is killed leaves the connections that wait for it', async () => {
  // It says that it is ready, and takes nothing, not even the first.
  const script = scriptOf(
    "process.send('ready', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)); process.on('message', () => 0);",
  );
  const children: ReturnType<typeof fork>[] = [];
  const ready: Promise<unknown>[] = [];
  const { served, sockets, lines } = await connected(60, () => {
    const child = fork(script);
    children.push(child);
    ready.push(once(child, 'message'));
    return child;
  });
  let closed = 0;
  for (const socket of sockets) socket.on('close', () => (closed += 1)).resume();
  await vi.waitFor(() => {
    expect(children).toHaveLength(3);
  });
  await Promise.all(ready);
  for (const child of children) child.kill('SIGKILL');
  await vi.waitFor(() => {
    expect(served.length + closed).toBe(60);
  }, 15_000);
  expect(closed).toBeLessThanOrEqual(3);
  expect(lines.join('')).toContain('a worker died');
});

it('a worker that can no longer be reached when it is ready leaves the connections that wait for it', async () => {
  const script = scriptOf("process.send('ready'); process.on('message', () => 0);");
  const { served, sockets } = await connected(60, () => {
    const child = fork(script);
    // Heard before the connections are sent.
    child.once('message', () => {
      child.disconnect();
    });
    return child;
  });
  let closed = 0;
  for (const socket of sockets) socket.on('close', () => (closed += 1)).resume();
  await vi.waitFor(() => {
    expect(served.length + closed).toBe(60);
  }, 15_000);
  expect(closed).toBe(0);
});

it('a worker that cannot open its storage leaves all connections that came while it tried', async () => {
  const script = scriptOf("process.on('message', () => 0); setTimeout(() => process.exit(1), 1000);");
  const { served, lines } = await connected(60, () => fork(script));
  await vi.waitFor(() => {
    expect(served).toHaveLength(60);
  }, 15_000);
  expect(lines.join('')).toContain('a worker died');
});

it('workers that cannot start are not started over and over', async () => {
  const script = scriptOf('process.exit(1);');
  let started = 0;
  const start = () => {
    started += 1;
    return fork(script);
  };
  const { served, workers } = await connected(12, start);
  await vi.waitFor(() => {
    expect(served).toHaveLength(12);
  }, 15_000);
  const before = started;
  const { port } = workers.port.address() as AddressInfo;
  const more = Array.from({ length: 5 }, () => connect(port, '127.0.0.1'));
  await vi.waitFor(() => {
    expect(served).toHaveLength(17);
  }, 15_000);
  expect(started).toBe(before);
  for (const socket of more) socket.destroy();
});

it('a worker whose storage does not open for long leaves its connections, and does not hold up the end', async () => {
  const script = scriptOf("process.on('message', () => 0); setInterval(() => 0, 1000);");
  const { served, workers } = await connected(60, () => fork(script));
  await vi.waitFor(() => {
    expect(served).toHaveLength(60);
  }, 15_000);
  await workers.close(60);
}, 30_000);

it('an end while workers start loses none of the connections that wait for them', async () => {
  const script = scriptOf("process.on('message', (m) => m === 'stop' && process.exit()); setInterval(() => 0, 1000);");
  const { served, sockets, workers } = await connected(60, () => fork(script));
  let closed = 0;
  for (const socket of sockets) socket.on('close', () => (closed += 1)).resume();
  await workers.close(60);
  expect(served).toHaveLength(60);
  expect(closed).toBe(0);
});

it('a worker that is killed takes nothing of its counters along', async () => {
  const metrics = JSON.stringify(await said(5, 100));
  const script = scriptOf(
    `process.on('message', (m) => m === 'stop' ? process.exit() : process.send(${metrics})); process.send('ready');`,
  );
  const children: ReturnType<typeof fork>[] = [];
  const { workers } = await connected(12, () => {
    const child = fork(script);
    children.push(child);
    return child;
  });
  while (children.length < 3) await new Promise((resolve) => setImmediate(resolve));
  const counted = async () => Number(/requests_total\{kind="blob"\} (\d+)/.exec(await workers.metrics())?.[1]);
  // A process that is still starting has not said anything.
  await vi.waitFor(async () => {
    expect(await counted()).toBe(15);
  }, 15_000);
  const [child] = children;
  const exited = child && once(child, 'exit');
  child?.kill('SIGKILL');
  await exited;
  expect(await counted()).toBe(15);
});

it('workers that die while they are told to stop do not keep the others from it', async () => {
  const script = scriptOf("process.on('message', () => undefined); process.send('ready');");
  const children: ReturnType<typeof fork>[] = [];
  const ready: Promise<unknown>[] = [];
  const { workers } = await connected(12, () => {
    const child = fork(script);
    children.push(child);
    ready.push(once(child, 'message'));
    return child;
  });
  await vi.waitFor(() => {
    expect(children).toHaveLength(3);
  });
  await Promise.all(ready);
  for (const child of children) child.kill('SIGKILL');
  // They are dead, and nobody here has heard of it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  await workers.close(60);
});

it('a worker that hangs does not hold up the end', async () => {
  const script = scriptOf("process.on('message', () => { for (;;); }); process.send('ready');");
  const ready: Promise<unknown>[] = [];
  const { workers } = await connected(12, () => {
    const child = fork(script);
    ready.push(once(child, 'message'));
    return child;
  });
  await vi.waitFor(() => {
    expect(ready).toHaveLength(3);
  });
  await Promise.all(ready);
  await workers.close(0);
});
