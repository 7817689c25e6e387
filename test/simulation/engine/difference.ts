// Where two plain values differ, as text: `body.charged.amount: expected 5n, got 7n`. Members that are undefined are as
// good as absent. Pure; who may call: anyone.

/** The first difference, or `undefined` when there is none. */
export function difference(expected: unknown, actual: unknown, path = "reply"): string | undefined {
  const found = find(expected, actual);
  return found === undefined ? undefined : path + found;
}

/** The path below this value and what differs there. Texts are made only where something does. */
function find(expected: unknown, actual: unknown): string | undefined {
  if (Object.is(expected, actual)) return undefined;
  if (!isContainer(expected) || !isContainer(actual) || Array.isArray(expected) !== Array.isArray(actual)) {
    return `: expected ${shown(expected)}, got ${shown(actual)}`;
  }
  for (const name of Object.keys(expected)) {
    const found = find(expected[name], actual[name]);
    if (found !== undefined) return `.${name}${found}`;
  }
  for (const name of Object.keys(actual)) {
    if (actual[name] !== undefined && !Object.hasOwn(expected, name)) {
      return `.${name}: expected nothing, got ${shown(actual[name])}`;
    }
  }
  return undefined;
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** A value on one line, BigInt as `5n`. */
export function shown(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  const text = JSON.stringify(value, (_, item: unknown) => (typeof item === "bigint" ? `${item}n` : item));
  return text ?? String(value);
}
