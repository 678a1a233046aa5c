import assert from 'node:assert/strict';
import { describe, it } from 'node:test';

import { reachOf, redirectFault } from './address.ts';

describe('reachOf', () => {
  it('knows what only this machine or its network can see', () => {
    const addresses = {
      public: ['8.8.8.8', '172.32.0.1', '2606:4700::1', '::ffff:8.8.8.8'],
      private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', '100.64.0.1'],
      loopback: ['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1'],
      'link-local': ['169.254.169.254', 'fe80::1', 'fd00:ec2::254', '::ffff:169.254.169.254'],
    };
    for (const [reach, list] of Object.entries(addresses))
      for (const one of list) assert.equal(reachOf(one), reach, one);
    for (const one of ['fc00::1', '64:ff9b::7f00:1', '255.255.255.255', 'ff02::1']) {
      assert.equal(reachOf(one), 'private', one);
    }
  });
});

describe('redirectFault', () => {
  const fault = (from: string, to: string): Promise<string | undefined> => redirectFault(new URL(from), new URL(to));

  it('lets a public Hub send to public hosts only', async () => {
    assert.equal(await fault('https://8.8.8.8', 'https://8.8.4.4/file'), undefined);
    assert.match((await fault('https://8.8.8.8', 'https://10.0.0.1/')) ?? '', /private/);
    for (const host of ['127.0.0.1', 'localhost', '[::1]', '0x7f000001', '127.1', '0.0.0.0']) {
      assert.match((await fault('https://8.8.8.8', `https://${host}/`)) ?? '', /loopback/, host);
    }
    assert.match((await fault('https://8.8.8.8', 'https://169.254.169.254/')) ?? '', /link-local/);
  });

  it('lets a private Hub send to private hosts, but not to link-local ones', async () => {
    assert.equal(await fault('http://127.0.0.1:1', 'http://127.0.0.1:2/'), undefined);
    assert.equal(await fault('http://127.0.0.1:1', 'http://localhost:2/'), undefined);
    assert.match((await fault('http://10.0.0.1', 'http://127.0.0.1/')) ?? '', /loopback/);
    assert.match((await fault('http://127.0.0.1', 'http://10.0.0.1/')) ?? '', /private/);
    assert.equal(await fault('http://10.0.0.1', 'http://192.168.0.1/'), undefined);
    assert.match((await fault('http://10.0.0.1', 'http://169.254.169.254/')) ?? '', /link-local/);
    assert.equal(await fault('http://169.254.1.1', 'http://169.254.1.1:8080/'), undefined);
  });

  it('does not leave TLS, and sends no passwords', async () => {
    assert.match((await fault('https://8.8.8.8', 'http://8.8.8.8/')) ?? '', /protocol/);
    assert.match((await fault('https://8.8.8.8', 'ftp://8.8.8.8/')) ?? '', /protocol/);
    assert.equal(await fault('http://8.8.8.8', 'https://8.8.4.4/'), undefined);
    assert.match((await fault('https://8.8.8.8', 'https://me:pw@8.8.8.8/')) ?? '', /user/);
  });
});
