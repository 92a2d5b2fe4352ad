import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { expectStatus, locationOf } from './harness/images.js';
import { Wharfie } from './harness/wharfie.js';

/** An upload of five bytes, of which the door has agreed to take what comes. */
async function beginUpload(wharfie: Wharfie) {
  const begun = await expectStatus(await wharfie.fetch('/v2/team/app/blobs/uploads/', { method: 'POST' }), 202);
  const [host = '', port] = wharfie.address.split(':');
  const socket = connect(Number(port), host).setEncoding('latin1');
  let said = '';
  socket.on('data', (chunk: string) => (said += chunk)).on('error', () => undefined);
  const closed = once(socket, 'close');
  const credentials = Buffer.from(`admin:${wharfie.password}`).toString('base64');
  const head = [
    `Host: ${wharfie.address}`,
    `Authorization: Basic ${credentials}`,
    'Content-Length: 5',
    'Expect: 100-continue',
  ];
  socket.write(`PATCH ${locationOf(begun)} HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n`);
  while (!said.includes('100 Continue')) await once(socket, 'data');
  socket.write('he');
  return { socket, closed, said: () => said };
}

it('an upload under way ends in peace when the services are told to stop', async () => {
  const wharfie = await Wharfie.start();
  try {
    const upload = await beginUpload(wharfie);
    const stopped = wharfie.stop('SIGTERM');
    await wharfie.said(/"service":"proxy".*stopping; requests under way have 30 s/);
    upload.socket.write('llo');
    await upload.closed;
    expect(upload.said()).toMatch(/HTTP\/1\.1 202 Accepted\r\n/);
    expect(await stopped).toBe(0);
  } finally {
    await wharfie.dispose();
  }
});

it('an upload that takes longer than WHARFIE_DRAIN is cut off', async () => {
  const wharfie = await Wharfie.start({ env: { WHARFIE_DRAIN: '1' } });
  try {
    const upload = await beginUpload(wharfie);
    expect(await wharfie.stop('SIGTERM')).toBe(0);
    await upload.closed;
    expect(upload.said()).not.toContain('202 Accepted');
  } finally {
    await wharfie.dispose();
  }
});
