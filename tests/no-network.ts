/** Loaded before a program: every outgoing connection and every look-up of a name fails and is written to stderr. */

import dns from 'node:dns';
import net from 'node:net';

const { lookup } = dns;

function refuse(what: string): never {
  process.stderr.write(`network used: ${what}\n`);
  throw new Error(`network used: ${what}`);
}

/** To listen on an address, node looks it up too, without asking anybody. */
function lookUpAddress(name: string, ...rest: unknown[]): void {
  if (net.isIP(name) === 0) refuse(`look-up of ${name}`);
  Reflect.apply(lookup, dns, [name, ...rest]);
}

net.Socket.prototype.connect = () => refuse('connection');
Object.assign(dns, { lookup: lookUpAddress, resolve: () => refuse('resolve') });
Object.assign(dns.promises, { lookup: () => refuse('look-up'), resolve: () => refuse('resolve') });
