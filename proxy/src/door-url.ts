import { formatListenAddress, type ListenAddress } from '@wharfie/shared';

/** What stands for every address of a machine, and what clients on it say instead. */
const everywhere: Record<string, string> = { '0.0.0.0': '127.0.0.1', '::': 'localhost' };

/** Where clients on this machine find a door that listens on `address`; a unix socket has no URL, and stays as it is. */
export function doorUrl(address: ListenAddress, tls: boolean): string {
  if (address.path !== undefined) return formatListenAddress(address);
  const host = everywhere[address.host] ?? address.host;
  return `${tls ? 'https' : 'http'}://${formatListenAddress({ host, port: address.port })}`;
}
