/** Where a service listens: a host and port, or a unix socket. */
export type ListenAddress = { host: string; port: number; path?: never } | { path: string; host?: never };

/** Reads `HOST:PORT`, `[IPV6]:PORT`, `:PORT` (every interface) or `unix:PATH`; undefined when it is none of them. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (text.startsWith('unix:')) return text.length > 'unix:'.length ? { path: text.slice('unix:'.length) } : undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) return undefined;
  return { host: match[1] ?? (match[2] === '' ? '0.0.0.0' : (match[2] ?? '')), port };
}

/** The same as `parseListenAddress` reads it. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.path !== undefined) return `unix:${address.path}`;
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whether only this machine can reach the address. */
export function isLoopback(address: ListenAddress): boolean {
  if (address.path !== undefined) return true;
  return address.host === 'localhost' || address.host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address.host);
}
