/**
 * Answers as Predibase's gateway on a free port of this machine, for trying the source pbase by hand (build first). Each
 * argument is a version of an adapter: its path in S3, or nothing while it waits to be trained. Ctrl-C ends it.
 *
 *     node scripts/gateway-server.mjs tales/1=team/pirate tales/2=
 */
import { FakeGateway } from '../packages/server/dist/sources/testing/fake-gateway.js';

const gateway = await FakeGateway.start();
console.log(`export PREDIBASE_GATEWAY_ENDPOINT=${gateway.endpoint}`);
for (const argument of process.argv.slice(2)) {
  const [, repo, version, adapterPath] = /^([^/=]+)\/([^/=]+)=(.*)$/.exec(argument) ?? [];
  if (repo === undefined) throw new Error(`not REPO/VERSION=PATH: ${argument}`);
  const answer = adapterPath === '' ? { status: 'queued' } : { status: 'completed', adapterPath };
  gateway.addVersion(repo, version, answer);
}
console.log('# Ctrl-C ends it');

const stop = () => gateway.stop().then(() => process.exit(0));
process.once('SIGINT', stop).once('SIGTERM', stop);
