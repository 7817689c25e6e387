// SHA-256 against the platform's own, at every length around the block's edges and on any text.

import fc from "fast-check";
import { expect, test } from "vitest";
import { sha256 } from "../../../src/kernel/sha256.ts";

/** One to four bytes each. fast-check's own unit for any text takes a second to be made. */
const codePoint = fc.oneof(
  fc.integer({ min: 0, max: 0x7f }),
  fc.integer({ min: 0, max: 0xd7ff }),
  fc.integer({ min: 0xe000, max: 0x10_ffff }),
);

async function platform(text: string): Promise<number[]> {
  const digest = new DataView(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return Array.from({ length: 8 }, (_, index) => digest.getUint32(index * 4));
}

test("every length from 0 to 200", async () => {
  for (let length = 0; length <= 200; length++) {
    const text = "x".repeat(length);
    expect([...sha256(text)], `length ${length}`).toEqual(await platform(text));
  }
});

test("any text", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(codePoint, { maxLength: 300 }), async (codePoints) => {
      const text = String.fromCodePoint(...codePoints);
      expect([...sha256(text)]).toEqual(await platform(text));
    }),
  );
});
