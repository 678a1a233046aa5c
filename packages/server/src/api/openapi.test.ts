import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Keyring } from './keys.ts';
import { json, testApp } from './testdata/client.ts';

type Security = readonly Record<string, object>[];

interface Document {
  readonly openapi: string;
  readonly security: Security;
  readonly paths: Record<
    string,
    Record<string, { responses: Record<string, object>; summary: string; security?: Security }>
  >;
  readonly components: { readonly schemas: Record<string, object>; readonly securitySchemes: Record<string, object> };
}

test('the document has every route and every reference resolves', async () => {
  const { app } = testApp();
  const document = (await json(app.request('/openapi.json'))) as Document;
  assert.equal(document.openapi, '3.1.0');
  const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const served = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)\{[^}]*\}/, '{$1}')}`);
  assert.deepEqual(documented.toSorted(), served.toSorted());
  const text = JSON.stringify(document);
  for (const [, name = ''] of text.matchAll(/"#\/components\/schemas\/(\w+)"/g))
    assert.ok(name in document.components.schemas, name);
});

test('the schemas show ranges, null and the shapes of a prompt', async () => {
  const { components } = (await json(testApp().app.request('/openapi.json'))) as Document;
  const { GenerateParameters, CompletionRequest, ChatCompletionRequest } = components.schemas as Record<
    string,
    { properties: Record<string, object>; required?: string[] }
  >;
  assert.deepEqual(GenerateParameters?.properties['top_p'], {
    type: ['number', 'null'],
    exclusiveMinimum: 0,
    maximum: 1,
  });
  assert.equal(GenerateParameters?.required, undefined);
  assert.deepEqual((GenerateParameters?.properties['stop'] as { type: string[] } | undefined)?.type, ['array', 'null']);
  assert.equal((CompletionRequest?.properties['prompt'] as { anyOf: object[] } | undefined)?.anyOf.length, 4);
  assert.deepEqual(ChatCompletionRequest?.required, ['model', 'messages']);
  assert.deepEqual(ChatCompletionRequest?.properties['messages'], {
    type: 'array',
    items: { $ref: '#/components/schemas/ChatMessage' },
  });
});

test('the document says where a key is needed, and what the tokens are', async () => {
  const keys = new Keyring([{ name: 'team', key: '12345678' }], []);
  const headers = { authorization: 'Bearer 12345678' };
  const keyed = (await json(testApp({}, { keys }).app.request('/openapi.json', { headers }))) as Document;
  const open = (await json(testApp().app.request('/openapi.json'))) as Document;
  assert.deepEqual(keyed.security, [{ bearer: [] }]);
  assert.deepEqual(open.security, []);
  assert.deepEqual(keyed.components.securitySchemes['adapterToken'], {
    type: 'apiKey',
    in: 'header',
    name: 'x-adapter-token',
    description: 'Opens the adapter at its source, where `api_token` is absent.',
  });
  for (const [path, methods] of Object.entries(keyed.paths)) {
    for (const [method, { responses, security }] of Object.entries(methods)) {
      const needsKey: boolean = (security ?? keyed.security).length > 0;
      assert.equal(needsKey, path !== '/health', path);
      assert.equal('401' in responses, needsKey, `${method} ${path}`);
      for (const way of security ?? []) assert.ok('bearer' in way);
      assert.equal('403' in responses, method === 'post' || path.startsWith('/v1/adapters'), `${method} ${path}`);
    }
  }
  assert.ok(open.paths['/generate']?.['post']?.security?.some((way) => Object.keys(way).length === 0));
});
