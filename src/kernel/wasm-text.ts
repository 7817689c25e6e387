// Bytes as ASCII text that needs no escape in a string literal, for wasm that travels inside JavaScript.
// One byte is one character or two, never a part of one: so gzip finds repeated code in the text as it does in the bytes,
// which base64 hides, and the text is hardly larger than they are. Invariant: decoding gives back what was encoded.
// Who may call: `encodeWasm` the build, `decodeWasm` artefacts.inline.ts.
//
//   value = (byte + 2) mod 256: the commonest bytes come first, and 0xfe, the prefix of every atomic instruction, with them
//   value   0 …  87   one character, "#" … "{" without the backslash
//          88 … 175   "|" and the character of value − 88
//         176 … 255   "}" and the character of value − 176

const SHIFT = 2;
const SINGLES = 88;
const FIRST = 35;
const BACKSLASH = 92;
const BEFORE_PREFIXES = 123;

export function encodeWasm(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const value = (byte + SHIFT) % 256;
    const prefix = Math.floor(value / SINGLES);
    const code = FIRST + (value % SINGLES);
    if (prefix > 0) text += String.fromCharCode(BEFORE_PREFIXES + prefix);
    text += String.fromCharCode(code < BACKSLASH ? code : code + 1);
  }
  return text;
}

export function decodeWasm(text: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  let base = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > BEFORE_PREFIXES) {
      base = (code - BEFORE_PREFIXES) * SINGLES;
    } else {
      bytes.push(base + code - FIRST - (code > BACKSLASH ? 1 : 0) - SHIFT);
      base = 0;
    }
  }
  return Uint8Array.from(bytes); // modulo 256
}
