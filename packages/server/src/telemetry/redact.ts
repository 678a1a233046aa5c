/** Keeps credentials out of the log. Works on the finished line, so that no way of logging one gets around it. */

const HIDDEN = '[hidden]';

/** A JSON string after a key that names a credential, at any depth. */
const SECRET_FIELD =
  /"([^"]*(?:(?:api|hub|hf|access|session)_?token|api_?key|authorization|secret|password|cookie))":"(?:[^"\\]|\\.)*"/gi;
const BEARER = /\b(bearer)\s+[\w.~+/=-]+/gi;
/** Hugging Face and Predibase tokens say what they are. */
const TOKEN_SHAPE = /\b(hf|pb|api_org)_[A-Za-z0-9]{12,}/g;
const QUERY = /([?&](?:api_?token|token|x-amz-signature|x-amz-security-token)=)[^&\s"'\\]+/gi;

/** `line` is JSON, and stays JSON. */
export function hideSecrets(line: string): string {
  return line
    .replace(SECRET_FIELD, `"$1":"${HIDDEN}"`)
    .replace(BEARER, `$1 ${HIDDEN}`)
    .replace(QUERY, `$1${HIDDEN}`)
    .replace(TOKEN_SHAPE, `$1_${HIDDEN}`);
}
