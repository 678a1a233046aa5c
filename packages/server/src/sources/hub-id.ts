/** Names on the Hub: repositories, revisions, commits. Everything that passes here is safe as a URL part and as a file name. */

export interface HubId {
  /** `name` or `org/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
}

const DEFAULT_REVISION = 'main';
const MAX_PART_LEN = 96;
const MAX_REVISION_LEN = 255;

/** The Hub's own rule; `--` is reserved because the cache joins the parts by it. */
const PART = /^\w(?:[\w.-]*\w)?$/;
const REVISION = /^\w(?:[\w./-]*\w)?$/;
const COMMIT = /^[0-9a-f]{40}$/;

/** Parses `org/name[@revision]`; undefined when it is not of this form. */
export function parseHubId(id: string, defaultRevision: string = DEFAULT_REVISION): HubId | undefined {
  const at = id.indexOf('@');
  const repo = at < 0 ? id : id.slice(0, at);
  const revision = at < 0 ? defaultRevision : id.slice(at + 1);
  return isRepo(repo) && isRevision(revision) ? { repo, revision } : undefined;
}

function isRevision(revision: string): boolean {
  return (
    revision.length <= MAX_REVISION_LEN && REVISION.test(revision) && !/\.\.|\/\/|\/\.|\.\/|\.lock$/.test(revision)
  );
}

/** A commit names its content, so that what is cached under it never has to be asked for again. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

function isRepo(repo: string): boolean {
  const parts = repo.split('/');
  const isPart = (part: string): boolean => part.length <= MAX_PART_LEN && PART.test(part);
  return parts.length <= 2 && parts.every(isPart) && !/--|\.\.|\.git$/.test(repo);
}
