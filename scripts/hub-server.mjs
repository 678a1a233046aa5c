/**
 * A Hugging Face Hub on a free port of this machine, for trying the source hub by hand: every folder in a folder is the
 * repository `demo/NAME`, whose commit follows from its files as they are now. NAME=TOKEN keeps one for that token's holder.
 * Speaks as much of the Hub's interface as this server and Python's huggingface_hub need to download. Ctrl-C ends it.
 *
 *     node scripts/hub-server.mjs packages/demo-model/adapters pirate=hf_alice
 */
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';

const [root, ...secrets] = process.argv.slice(2);
if (root === undefined) throw new Error('usage: node scripts/hub-server.mjs FOLDER [NAME=TOKEN ...]');
const tokens = new Map(secrets.map((secret) => secret.split('=')));

/** Listings of a repository, flat and as a tree, and its files. */
const ROUTES = [
  [/^\/api\/models\/demo\/([\w-]+)(?:\/revision\/(\w+))?$/, sendListing],
  [/^\/api\/models\/demo\/([\w-]+)\/tree\/(\w+)$/, sendTree],
  [/^\/demo\/([\w-]+)\/resolve\/(\w+)\/([\w.-]+)$/, sendFile],
];

const names = readdirSync(root).toSorted();
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://hub');
  const [[, name, revision = 'main', file] = [], send] =
    ROUTES.map(([path, answer]) => [path.exec(pathname), answer]).find(([match]) => match) ?? [];
  const repo = names.includes(name) ? readRepo(name) : undefined;
  const status = repo === undefined || !['main', repo.commit].includes(revision) ? 404 : refusal(name, request);
  if (status !== undefined) response.writeHead(status).end();
  else send(repo, response, file, request);
});

function readRepo(name) {
  const files = new Map();
  const digest = createHash('sha1').update(name);
  for (const file of readdirSync(join(root, name)).toSorted()) {
    const content = readFileSync(join(root, name, file));
    const sha256 = createHash('sha256').update(content).digest('hex');
    digest.update(`${file} ${sha256}\n`);
    files.set(file, { content, sha256 });
  }
  return { id: `demo/${name}`, commit: digest.digest('hex'), files };
}

/** 401 without a token and 403 with another than the repository's, as the Hub has it. */
function refusal(name, { headers: { authorization } }) {
  const token = tokens.get(name);
  if (token === undefined || authorization === `Bearer ${token}`) return undefined;
  return authorization === undefined ? 401 : 403;
}

function sendListing({ id, commit, files }, response) {
  sendJson(response, { id, sha: commit, siblings: [...files.keys()].map((rfilename) => ({ rfilename })) });
}

function sendTree({ files }, response) {
  const entry = ([path, { content, sha256 }]) => ({ type: 'file', path, size: content.length, oid: sha256 });
  sendJson(response, [...files].map(entry));
}

function sendJson(response, value) {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

function sendFile({ commit, files }, response, name, request) {
  const file = files.get(name);
  response.setHeader('x-repo-commit', commit);
  if (file === undefined) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
  const { content, sha256 } = file;
  const [, first] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
  const body = content.subarray(Number(first ?? 0));
  if (first !== undefined) {
    response.setHeader('content-range', `bytes ${first}-${content.length - 1}/${content.length}`);
  }
  response.writeHead(first === undefined ? 200 : 206, { etag: `"${sha256}"`, 'content-length': body.length });
  response.end(request.method === 'HEAD' ? undefined : body);
}

server.listen(0, '127.0.0.1', () => {
  console.log(`export HF_ENDPOINT=http://127.0.0.1:${server.address().port}`);
  for (const name of names) {
    console.log(`# demo/${name}@${readRepo(name).commit}${tokens.has(name) ? ' (private)' : ''}`);
  }
  console.log('# Ctrl-C ends it');
});

const stop = () => process.exit(0);
process.once('SIGINT', stop).once('SIGTERM', stop);
