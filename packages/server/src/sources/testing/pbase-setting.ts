/** What the tests of Predibase share: a gateway that can fail in front of an S3 setting, and adapters known to both. */

import { type PbaseOptions, openPbase } from '../pbase.ts';
import type { Source } from '../source.ts';
import type { FixtureNetwork } from './conformance.ts';
import { FakeGateway } from './fake-gateway.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { QUICK, type S3Backend, S3Setting } from './s3-setting.ts';

export const MODELS = 'predibase-models';

export class PbaseSetting {
  readonly s3: S3Setting;
  readonly gateway: FakeGateway;
  /** In front of the gateway. */
  readonly proxy: FaultyProxy;

  private constructor(s3: S3Setting, gateway: FakeGateway, proxy: FaultyProxy) {
    this.s3 = s3;
    this.gateway = gateway;
    this.proxy = proxy;
  }

  static async start(backend: S3Backend): Promise<PbaseSetting> {
    const gateway = await FakeGateway.start();
    return new PbaseSetting(await S3Setting.start(backend), gateway, await FaultyProxy.start(gateway.endpoint));
  }

  open(options: Partial<PbaseOptions> = {}): Source {
    const s3 = this.s3.open({ modelBucket: MODELS, modelFolder: 'team' });
    return openPbase({ gateway: this.proxy.endpoint, token: undefined, s3, retries: QUICK, ...options });
  }

  /** `repo/version`, whose files lie where the gateway says. */
  async publish(id: string, files: Readonly<Record<string, string>>, token?: string): Promise<void> {
    const [repo = '', version = ''] = id.split('/');
    const path = `${repo}-uuid/${version}/weights`;
    await this.s3.publish(`${MODELS}/team/${path}`, files);
    this.gateway.addVersion(repo, version, { adapterPath: path, status: 'completed' }, token);
  }

  network(): FixtureNetwork {
    const network = this.s3.network(async () => this.open());
    const goDown = async (): Promise<() => Promise<void>> => {
      const comeUp = await network.goDown();
      this.proxy.isDown = true;
      return async () => {
        this.proxy.isDown = false;
        await comeUp();
      };
    };
    return { ...network, goDown };
  }

  async stop(): Promise<void> {
    await this.proxy.stop();
    await this.gateway.stop();
    await this.s3.stop();
  }
}
