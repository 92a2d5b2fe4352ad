import { setFlagsFromString } from 'node:v8';
import { setImmediate as turn } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { Exchange } from './exchange.js';
import { Herd } from './herd.js';

setFlagsFromString('--expose_gc');
const collect = runInNewContext('gc') as () => void;

test('an exchange that lasts does not hold those that came after it', async () => {
  const herd = new Herd(() => undefined);
  const first = forManifest();
  herd.add(first);
  const second = addedAndOver(herd, first);
  await turn();
  collect();
  expect(second.deref()).toBeUndefined();
  expect(first.asking?.others).toEqual([]);
});

/** One that waited for `first`, was sent then, and is over. */
function addedAndOver(herd: Herd, first: Exchange): WeakRef<Exchange> {
  const second = forManifest();
  herd.add(second);
  first.asking?.over();
  second.asking?.over();
  return new WeakRef(second);
}

function forManifest(): Exchange {
  const request = { method: 'GET', url: '/v2/a/manifests/1', headers: {}, socket: { destroyed: false } };
  return { request, response: { destroyed: false }, route: { kind: 'manifest' } } as unknown as Exchange;
}
