import { describe, expect, it } from 'vitest';
import { freeBuffer } from './free-buffer.js';

describe('freeBuffer', () => {
  it('frees the memory of a buffer at once', () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let count = 0; count < 200; count += 1) {
      const buffer = Buffer.allocUnsafeSlow(1024 * 1024);
      freeBuffer(buffer);
      expect(buffer.length).toBe(0);
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20 * 1024 * 1024);
  });

  it('leaves a part of something larger alone', () => {
    const whole = Buffer.allocUnsafeSlow(64 * 1024).fill('a');
    freeBuffer(whole.subarray(1));
    freeBuffer(whole.subarray(0, 32 * 1024));
    expect(whole.toString()).toBe('a'.repeat(64 * 1024));
  });

  it('leaves what is small alone, which may lie in a pool', () => {
    const small = Buffer.from('small');
    freeBuffer(small);
    expect(small.toString()).toBe('small');
  });

  it('may be told twice', () => {
    const buffer = Buffer.allocUnsafeSlow(8192);
    freeBuffer(buffer);
    freeBuffer(buffer);
    expect(buffer.length).toBe(0);
  });
});
