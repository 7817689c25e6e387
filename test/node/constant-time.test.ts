// Whatever decides about access is compared in constant time: no file of the authority compares an API key, a digest, a
// MAC or a seal with an operator, or with a method that stops at the first difference.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "vitest";
import { ROOT } from "./support/commands.ts";

const SECRET = /(?:digest|mac|seal|signature|secret|apikey|adminkey|keytext|given)$/i;
/** Comparing with one of these asks whether a value is there, not what it is. */
const ABSENCE = new Set(["undefined", "null", '""', "''", "0"]);

/** The comparisons of a source text that could tell a secret by their time. */
function unsafeComparisons(source: string): string[] {
  const code = source.replaceAll(/^\s*(?:\/\/|\*|\/\*).*$/gm, "");
  const operators = [
    ...code.matchAll(/([\w$.#?\]")']+(?:\([^()]*\))?)\s*(?:===?|!==?)\s*([\w$.#?"'[]+(?:\([^()]*\))?)/g),
  ];
  const methods = [
    ...code.matchAll(/([\w$.#?]+)\.(?:includes|startsWith|endsWith|localeCompare|indexOf)\(([^()]*)\)/g),
  ];
  return [...operators, ...methods]
    .filter(([, left = "", right = ""]) => !ABSENCE.has(left) && !ABSENCE.has(right))
    .filter(([, left = "", right = ""]) => [left, right].some((it) => SECRET.test(it.replace(/\(.*$/, ""))))
    .map(([text]) => text);
}

describe("unsafeComparisons", () => {
  test.for([
    "if (key.digest === caller.digest) return",
    "a.mac !== mac",
    "macOf(one, tenant) === mac",
    "env.adminKey == text",
    'digest === "abc"',
    "keys.find((it) => it.digest !== digest)",
    "text.startsWith(secret)",
    "digests.includes(key.digest)",
  ])("finds %s", (source, { expect }) => {
    expect(unsafeComparisons(source)).toHaveLength(1);
  });

  test.for([
    "key.digest === undefined",
    'given === null || given === ""',
    "earlier.key === request.idempotency_key",
    "// digest === other",
    "equalInConstantTime(key.digest, caller.digest)",
    "verdict.tenant !== core.tenant",
  ])("lets %s pass", (source, { expect }) => {
    expect(unsafeComparisons(source)).toEqual([]);
  });
});

test("no source of the authority compares a secret with an operator", async ({ expect }) => {
  const found: string[] = [];
  let files = 0;
  for (const folder of ["src/ledger", "src/authority", "worker"]) {
    for (const name of await readdir(join(ROOT, folder), { recursive: true })) {
      if (!name.endsWith(".ts")) continue;
      files += 1;
      const source = await readFile(join(ROOT, folder, name), "utf8");
      found.push(...unsafeComparisons(source).map((text) => `${folder}/${name}: ${text}`));
    }
  }
  expect(files).toBeGreaterThan(30);
  expect(found).toEqual([]);
});
