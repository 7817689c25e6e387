// Checks of what callers hand in. A failed check throws before anything has changed, and names argument, rule, value.

/** Stable code on every RangeError and TypeError that this library throws for a bad argument. */
export const ARGUMENT_INVALID = "ARGUMENT_INVALID";

/** True for a plain number that is an integer in 0 … 2^53−1, and for nothing else. */
export function isAmount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** @throws RangeError or TypeError unless `value` is an integer in 0 … 2^53−1 */
export function checkAmount(argument: string, value: unknown): asserts value is number {
  if (!isAmount(value)) throw invalidInteger(argument, value, 0, Number.MAX_SAFE_INTEGER);
}

/** @throws RangeError or TypeError unless `value` is an integer in `low` … `high` */
export function checkInteger(
  argument: string,
  value: unknown,
  low: number,
  high: number,
): asserts value is number {
  if (!Number.isSafeInteger(value) || (value as number) < low || (value as number) > high) {
    throw invalidInteger(argument, value, low, high);
  }
}

/** @throws TypeError or RangeError unless `value` is a well-formed string of 1 … `lengthMax` UTF-16 units */
export function checkName(argument: string, value: unknown, lengthMax: number): asserts value is string {
  if (typeof value !== "string") throw invalidType(argument, "a string", value);
  if (value.length < 1 || value.length > lengthMax) {
    throw coded(new RangeError(`${argument} must have 1 to ${lengthMax} characters, got ${value.length}`));
  }
  if (/\p{Surrogate}/u.test(value)) {
    throw coded(new RangeError(`${argument} must be well-formed, got half of a surrogate pair`));
  }
  if (value.startsWith("\0")) throw coded(new RangeError(`${argument} must not begin with a NUL character`));
}

/** @throws TypeError unless `value` is an object, as options and limits are */
export function checkObject(argument: string, value: unknown): asserts value is object {
  if (typeof value !== "object" || value === null) throw invalidType(argument, "an object", value);
}

/** @throws TypeError unless `value` is an AbortSignal or undefined */
export function checkSignal(argument: string, value: unknown): asserts value is AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) {
    throw invalidType(argument, "an AbortSignal", value);
  }
}

/** @throws TypeError unless `value` is a clock */
export function checkClock(argument: string, value: unknown): asserts value is () => number {
  if (typeof value !== "function") {
    throw invalidType(argument, "a function that returns milliseconds", value);
  }
}

/** The error for a number that is out of range, or that is none. */
export function invalidInteger(
  argument: string,
  value: unknown,
  low: number,
  high: number,
): RangeError | TypeError {
  if (typeof value !== "number") return invalidType(argument, "a number", value);
  return coded(new RangeError(`${argument} must be an integer from ${low} to ${high}, got ${value}`));
}

/** The error for a number of the right kind that means nothing here. */
export function invalidArgument(argument: string, expected: string, value: unknown): RangeError {
  return coded(
    new RangeError(
      `${argument} must be ${expected}, got ${typeof value === "number" ? value : describe(value)}`,
    ),
  );
}

export function invalidType(argument: string, expected: string, value: unknown): TypeError {
  return coded(new TypeError(`${argument} must be ${expected}, got ${describe(value)}`));
}

function coded<E extends Error>(error: E): E {
  return Object.assign(error, { code: ARGUMENT_INVALID });
}

function describe(value: unknown): string {
  if (typeof value === "string") return `string ${JSON.stringify(value.slice(0, 40))}`;
  if (typeof value === "bigint") return `bigint ${value}`;
  if (value === null || value === undefined || typeof value === "boolean") return String(value);
  return typeof value;
}
