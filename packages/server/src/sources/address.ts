/**
 * Which hosts the Hub may send this server to. Redirects come from outside, so they must not reach services that only this
 * machine or its network can see. Names are looked up once before the request; a name that changes its address between the
 * look-up and the request is not caught here, only by the operator's own network rules.
 */

import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';

type Reach = 'public' | 'private' | 'loopback' | 'link-local';

const LINK_LOCAL = blockList(['169.254.0.0/16', 'fe80::/10', 'fd00:ec2::254/128', '100.100.100.200/32']);
const LOOPBACK = blockList(['127.0.0.0/8', '0.0.0.0/8', '::1/128', '::/128']);
const PRIVATE = blockList([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '224.0.0.0/3',
  '64:ff9b::/96',
  'fc00::/7',
  'ff00::/8',
]);

/** How far an IP address reaches. Link-local stands for cloud metadata services too. */
export function reachOf(address: string): Reach {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (LINK_LOCAL.check(address, family)) return 'link-local';
  if (LOOPBACK.check(address, family)) return 'loopback';
  return PRIVATE.check(address, family) ? 'private' : 'public';
}

/**
 * Why a redirect of the Hub at `endpoint` to `target` must not be followed, or undefined. The endpoint's own host is the
 * operator's choice; an endpoint on this machine may send to this machine, one in a private network to other private hosts,
 * and none to link-local ones.
 */
export async function redirectFault(endpoint: URL, target: URL): Promise<string | undefined> {
  if (target.protocol !== 'https:' && target.protocol !== endpoint.protocol) return 'a redirect to an unsafe protocol';
  if (target.username !== '' || target.password !== '') return 'a redirect with a user name in it';
  if (target.hostname === endpoint.hostname) return undefined;
  const reach = await hostReach(target);
  if (reach === 'public') return undefined;
  if (reach !== 'link-local' && reach === (await hostReach(endpoint))) return undefined;
  return `a redirect to a ${reach} address`;
}

/** The least public of a host's addresses. A name that cannot be found is public: the request to it will fail by itself. */
async function hostReach(url: URL): Promise<Reach> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const addresses = isIP(host) > 0 ? [host] : (await lookup(host, { all: true }).catch(() => [])).map((a) => a.address);
  const reaches = addresses.map(reachOf);
  return (['link-local', 'loopback', 'private'] as const).find((reach) => reaches.includes(reach)) ?? 'public';
}

function blockList(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [address = '', bits = ''] = subnet.split('/');
    list.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }
  return list;
}
