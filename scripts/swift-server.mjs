/**
 * Starts OpenStack Swift as an S3 server on a free port of this machine, for trying the source s3 by hand (build first; needs
 * Debian's swift-proxy, swift-account, swift-container and swift-object). Ctrl-C ends it and removes what it holds.
 */
import { SwiftServer } from '../packages/server/dist/sources/testing/swift-server.js';

const swift = await SwiftServer.start();
const { accessKeyId, secretAccessKey } = swift.credentials;
console.log(`export S3_ENDPOINT_URL=${swift.endpoint}`);
console.log(`export AWS_ACCESS_KEY_ID=${accessKeyId}`);
console.log(`export AWS_SECRET_ACCESS_KEY=${secretAccessKey}`);
// curl's --user would take the colon in the key's id for the end of it.
const { host } = new URL(swift.endpoint);
console.log(`export CURL_S3=http://${encodeURIComponent(accessKeyId)}:${secretAccessKey}@${host}`);
console.log('# Ctrl-C ends it');

const stop = () => swift.stop().then(() => process.exit(0));
process.once('SIGINT', stop).once('SIGTERM', stop);
