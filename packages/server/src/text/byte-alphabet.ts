/** The 256 printable characters by which byte-level vocabularies spell bytes (GPT-2's table). Knows nothing about tokens. */

/** `BYTE_CHARS[byte]` is the character that stands for the byte. */
const BYTE_CHARS: readonly string[] = byteChars();

const BYTE_OF_CHAR: ReadonlyMap<string, number> = new Map(BYTE_CHARS.map((char, byte) => [char, byte]));

/** Spells a text's UTF-8 bytes. */
export function toByteChars(text: string): string {
  let spelled = '';
  for (const byte of Buffer.from(text, 'utf8')) spelled += BYTE_CHARS[byte];
  return spelled;
}

/** The bytes that a piece spells, or `undefined` if any of its characters stands for no byte. */
export function fromByteChars(piece: string): number[] | undefined {
  const bytes: number[] = [];
  for (const char of piece) {
    const byte = BYTE_OF_CHAR.get(char);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}

/** Bytes that print as themselves keep their character; the others take 256, 257, ... in order. */
function byteChars(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}
