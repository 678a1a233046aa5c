import { describeSource } from './testing/conformance.ts';
import { FakeS3 } from './testing/fake-s3.ts';
import { S3Setting } from './testing/s3-setting.ts';

describeSource('s3', async () => {
  const backend = await FakeS3.start();
  const setting = await S3Setting.start(backend);
  return {
    source: setting.open(),
    secrets: [setting.cacheDir, setting.proxy.endpoint, '127.0.0.1', ...Object.values(backend.credentials)],
    add: (id, files) => setting.publish(id, files),
    network: setting.network(async () => setting.open()),
    dispose: async () => {
      await setting.stop();
      await backend.stop();
    },
  };
});
