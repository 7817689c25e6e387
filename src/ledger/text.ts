// Texts measured and cut by characters: Unicode code points, as the protocol's maxLength counts them, so that a limit
// means the same in every language and no cut leaves half of a surrogate pair. Pure; who may call: anyone.

/** Whether a text has at most `max` characters. */
export function hasAtMostCharacters(text: string, max: number): boolean {
  if (text.length <= max) return true;
  if (text.length > 2 * max) return false;
  let count = 0;
  for (const _ of text) count += 1;
  return count <= max;
}

/** The text, or its first `max` characters with an ellipsis: for messages that quote what a caller sent. */
export function shorten(text: string, max: number): string {
  if (hasAtMostCharacters(text, max)) return text;
  // A character takes at most two units, so the piece holds enough of them without spreading a whole body.
  return `${[...text.slice(0, 2 * max)].slice(0, max).join("")}…`;
}
