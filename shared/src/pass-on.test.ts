import { once } from 'node:events';
import { PassThrough, Readable, Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { passOn, writeAndFree } from './pass-on.js';

describe('writeAndFree', () => {
  it('frees the bytes when they were taken, and not before', async () => {
    let done = (): void => undefined;
    const slow = new Writable({
      write: (_chunk, _encoding, callback) => {
        done = callback;
      },
    });
    const bytes = Buffer.allocUnsafeSlow(8192);
    writeAndFree(slow, bytes);
    await new Promise(setImmediate);
    expect(bytes.length).toBe(8192);
    done();
    await new Promise(setImmediate);
    expect(bytes.length).toBe(0);
  });

  it('says when to wait', async () => {
    const full = new PassThrough({ highWaterMark: 16 });
    expect(writeAndFree(full, Buffer.from('ab'))).toBe(true);
    expect(writeAndFree(full, Buffer.from('ab'.repeat(16)))).toBe(false);
    full.resume();
    await once(full, 'drain');
  });

  it('frees the bytes when they cannot be sent', async () => {
    const closed = new Writable({ write: () => undefined });
    closed.on('error', () => undefined).destroy();
    const bytes = Buffer.allocUnsafeSlow(8192);
    writeAndFree(closed, bytes);
    await new Promise(setImmediate);
    expect(bytes.length).toBe(0);
  });
});

describe('passOn', () => {
  const pieces = () => ['a', 'b', 'c'].map((letter) => Buffer.alloc(100_000, letter));

  it('passes everything on in order, frees it, and leaves the other side open', async () => {
    const [given, sizes, taken]: [Buffer[], number[], Buffer[]] = [pieces(), [], []];
    const slow = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        taken.push(Buffer.from(chunk));
        setImmediate(done);
      },
    });
    await passOn(Readable.from(given, { objectMode: false }), slow, (size) => sizes.push(size));
    while (slow.writableLength > 0) await new Promise(setImmediate);
    expect(Buffer.concat(taken).equals(Buffer.concat(pieces()))).toBe(true);
    expect(sizes).toEqual([100_000, 100_000, 100_000]);
    expect(given.map(({ length }) => length)).toEqual([0, 0, 0]);
    expect(slow.writableEnded).toBe(false);
  });

  it('reads no faster than the other side takes', async () => {
    const stuck = new Writable({ write: () => undefined });
    const from = Readable.from(pieces(), { objectMode: false });
    let seen = 0;
    void passOn(from, stuck, () => (seen += 1)).catch(() => undefined);
    for (let turn = 0; turn < 20; turn += 1) await new Promise(setImmediate);
    expect(seen).toBe(1);
  });

  it('fails as its source does', async () => {
    const broken = new Readable({
      read() {
        this.destroy(new Error('broken'));
      },
    });
    await expect(passOn(broken, new PassThrough(), () => undefined)).rejects.toThrow('broken');
  });

  it('fails when the other side refuses a piece', async () => {
    const to = new Writable();
    to.write = () => {
      throw new Error('too long');
    };
    await expect(passOn(Readable.from(pieces(), { objectMode: false }), to, () => undefined)).rejects.toThrow('long');
  });

  it('fails when its source is closed early', async () => {
    const from = new Readable({ read: () => undefined });
    setImmediate(() => from.destroy());
    await expect(passOn(from, new PassThrough(), () => undefined)).rejects.toThrow('early');
  });

  it.each([
    ['is closed', (to: Writable) => setImmediate(() => to.destroy())],
    ['was closed', (to: Writable) => to.destroy()],
  ])('fails and lets its source go when the other side %s', async (_when, close) => {
    const [from, to] = [new Readable({ read: () => undefined }), new PassThrough()];
    close(to);
    await expect(passOn(from, to, () => undefined)).rejects.toThrow('early');
    expect(from.destroyed).toBe(true);
  });
});
