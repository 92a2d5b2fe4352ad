// One HTTP/1.1 connection on a bare socket, so that making the load costs as little as can be.
import { connect } from 'node:net';
import { once } from 'node:events';

/**
 * @typedef {object} Target
 * @property {string} host
 * @property {number} port
 * @property {string} [authorization]
 * @property {string} [token] as Swift takes it
 *
 * @typedef {object} Answer
 * @property {number} status
 * @property {Record<string, string>} headers
 * @property {number} length of the body, in bytes
 * @property {Buffer} body its first part: all of it unless it is long
 *
 * @typedef {object} Body
 * @property {number} [length] chunked when not given
 * @property {Iterable<Buffer>} pieces
 */

/** Bytes of an answer that are kept; what is longer is only counted. */
const kept = 8 * 1024 * 1024;
const received = 1024 * 1024;

export class Connection {
  /** @param {Target} target */
  constructor(target) {
    this.target = target;
    /** @type {(chunk: Buffer) => void} */
    this.take = () => undefined;
    /** @type {(error: Error) => void} */
    this.fail = () => undefined;
    this.socket = connect({
      host: target.host,
      port: target.port,
      noDelay: true,
      // Read into one buffer over and over.
      onread: {
        buffer: Buffer.allocUnsafe(received),
        callback: (length, buffer) => {
          this.take(/** @type {Buffer} */ (buffer).subarray(0, length));
          return true;
        },
      },
    });
    this.socket.once('error', (error) => {
      this.fail(error);
    });
    this.socket.once('close', () => {
      this.fail(new Error('the connection was closed before the answer was complete'));
    });
  }

  /**
   * Sends a request and waits for the whole answer.
   * @param {string} method @param {string} path @param {Record<string, string | number>} [headers] @param {Body} [body]
   * @returns {Promise<Answer>}
   */
  async request(method, path, headers = {}, body) {
    const { host, port, authorization, token } = this.target;
    const framing = body
      ? body.length === undefined
        ? { 'transfer-encoding': 'chunked' }
        : { 'content-length': body.length }
      : ['POST', 'PUT', 'PATCH'].includes(method)
        ? { 'content-length': 0 }
        : {};
    const who = { ...(authorization && { authorization }), ...(token && { 'x-auth-token': token }) };
    const all = { host: `${host}:${port}`, ...who, ...framing, ...headers };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    const answer = this.#answer(method);
    // Awaited below; until then a failure must not count as unhandled.
    answer.catch(() => undefined);
    this.socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
    if (body) await Promise.race([this.#send(body), answer]);
    return answer;
  }

  /** The same, for a request whose answer is known. @param {number} status @param {Parameters<Connection['request']>} args */
  async expect(status, ...args) {
    const answer = await this.request(...args);
    if (answer.status !== status)
      throw new Error(`${args[0]} ${args[1]}: ${answer.status} instead of ${status}: ${answer.body.toString()}`);
    return answer;
  }

  close() {
    this.fail = () => undefined;
    this.socket.destroy();
  }

  /** @param {Body} body */
  async #send({ length, pieces }) {
    for (const piece of pieces) {
      this.socket.cork();
      if (length === undefined) this.socket.write(`${piece.length.toString(16)}\r\n`);
      let flows = this.socket.write(piece);
      if (length === undefined) flows = this.socket.write('\r\n');
      this.socket.uncork();
      if (!flows && this.socket.writableNeedDrain) await once(this.socket, 'drain');
    }
    if (length === undefined) this.socket.write('0\r\n\r\n');
  }

  /** @param {string} method @returns {Promise<Answer>} */
  #answer(method) {
    return new Promise((resolve, reject) => {
      /** @type {Buffer[]} */
      const chunks = [];
      /** @type {Omit<Answer, 'body'> | undefined} */
      let head;
      let chunked = false;
      let got = 0;
      this.fail = reject;
      const end = (/** @type {Omit<Answer, 'body'>} */ { status, headers, length }) => {
        const body = Buffer.concat(chunks);
        resolve({ status, headers, length, body: chunked ? unchunked(body) : body });
      };
      this.take = (chunk) => {
        let rest = chunk;
        if (!head) {
          chunks.push(Buffer.from(chunk));
          const all = Buffer.concat(chunks);
          const headEnd = all.indexOf('\r\n\r\n');
          if (headEnd < 0) return;
          head = parseHead(all.subarray(0, headEnd).toString('latin1'));
          chunked = head.headers['transfer-encoding'] === 'chunked';
          if (method === 'HEAD' || head.status === 204 || head.status === 304) head.length = 0;
          chunks.length = 0;
          rest = all.subarray(headEnd + 4);
        }
        got += rest.length;
        if (chunked || got <= kept) chunks.push(Buffer.from(rest));
        if (chunked ? endsChunks(rest, chunks) : got >= head.length) end(chunked ? { ...head, length: got } : head);
      };
    });
  }
}

/** @param {string} text */
function parseHead(text) {
  const [first = '', ...lines] = text.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(first.split(' ')[1]), headers, length: Number(headers['content-length'] ?? 0) };
}

/** @param {Buffer} rest @param {Buffer[]} chunks */
function endsChunks(rest, chunks) {
  const last = rest.length >= 5 ? rest : Buffer.concat(chunks);
  return last.subarray(-5).toString('latin1') === '0\r\n\r\n';
}

/** @param {Buffer} body */
function unchunked(body) {
  const parts = [];
  for (let at = 0; at < body.length;) {
    const line = body.indexOf('\r\n', at);
    const size = parseInt(body.subarray(at, line).toString('latin1'), 16);
    if (!(size > 0)) break;
    parts.push(body.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
  return Buffer.concat(parts);
}

/** The path that the client goes to next, with a parameter more if given. @param {Answer} answer @param {string} [more] */
export function locationOf({ headers }, more) {
  const location = headers['location'] ?? '';
  const { pathname, search } = new URL(location, 'http://registry');
  return pathname + search + (more ? `${search ? '&' : '?'}${more}` : '');
}
