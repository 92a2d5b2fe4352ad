import { AddressList } from '@wharfie/shared';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { describe, expect, test } from 'vitest';
import { clientOf } from './client.js';

function requestFrom(remoteAddress: string | undefined, headers: IncomingHttpHeaders): IncomingMessage {
  return { socket: { remoteAddress }, headers: { host: 'door:5000', ...headers } } as unknown as IncomingMessage;
}

const trusted = AddressList.parse('10.0.0.0/8,fd00::/8');

function addressOf(remote: string, forwardedFor: string): string {
  return clientOf(requestFrom(remote, { 'x-forwarded-for': forwardedFor }), trusted).address;
}

describe('the client of a request', () => {
  test('is whoever connected, when that is no trusted proxy, whatever it says', () => {
    const said = { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-host': 'evil', 'x-forwarded-proto': 'https' };
    const direct = { address: '192.0.2.1', protocol: 'http', host: 'door:5000' };
    expect(clientOf(requestFrom('192.0.2.1', said), trusted)).toEqual(direct);
    expect(clientOf(requestFrom('::ffff:192.0.2.1', said), trusted)).toEqual(direct);
  });

  test('is the one that a trusted proxy forwards', () => {
    const said = { 'x-forwarded-for': '1.2.3.4', 'x-forwarded-host': 'hub.example', 'x-forwarded-proto': 'https' };
    const forwarded = { address: '1.2.3.4', protocol: 'https', host: 'hub.example' };
    expect(clientOf(requestFrom('10.0.0.1', said), trusted)).toEqual(forwarded);
    expect(clientOf(requestFrom('::ffff:10.0.0.1', said), trusted)).toEqual(forwarded);
    expect(clientOf(requestFrom('fd00::1', said), trusted)).toEqual(forwarded);
  });

  test.each([
    ['10.0.0.1', '1.2.3.4', '1.2.3.4'],
    ['10.0.0.1', '6.6.6.6, 1.2.3.4', '1.2.3.4'],
    ['10.0.0.1', '6.6.6.6, 1.2.3.4, 10.0.0.2', '1.2.3.4'],
    ['10.0.0.1', '10.0.0.9, 10.0.0.2', '10.0.0.9'],
    ['10.0.0.1', `${'6.6.6.6,'.repeat(1900)}1.2.3.4, 10.0.0.2`, '1.2.3.4'],
    ['10.0.0.1', '1.2.3.4:5678', '1.2.3.4'],
    ['10.0.0.1', '[2001:db8::5]:443', '2001:db8::5'],
    ['10.0.0.1', '2001:db8::5', '2001:db8::5'],
    ['10.0.0.1', '1.2.3.4, unknown', '10.0.0.1'],
    ['10.0.0.1', '1.2.3.4, unknown, 10.0.0.2', '10.0.0.2'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', ',,', '10.0.0.1'],
    ['10.0.0.1', '<script>', '10.0.0.1'],
    ['fe80::1%eth0', '1.2.3.4', 'fe80::1'],
  ])('from %s with X-Forwarded-For: %s is %s', (remote, forwardedFor, address) => {
    expect(addressOf(remote, forwardedFor)).toBe(address);
  });

  test('came by the protocol and to the host that belong to the hop it is known from', () => {
    const said = {
      'x-forwarded-for': '1.2.3.4, 10.0.0.2',
      'x-forwarded-proto': 'https, http',
      'x-forwarded-host': 'hub.example, inner',
    };
    expect(clientOf(requestFrom('10.0.0.1', said), trusted)).toEqual({
      address: '1.2.3.4',
      protocol: 'https',
      host: 'hub.example',
    });
    const oneHop = { ...said, 'x-forwarded-for': '6.6.6.6, 1.2.3.4' };
    expect(clientOf(requestFrom('10.0.0.1', oneHop), trusted)).toMatchObject({ protocol: 'http', host: 'inner' });
  });

  test.each(['evil/path', 'a b', 'user@host', '', 'a"b', 'host:port', '[::1'])('has no host called %j', (host) => {
    expect(clientOf(requestFrom('10.0.0.1', { 'x-forwarded-host': host }), trusted).host).toBe('door:5000');
    expect(clientOf(requestFrom('192.0.2.1', { host }), trusted).host).toBeUndefined();
  });

  test('through a unix socket has no address, and is believed when that is trusted', () => {
    const request = requestFrom(undefined, { 'x-forwarded-for': '1.2.3.4' });
    expect(clientOf(request, trusted).address).toBe('unix');
    expect(clientOf(request, AddressList.parse('unix')).address).toBe('1.2.3.4');
  });
});
