// Exact JSON for the wire. Integers of any size survive (number when safe, BigInt beyond 2^53−1); a number is never
// rounded into an integer; depth is capped while reading; strings are well formed; a key stands once in its object.
// Own reader and writer, since JSON.parse rounds and its source-text access is missing in Node 20 and older browsers.
// Who may call: whoever holds text from outside (HTTP front), and the ledger for stored replies and fingerprints.

import { JSON_DEPTH_MAX } from "./limits.ts";

export type JsonValue = null | boolean | number | bigint | string | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

/**
 * A number written with fraction or exponent whose double is an integer, like `1.0`, is marked by its box: `Object(1)`.
 * Metadata may hold it (it becomes the number), an amount may not: the text might have said 0.99999999999999999999.
 * A box and not a class of our own, because it must cross RPC between the front and the object.
 */
// biome-ignore lint/complexity/noBannedTypes: the box is what is meant
export type BoxedNumber = Number;

export function isBoxedNumber(value: unknown): value is BoxedNumber {
  return value instanceof Number;
}

/** What {@link parseJson} returns: JSON in which an integral fraction is still marked as such. */
export type ParsedJson =
  | null
  | boolean
  | number
  | bigint
  | string
  | BoxedNumber
  | ParsedJson[]
  | ParsedObject;
export type ParsedObject = { [key: string]: ParsedJson };

export type JsonResult =
  | { readonly ok: true; readonly value: ParsedJson }
  | { readonly ok: false; readonly message: string };

/** Reads one JSON text. A refusal says what is wrong and where, as a value. */
export function parseJson(text: string, depthMax: number = JSON_DEPTH_MAX): JsonResult {
  const reader = new JsonReader(text, depthMax);
  try {
    return { ok: true, value: reader.readDocument() };
  } catch (error) {
    if (error instanceof JsonRefusal) return { ok: false, message: error.message };
    throw error;
  }
}

class JsonRefusal extends Error {}

const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const TAB = 9;
const LINE_FEED = 10;
const RETURN = 13;
const SPACE = 32;
const QUOTE = 34;
const BACKSLASH = 92;
const TILDE = 126;

class JsonReader {
  readonly #text: string;
  readonly #depthMax: number;
  #at = 0;

  constructor(text: string, depthMax: number) {
    this.#text = text;
    this.#depthMax = depthMax;
  }

  readDocument(): ParsedJson {
    const value = this.#readValue(0);
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#refuse("unexpected text after the JSON value");
    return value;
  }

  #readValue(depth: number): ParsedJson {
    this.#skipSpace();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#readObject(this.#deeper(depth));
      case "[":
        return this.#readArray(this.#deeper(depth));
      case '"':
        return this.#readString();
      case "t":
        return this.#readWord("true", true);
      case "f":
        return this.#readWord("false", false);
      case "n":
        return this.#readWord("null", null);
      default:
        return this.#readNumber();
    }
  }

  #readObject(depth: number): ParsedObject {
    const object: ParsedObject = {};
    this.#at += 1;
    if (this.#takes("}")) return object;
    do {
      this.#skipSpace();
      if (this.#text[this.#at] !== '"') this.#refuse("expected a key in double quotes");
      const key = this.#readString();
      // Assigning this key would set a prototype in some later copy; no field of ours has the name.
      if (key === "__proto__") this.#refuse('the key "__proto__" is not accepted');
      if (Object.hasOwn(object, key))
        this.#refuse(`the key ${JSON.stringify(key)} stands twice in one object`);
      if (!this.#takes(":")) this.#refuse("expected a colon after the key");
      object[key] = this.#readValue(depth);
    } while (this.#takes(","));
    if (!this.#takes("}")) this.#refuse("expected a comma or the end of the object");
    return object;
  }

  #readArray(depth: number): ParsedJson[] {
    const array: ParsedJson[] = [];
    this.#at += 1;
    if (this.#takes("]")) return array;
    do array.push(this.#readValue(depth));
    while (this.#takes(","));
    if (!this.#takes("]")) this.#refuse("expected a comma or the end of the array");
    return array;
  }

  /**
   * Finds the closing quote. What holds no escape and nothing but printable ASCII is taken as it stands; otherwise
   * JSON.parse judges the literal: escapes and control characters are its business.
   */
  #readString(): string {
    const text = this.#text;
    const start = this.#at + 1;
    let end = start;
    let isPlain = true;
    for (; end < text.length; end += 1) {
      const code = text.charCodeAt(end);
      if (code === QUOTE) break;
      if (code >= SPACE && code <= TILDE && code !== BACKSLASH) continue;
      isPlain = false;
      if (code === BACKSLASH) end += 1;
    }
    if (end >= text.length) this.#refuse("a string does not end");
    const value = isPlain ? text.slice(start, end) : this.#parseLiteral(end + 1);
    this.#at = end + 1;
    return value;
  }

  #parseLiteral(end: number): string {
    let value: string;
    try {
      value = JSON.parse(this.#text.slice(this.#at, end)) as string;
    } catch {
      return this.#refuse("a string holds a control character or a bad escape");
    }
    return value.isWellFormed() ? value : this.#refuse("a string holds half of a surrogate pair");
  }

  #readNumber(): number | bigint | BoxedNumber {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) return this.#refuse("expected a JSON value");
    const [literal, fraction, exponent] = match;
    const value = Number(literal);
    if (!Number.isFinite(value) && (fraction ?? exponent) !== undefined) {
      this.#refuse(`the number ${literal.slice(0, 40)} is too large`);
    }
    this.#at += literal.length;
    if (fraction !== undefined || exponent !== undefined || literal === "-0") {
      return Number.isInteger(value) ? (Object(value) as BoxedNumber) : value;
    }
    return Number.isSafeInteger(value) ? value : BigInt(literal);
  }

  #readWord<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#refuse("expected a JSON value");
    this.#at += word.length;
    return value;
  }

  #takes(mark: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#at] !== mark) return false;
    this.#at += 1;
    return true;
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== SPACE && code !== LINE_FEED && code !== RETURN && code !== TAB) return;
      this.#at += 1;
    }
  }

  #deeper(depth: number): number {
    if (depth >= this.#depthMax) this.#refuse(`nested more than ${this.#depthMax} levels deep`);
    return depth + 1;
  }

  #refuse(rule: string): never {
    throw new JsonRefusal(`${rule} (at character ${this.#at})`);
  }
}

