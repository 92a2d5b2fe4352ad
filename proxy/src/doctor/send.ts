import type { ListenAddress } from '@wharfie/shared';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { answerTo } from '../answer-to.js';

/** Where a request finds what listens on an address. */
export function requestOptions(address: ListenAddress): RequestOptions {
  return address.path === undefined ? { host: address.host, port: address.port } : { socketPath: address.path };
}

/**
 * Sends a request without a body, on a connection of its own, and waits for the answer's head. The caller reads the body
 * or drops it.
 * @param patience milliseconds for all of it, the body included
 */
export async function send(options: RequestOptions, patience: number): Promise<IncomingMessage> {
  const signal = AbortSignal.timeout(patience);
  const request = options.protocol === 'https:' ? httpsRequest : httpRequest;
  const sent = request({ ...options, agent: false, signal }).end();
  return answerTo(sent);
}
