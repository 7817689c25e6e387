// Cursors: where a list goes on. Opaque to callers, and bound to the filters they were made with, since with others the
// position would mean something else. Invariant: what `readCursor` returns was written for the same filters, or it is
// null. Not a secret and not signed: a cursor gives no right, every row is judged anew. Pure; who may call: lists.

import { type Refusal, refuse } from "./codes.ts";
import { fingerprint } from "./digest.ts";
import { canonicalJson, parseJson } from "./json.ts";

const PRINT_LENGTH = 12;

/** @param position - texts of ASCII characters */
export function writeCursor(position: readonly string[], filters: object): string {
  const text = JSON.stringify([printOf(filters), ...position]);
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The position that a cursor tells; `undefined` without a cursor, `null` for one that was not made for these filters. */
export function readCursor(
  cursor: string | undefined,
  filters: object,
): readonly string[] | null | undefined {
  if (cursor === undefined) return undefined;
  const parts = decode(cursor);
  if (parts === null || parts[0] !== printOf(filters)) return null;
  return parts.slice(1);
}

export function refuseCursor(): Refusal {
  return refuse("INVALID_REQUEST", "cursor must come from a previous reply to the same query", {
    field: "cursor",
  });
}

function decode(cursor: string): string[] | null {
  let text: string;
  try {
    text = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const parsed = parseJson(text);
  if (!parsed.ok || !Array.isArray(parsed.value)) return null;
  const parts = parsed.value.filter((part) => typeof part === "string");
  return parts.length === parsed.value.length ? parts : null;
}

/** What equal filters share; one that is undefined counts as absent. */
function printOf(filters: object): string {
  return fingerprint(canonicalJson(filters)).slice(0, PRINT_LENGTH);
}
