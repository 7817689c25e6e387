// Texts measured and cut by characters: Unicode code points, as the protocol's maxLength counts them, so that a limit
// means the same in every language and no cut leaves half of a surrogate pair; measured in bytes where it is about what
// a store keeps. Pure; who may call: anyone.

/** Whether a text has at most `max` characters. */
export function hasAtMostCharacters(text: string, max: number): boolean {
  if (text.length <= max) return true;
  if (text.length > 2 * max) return false;
  let count = 0;
  for (const _ of text) count += 1;
  return count <= max;
}

/** Whether a text takes at most `max` bytes as UTF-8. Well-formed, as all that comes out of the wire. */
export function hasAtMostBytes(text: string, max: number): boolean {
  if (text.length > max) return false;
  // No UTF-16 unit takes more than three bytes.
  return 3 * text.length <= max || new TextEncoder().encode(text).length <= max;
}

/** The text, or its first `max` characters with an ellipsis: for messages that quote what a caller sent. */
export function shorten(text: string, max: number): string {
  if (hasAtMostCharacters(text, max)) return text;
  // A character takes at most two units, so the piece holds enough of them without spreading a whole body.
  return `${[...text.slice(0, 2 * max)].slice(0, max).join("")}…`;
}
