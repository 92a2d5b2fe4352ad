import type { AddressList } from '@wharfie/shared';
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Where a request came from, and what it was addressed to, as the client did it. */
export interface Client {
  /** Without a port; `unix` for a connection through a unix socket. */
  address: string;
  protocol: 'http' | 'https';
  /** As in `Host`, with its port; undefined when that is no host. */
  host: string | undefined;
}

/** Proxies in front at most; what a client has put before them is not read. */
const mostHops = 32;

/**
 * Who sent a request. What another proxy says of its own client is believed only of those in `trusted`: going back from
 * the connection, the first address that is not one of theirs is the client's, whatever that client may have put before it.
 */
export function clientOf(request: IncomingMessage, trusted: AddressList): Client {
  const { socket, headers } = request;
  let peer = plainAddress(socket.remoteAddress);
  // A proxy that is believed may still not say where its client came from, but which name it asked for.
  const fronted = trusted.includes(peer);
  const hops = fronted ? listed(headers['x-forwarded-for']).slice(-mostHops).map(withoutPort) : [];
  let believed = 0;
  while (trusted.includes(peer)) {
    const before = plainAddress(hops.at(-1 - believed));
    if (believed === hops.length || before === undefined || isIP(before) === 0) break;
    believed += 1;
    peer = before;
  }
  const said = (name: string) => (fronted ? hopsBack(listed(headers[name]), believed) : undefined);
  const protocol = said('x-forwarded-proto')?.toLowerCase();
  const own = socket instanceof TLSSocket ? 'https' : 'http';
  return {
    address: peer ?? 'unix',
    protocol: protocol === 'http' || protocol === 'https' ? protocol : own,
    host: [said('x-forwarded-host'), headers.host].find((host) => host !== undefined && isHost(host)),
  };
}

/** The element that belongs to the hop that the client's address is from; of a shorter list the first. */
function hopsBack(list: readonly string[], believed: number): string | undefined {
  return list.at(-Math.max(believed, 1)) ?? list[0];
}

function listed(header: string | string[] | undefined): string[] {
  return header === undefined ? [] : [header].flat().flatMap((line) => line.split(',').map((word) => word.trim()));
}

/** `1.2.3.4:567` and `[::1]:567`, as some proxies write it, without the port. */
function withoutPort(address: string): string {
  return address.replace(/^([\d.]+):\d+$/, '$1').replace(/^\[([^\]]*)\](?::\d+)?$/, '$1');
}

/** An IPv4 address as such, where a socket for both families says `::ffff:1.2.3.4`; no interface behind an IPv6 one. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
}

function isHost(text: string): boolean {
  return /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/.test(text);
}
