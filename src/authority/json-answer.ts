// Reads and writes the clients' JSON with the platform's own reader and writer, and rounds nothing: on the way in a number that
// is no integer of up to 15 digits is marked in the text before, and made exact after; on the way out a BigInt is marked, and
// made a number after. Invariant: what comes out is what `parseJson` and `stringifyJson` of the ledger say of the same, but that
// the platform decides what is JSON. Who may call: http-transport.ts; ReservationGuard, to compare requests; journal-text.ts.

import { invalidArgument } from "../arguments.ts";
import type { ParsedJson } from "../ledger/json.ts";

/** A text or a number, and the colon that makes it a key. Nothing else of JSON has a quote or a digit. */
const TOKEN = /(?:"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(\s*:)?/g;
const SMALL = /^-?\d{1,15}$/;
const INTEGER = /^-?\d+$/;

/**
 * A text that begins with this is a number's, or had one in front of it already and has one more now. Both of the ways in
 * which JSON can write it are known, so that no text is taken for a number.
 */
const MARK = "~";
const MARKED_ALREADY = /^"(?:~|\\u007e)/i;

/** @throws SyntaxError for what is no JSON */
export function parseAnswer(text: string): ParsedJson {
  const marked = text.replace(TOKEN, (token: string, colon: string | undefined) => {
    if (colon !== undefined || SMALL.test(token)) return token;
    if (!token.startsWith('"')) return `"${MARK}${token}"`;
    return MARKED_ALREADY.test(token) ? `"${MARK}${token.slice(1)}` : token;
  });
  return JSON.parse(marked, (_, value: ParsedJson) =>
    typeof value === "string" && value.startsWith(MARK) ? unmarked(value.slice(1)) : value,
  ) as ParsedJson;
}

const JSON_RULE = "a value that JSON has";

/** @throws RangeError that names the member, for a number or another value that JSON has no form for, a circle among them */
export function requestText(value: unknown): string {
  let last = "";
  const mark = (key: string, given: unknown): unknown => {
    last = key;
    // The platform would write what is in the box only after this has looked.
    const it = given instanceof String || given instanceof Number ? given.valueOf() : given;
    if (typeof it === "bigint" || (typeof it === "string" && it.startsWith(MARK))) return MARK + it;
    if (
      typeof it === "function" ||
      typeof it === "symbol" ||
      (typeof it === "number" && !Number.isFinite(it))
    ) {
      throw invalidArgument(key, JSON_RULE, it);
    }
    return it;
  };
  let marked: string;
  try {
    marked = JSON.stringify(value, mark);
  } catch (cause) {
    if ((cause as { readonly code?: unknown }).code !== undefined) throw cause;
    // A circle, or what is too deep for the platform, in the member that was looked at last.
    throw Object.assign(invalidArgument(last, JSON_RULE, cause), { cause });
  }
  return marked.replace(TOKEN, (token: string, colon: string | undefined) => {
    if (colon !== undefined || !token.startsWith(`"${MARK}`)) return token;
    return token.startsWith(`"${MARK}${MARK}`) ? `"${token.slice(2)}` : token.slice(2, -1);
  });
}

function unmarked(text: string): ParsedJson {
  if (text.startsWith(MARK)) return text;
  const value = Number(text);
  if (INTEGER.test(text)) return Number.isSafeInteger(value) ? value : BigInt(text);
  // As `parseJson` does: what was written with a fraction may be near an integer, and is none.
  return Number.isInteger(value) ? (Object(value) as ParsedJson) : value;
}
