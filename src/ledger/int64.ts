// The one place that turns decimal text into int64 amounts and back. Amounts are BigInt in memory, decimal text in
// SQL and JSON integers on the wire; nothing here rounds, and what does not fit is refused, never wrapped or clamped.
// Who may call: the ledger and its stores.

export const INT64_MAX = 9_223_372_036_854_775_807n;
export const INT64_MIN = -9_223_372_036_854_775_808n;

const INT64_TEXT = /^(?:0|-?[1-9][0-9]{0,18})$/;

/** Whether `value` fits a signed 64-bit integer. */
export function fitsInt64(value: bigint): boolean {
  return value >= INT64_MIN && value <= INT64_MAX;
}

/** Reads canonical decimal text (no sign on zero, no leading zeros, no plus); `undefined` for anything else. */
export function parseInt64(text: string): bigint | undefined {
  if (!INT64_TEXT.test(text)) return undefined;
  const value = BigInt(text);
  return fitsInt64(value) ? value : undefined;
}

/**
 * Decimal text for SQL. SQLite's CAST forgives (2^63 becomes 2^63−1), so the range is checked before it sees the text.
 *
 * @throws RangeError when `value` does not fit: a bug in the caller, since every amount was validated at the door.
 */
export function int64Text(value: bigint): string {
  if (!fitsInt64(value)) throw new RangeError(`int64: value must fit a signed 64-bit integer, got ${value}`);
  return value.toString();
}

/** Whether `value` survives a trip through a double, as most JSON clients read it. */
export function isSafeAmount(value: bigint): boolean {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER);
}
