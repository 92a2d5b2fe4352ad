import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { ask, basic, deadPort, listenOn, openDoor, upstreamAt } from './harness.js';

const uploads = '/v2/team/app/blobs/uploads/';
const credentials = basic('bob');
const uploadIds = Array.from({ length: 20 }, (_, index) => `01234567-0123-4123-8123-0123456789${10 + index}`);

interface Registry {
  server: Server;
  port: number;
  /** Method and path of what it was asked, besides checks. */
  asked: string[];
}

async function startRegistry(answer?: RequestListener, port = 0): Promise<Registry> {
  const asked: string[] = [];
  const server = createServer((incoming, response) => {
    if (incoming.url !== '/v2/') asked.push(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
    if (answer) answer(incoming, response);
    else incoming.resume().once('end', () => response.end());
  });
  onTestFinished(() => {
    stop(server);
  });
  if (port === 0) return { server, port: await listenOn(server), asked };
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { server, port, asked };
}

function stop(server: Server): void {
  server.close();
  server.closeAllConnections();
}

/** A port on which the system drops what comes, as that of a machine that is gone. */
async function silentPort(): Promise<number> {
  const program = `const server = require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
    console.log(server.address().port);
    process.kill(process.pid, 'SIGSTOP');
  });`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const port = Number(line.toString());
  const waiting = Array.from({ length: 4 }, () => connect(port, '127.0.0.1').on('error', () => undefined));
  onTestFinished(() => {
    child.kill('SIGKILL');
    for (const socket of waiting) socket.destroy();
  });
  await once(waiting[0] as Socket, 'connect');
  return port;
}

describe('of several registries', () => {
  test.each([
    ['GET', undefined],
    ['PUT', 'x'.repeat(3_000_000)],
  ])('one whose machine is gone costs a %s seconds, and nothing else', async (method, body) => {
    const registry = await startRegistry();
    const door = await openDoor({ upstreams: [await silentPort(), registry.port].map(upstreamAt) });
    const answers = [1, 2].map(() => ask(door, method, '/v2/team/app/manifests/1', credentials, body));
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([200, 200]);
    expect(registry.asked).toHaveLength(2);
  });

  test('one gets every request of an upload, and each gets some uploads', async () => {
    const registries = [await startRegistry(), await startRegistry()];
    const door = await openDoor({ upstreams: registries.map(({ port }) => upstreamAt(port)) });
    for (const id of uploadIds) {
      for (const method of ['PATCH', 'GET', 'PUT']) await ask(door, method, uploads + id, credentials);
    }
    for (const { asked } of registries) {
      expect(asked.length).toBeGreaterThan(0);
      expect(asked.length % 3).toBe(0);
      const ids = new Set(asked.map((line) => line.split('/').at(-1)));
      expect(asked).toHaveLength(ids.size * 3);
    }
  });

  test.each(['PATCH', 'POST', 'PUT', 'DELETE'])(
    'a dead one costs a %s nothing, with its body or without one',
    async (method) => {
      const bodies: number[] = [];
      const living = await startRegistry((incoming, response) => {
        void incoming.toArray().then((chunks) => {
          bodies.push(Buffer.concat(chunks as Buffer[]).length);
          response.end();
        });
      });
      for (const id of uploadIds.slice(0, 4)) {
        const door = await openDoor({ upstreams: [upstreamAt(await deadPort()), upstreamAt(living.port)] });
        const path = method === 'POST' ? uploads : uploads + id;
        const body = method === 'DELETE' ? undefined : 'x'.repeat(5_000_000);
        expect((await ask(door, method, path, credentials, body)).status).toBe(200);
        expect(bodies.at(-1)).toBe(body?.length ?? 0);
      }
    },
  );

  test('none gets a request again whose body was begun', async () => {
    const dying: RequestListener = (incoming) => incoming.once('data', () => incoming.socket.destroy());
    const registries = [await startRegistry(dying), await startRegistry(dying)];
    const door = await openDoor({ upstreams: registries.map(({ port }) => upstreamAt(port)) });
    for (const id of uploadIds.slice(0, 5)) {
      const answer = await ask(door, 'PATCH', uploads + id, credentials, 'x'.repeat(1_000_000));
      expect(answer).toMatchObject({ status: 502, error: { code: 'UNAVAILABLE' } });
    }
    expect(registries.flatMap(({ asked }) => asked)).toHaveLength(5);
  });

  test('one that fails its checks is left out, and gets requests again when it passes one', async () => {
    let healthy = false;
    const sick = await startRegistry((incoming, response) => {
      incoming.resume();
      response.writeHead(healthy ? 401 : 503).end();
    });
    const well = await startRegistry();
    const door = await openDoor({ upstreams: [upstreamAt(sick.port), upstreamAt(well.port)], checkEvery: 10 });
    const said = (text: string) =>
      vi.waitFor(() => {
        expect(door.log.map(({ msg }) => msg)).toContain(text);
      });
    await said('a registry is down and gets no requests');
    expect(door.log.find(({ registry }) => registry === `http://127.0.0.1:${sick.port}`)).toMatchObject({
      reason: 'it answers 503',
    });
    for (const id of uploadIds) expect((await ask(door, 'PATCH', uploads + id, credentials)).status).toBe(200);
    expect(sick.asked).toEqual([]);
    healthy = true;
    await said('a registry is up again');
    for (const id of uploadIds) await ask(door, 'PATCH', uploads + id, credentials);
    expect(sick.asked.length).toBeGreaterThan(0);
  });

  test('one that died is left out until it listens again', async () => {
    const [first, second] = [await startRegistry(), await startRegistry()];
    const upstreams = [upstreamAt(first.port), upstreamAt(second.port)];
    const door = await openDoor({ upstreams, checkEvery: 10 });
    stop(first.server);
    for (const id of uploadIds) expect((await ask(door, 'GET', uploads + id, credentials)).status).toBe(200);
    const again = await startRegistry(undefined, first.port);
    await vi.waitFor(() => {
      expect(door.upstreams.isUp(upstreams[0] as (typeof upstreams)[0])).toBe(true);
    });
    for (const id of uploadIds) expect((await ask(door, 'GET', uploads + id, credentials)).status).toBe(200);
    expect(again.asked.length).toBeGreaterThan(0);
  });
});

test('no request is cut off for taking long, as long as something moves', async () => {
  const door = await openDoor();
  // Node's own limit would be 300 s, whatever arrives meanwhile.
  expect(door.server.requestTimeout).toBe(0);
});
