import { ownHeaders, type AddressList, type OciError, type Route, type RouteKind } from '@wharfie/shared';
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import { clientOf, type Client } from './client.js';

/**
 * How far a login got: `none` without credentials, `delayed` when it has to wait because of wrong passwords or of too many
 * logins, `failed` when it could not be checked.
 */
export type Login = 'none' | 'accepted' | 'refused' | 'delayed' | 'failed';

/** Others who asked for the same, and get the answer to one request. */
export interface Asking {
  /** Whoever gives it to them takes them out. */
  readonly others: Exchange[];
  /** Lets those go on who still wait for it. May be said more than once. */
  readonly over: () => void;
}

/** One request and its answer, and what is known of them so far. */
export interface Exchange {
  /** Always our own: what a client sends under this name could be anything. */
  readonly id: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly client: Client;
  /** What stands before `/v2/` in the addresses that clients use; usually nothing. */
  readonly publicPath: string;
  /** The client waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean;
  /** What the request is for, as far as it was understood. */
  kind: RouteKind | 'token' | 'none';
  route?: Route;
  login: Login;
  /** The account, once its password or token was found right. */
  user?: string;
  /** Those for whom its request is sent, too. */
  asking?: Asking;
  /** What the registry's answer says that it is about. */
  digest?: string;
  /** Why the door itself refused it. */
  refusal?: OciError;
  /** Bytes of bodies. */
  bytesIn: number;
  bytesOut: number;
}

/** Takes up a request: from here on its URL is without the path before the registry's, and its headers may become those that go on. */
export function beginExchange(
  request: IncomingMessage,
  response: ServerResponse,
  { trusted, publicPath, expectsContinue }: { trusted: AddressList; publicPath: string; expectsContinue: boolean },
): Exchange {
  // Before the request's headers become those that the registry gets.
  const client = clientOf(request, trusted);
  // Whether or not a proxy in front has taken it off.
  const { url = '' } = request;
  if (publicPath !== '' && url.startsWith(`${publicPath}/`)) request.url = url.slice(publicPath.length);
  const facts = { client, publicPath, expectsContinue };
  return { id: randomUUID(), request, response, ...facts, kind: 'none', login: 'none', bytesIn: 0, bytesOut: 0 };
}

/**
 * Whether it only asks, and may be sent twice, as it has no body either (`checkFraming`).
 * https://www.rfc-editor.org/rfc/rfc9110#section-9.2.1
 */
export function changesNothing({ request: { method } }: Exchange): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Answers with JSON of the door's own. */
export function answerJson(exchange: Exchange, value: object, headers: Readonly<Record<string, string>>): void {
  const body = Buffer.from(JSON.stringify(value));
  exchange.bytesOut += body.length;
  exchange.response.writeHead(200, {
    ...ownHeaders(exchange.id),
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    ...headers,
  });
  exchange.response.end(body);
}

/** Whether nobody waits for the answer any more. */
export function clientLeft({ request, response }: Exchange): boolean {
  // An answer that waits for the one before it on the same connection has no socket yet.
  return response.destroyed || request.socket.destroyed;
}

/** Ends the connection so that the client cannot take half an answer for a whole one. */
export function resetClient({ request }: Exchange): void {
  const { socket } = request;
  if (socket.destroyed) return;
  // Where only the end of the connection ends an answer, as in HTTP/1.0, an orderly one would lie. A Unix socket has no other.
  if (socket instanceof TLSSocket || socket.remoteAddress === undefined) socket.destroy();
  else socket.resetAndDestroy();
}
