// Makes the load, in a process of its own: is sent what to do, answers with what it measured.
import { createHash, randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { Connection, locationOf } from './connection.mjs';

/** @typedef {import('./connection.mjs').Target} Target */
/** @typedef {{ digest: string, length: number, pieces: Buffer[] }} Blob */

const mebibyte = 1024 * 1024;
const piece = randomBytes(mebibyte);
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** What can be asked of this process. */
const operations = {
  /** Pushes blobs at once, each in one PATCH or in chunks of `chunk` bytes. @param {{ target: Target, repository: string, bytes: number, chunk?: number, clients?: number }} load */
  async push({ target, repository, bytes, chunk, clients = 1 }) {
    const blobs = Array.from({ length: clients }, () => blobOf(bytes));
    const seconds = await atOnce(target, clients, (connection, index) =>
      pushBlob(connection, repository, /** @type {Blob} */ (blobs[index]), chunk),
    );
    return { seconds, digests: blobs.map(({ digest }) => digest) };
  },

  /** Sends bytes with one PUT, to a server of whatever kind. @param {{ target: Target, path: string, bytes: number }} load */
  async store({ target, path, bytes }) {
    const blob = blobOf(bytes);
    const seconds = await atOnce(target, 1, (connection) => connection.expect(201, 'PUT', path, {}, blob));
    return { seconds };
  },

  /** Pulls blobs at once. @param {{ target: Target, repository: string, digests: string[], bytes: number }} load */
  async pull({ target, repository, digests, bytes }) {
    const seconds = await atOnce(target, digests.length, async (connection, index) => {
      const { length } = await connection.expect(200, 'GET', `/v2/${repository}/blobs/${digests[index] ?? ''}`);
      if (length !== bytes) throw new Error(`a pull gave ${length} bytes of ${bytes}`);
    });
    return { seconds };
  },

  /** Pushes small images, each of a configuration and a layer, as Docker does. @param {{ target: Target, prefix: string, count: number, clients: number }} load */
  async images({ target, prefix, count, clients }) {
    let next = 0;
    const seconds = await atOnce(target, clients, async (connection) => {
      while (next < count) {
        const repository = `${prefix}/${next % 10}`;
        await pushImage(connection, repository, `v${next++}`);
      }
    });
    return { seconds };
  },

  /** Requests a second over some seconds; the connections ask for the paths in turn. @param {{ target: Target, method: 'GET' | 'HEAD', paths: string[], connections: number, duration: number }} load */
  async rate({ target, method, paths, connections, duration }) {
    let answered = 0;
    const end = performance.now() + duration * 1000;
    const seconds = await atOnce(target, connections, async (connection, index) => {
      const path = paths[index % paths.length] ?? '';
      while (performance.now() < end) {
        await connection.expect(200, method, path, { accept: manifestType });
        answered += 1;
      }
    });
    return { perSecond: answered / seconds };
  },

  /** Asks for one path again and again; the median in milliseconds. @param {{ target: Target, path: string, times: number }} load */
  async ask({ target, path, times }) {
    /** @type {number[]} */
    const took = [];
    let [body, digest] = ['', ''];
    await atOnce(target, 1, async (connection) => {
      while (took.length < times) {
        const start = performance.now();
        const answer = await connection.expect(200, 'GET', path, { accept: manifestType });
        took.push(performance.now() - start);
        body = answer.body.toString();
        digest = answer.headers['docker-content-digest'] ?? '';
      }
    });
    return { milliseconds: took.sort((one, two) => one - two)[took.length >> 1] ?? 0, body, digest };
  },
};

/** @typedef {typeof operations} Operations */

process.on('message', (/** @type {{ operation: keyof Operations, load: never }} */ { operation, load }) => {
  operations[operation](load).then(
    (result) => process.send?.({ result }),
    (/** @type {unknown} */ error) => process.send?.({ error: /** @type {Error} */ (error).stack }),
  );
});
process.once('disconnect', () => process.exit());

/** Seconds that it took until every client had done its part. @param {Target} target @param {number} clients @param {(connection: Connection, index: number) => Promise<unknown>} act */
async function atOnce(target, clients, act) {
  const connections = Array.from({ length: clients }, () => new Connection(target));
  try {
    const start = performance.now();
    await Promise.all(connections.map(act));
    return (performance.now() - start) / 1000;
  } finally {
    for (const connection of connections) connection.close();
  }
}

/** A blob that no other run has: random bytes over and over, and an ending of its own. @param {number} length @returns {Blob} */
function blobOf(length) {
  const whole = Math.floor((length - 1) / piece.length);
  const ending = randomBytes(length - whole * piece.length);
  const hash = begun(whole).copy().update(ending);
  return {
    length,
    digest: `sha256:${hash.digest('hex')}`,
    pieces: [...Array.from({ length: whole }, () => piece), ending],
  };
}

/** @type {Map<number, import('node:crypto').Hash>} */
const beginnings = new Map();

/** The hash of `pieces` pieces, remembered. @param {number} pieces */
function begun(pieces) {
  let hash = beginnings.get(pieces);
  if (!hash) {
    hash = createHash('sha256');
    for (let count = 0; count < pieces; count += 1) hash.update(piece);
    beginnings.set(pieces, hash);
  }
  return hash;
}

/** @param {Connection} connection @param {string} repository @param {Blob} blob @param {number} [chunk] */
async function pushBlob(connection, repository, { digest, length, pieces }, chunk) {
  let answer = await connection.expect(202, 'POST', `/v2/${repository}/blobs/uploads/`);
  const type = { 'content-type': 'application/octet-stream' };
  if (chunk === undefined) {
    answer = await connection.expect(202, 'PATCH', locationOf(answer), type, { pieces });
  } else {
    const each = Math.max(1, Math.floor(chunk / mebibyte));
    for (let first = 0, sent = 0; first < pieces.length; first += each) {
      const part = pieces.slice(first, first + each);
      const size = part.reduce((sum, { length }) => sum + length, 0);
      const headers = { ...type, 'content-range': `${sent}-${sent + size - 1}` };
      const body = { length: size, pieces: part };
      answer = await connection.expect(202, 'PATCH', locationOf(answer), headers, body);
      sent += size;
    }
    if (length <= 0) throw new Error('nothing to push');
  }
  await connection.expect(201, 'PUT', locationOf(answer, `digest=${digest}`));
}

/** @param {Connection} connection @param {string} repository @param {string} tag */
async function pushImage(connection, repository, tag) {
  /** @param {Buffer} content @param {string} mediaType */
  const push = async (content, mediaType) => {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    await connection.expect(404, 'HEAD', `/v2/${repository}/blobs/${digest}`);
    await pushBlob(connection, repository, { digest, length: content.length, pieces: [content] });
    return { mediaType, digest, size: content.length };
  };
  const layer = await push(randomBytes(2000), 'application/vnd.oci.image.layer.v1.tar+gzip');
  const config = await push(
    Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', id: randomBytes(8).toString('hex') })),
    'application/vnd.oci.image.config.v1+json',
  );
  const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers: [layer] }));
  const headers = { 'content-type': manifestType };
  const body = { length: manifest.length, pieces: [manifest] };
  await connection.expect(201, 'PUT', `/v2/${repository}/manifests/${tag}`, headers, body);
}