/** Turns any value into plain JSON, or says which part cannot be. Boxed numbers are unboxed. */
export function toJsonValue(value: unknown, depthMax: number = JSON_DEPTH_MAX): JsonValue | undefined {
  if (value === null || typeof value === "boolean" || typeof value === "bigint") return value;
  if (typeof value === "string") return value.isWellFormed() ? value : undefined;
  if (typeof value === "number") return Number.isFinite(value) ? value : undefined;
  if (isBoxedNumber(value)) return value.valueOf();
  if (depthMax <= 0 || typeof value !== "object") return undefined;
  if (Array.isArray(value)) {
    const items = value.map((item) => toJsonValue(item, depthMax - 1));
    return items.some((item) => item === undefined) ? undefined : (items as JsonValue[]);
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  const object: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const json = key === "__proto__" || !key.isWellFormed() ? undefined : toJsonValue(item, depthMax - 1);
    if (json === undefined) return undefined;
    object[key] = json;
  }
  return object;
}

/** Reads JSON that {@link stringifyJson} wrote, of any depth. @throws Error if it is not JSON: the store is corrupt */
export function readStoredJson(text: string): JsonValue {
  const parsed = parseJson(text, Number.POSITIVE_INFINITY);
  const value = parsed.ok ? toJsonValue(parsed.value, Number.POSITIVE_INFINITY) : undefined;
  if (value === undefined)
    throw new Error(`stored JSON cannot be read: ${parsed.ok ? "no JSON value" : parsed.message}`);
  return value;
}

/** JSON text with keys in the order they were set; BigInt as a plain integer; `undefined` members left out. */
export function stringifyJson(value: unknown): string {
  return write(value, false);
}

/** RFC 8785 text (keys sorted by UTF-16 units), so that equal requests have equal fingerprints. BigInt as its digits. */
export function canonicalJson(value: unknown): string {
  return write(value, true);
}

function write(value: unknown, sorted: boolean): string {
  switch (typeof value) {
    case "string":
      return quote(value);
    case "bigint":
      return value.toString();
    case "boolean":
      return value ? "true" : "false";
    case "number":
      if (!Number.isFinite(value)) throw new TypeError(`json: a number must be finite, got ${value}`);
      return JSON.stringify(value);
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? writeArray(value, sorted) : writeObject(value, sorted);
    default:
      throw new TypeError(`json: a ${typeof value} has no JSON form`);
  }
}

function writeArray(items: readonly unknown[], sorted: boolean): string {
  let text = "";
  for (const item of items) text += `${text === "" ? "" : ","}${write(item, sorted)}`;
  return `[${text}]`;
}

function writeObject(object: object, sorted: boolean): string {
  const members = object as Readonly<Record<string, unknown>>;
  const keys = Object.keys(members);
  if (sorted) keys.sort();
  let text = "";
  for (const key of keys) {
    const item = members[key];
    if (item === undefined) continue;
    text += `${text === "" ? "" : ","}${quote(key)}:${write(item, sorted)}`;
  }
  return `{${text}}`;
}

/** Printable ASCII without quote and backslash: stands in JSON as it is. Asking first is several times as fast. */
const PLAIN = /^[ !#-[\]-~]{0,128}$/;

function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
