import { BlockList, isIP } from 'node:net';

/** Addresses of machines, singly or by network; `unix` stands for whoever comes through a unix socket. */
export class AddressList {
  readonly #networks = new BlockList();
  #unix = false;
  #isEmpty = true;

  /**
   * Reads addresses and CIDR networks separated by commas: `10.0.0.0/8, 2001:db8::1, unix`.
   * @throws Error that names the part that is none of them
   */
  static parse(text: string): AddressList {
    const list = new AddressList();
    for (const part of text.split(',').map((word) => word.trim())) list.#add(part);
    return list;
  }

  /** Whether `address` is meant. A connection through a unix socket has none. */
  includes(address: string | undefined): boolean {
    if (address === undefined) return this.#unix;
    if (this.#isEmpty) return false;
    const family = familyOf(address);
    return family !== undefined && this.#networks.check(address, family);
  }

  #add(part: string): void {
    if (part === 'unix') {
      this.#unix = true;
      return;
    }
    const [, address = '', bits] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(part) ?? [];
    const family = familyOf(address);
    const longest = family === 'ipv4' ? 32 : 128;
    if (!family || Number(bits ?? longest) > longest) {
      throw new Error(`"${part}" is neither an address, nor a network such as 10.0.0.0/8 or 2001:db8::/32, nor unix`);
    }
    this.#isEmpty = false;
    if (bits === undefined) this.#networks.addAddress(address, family);
    else this.#networks.addSubnet(address, Number(bits), family);
  }
}

function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  return ({ 4: 'ipv4', 6: 'ipv6' } as const)[isIP(address)];
}
