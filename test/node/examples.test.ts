// The README's examples are the files of examples/, word for word, and they run.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ask } from "../../examples/browser.ts";

const file = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

test.each(["browser", "worker", "node"])("the README shows examples/%s.ts", (name) => {
  expect(readFileSync(file("README.md"), "utf8")).toContain(
    `\`\`\`ts\n${readFileSync(file(`examples/${name}.ts`), "utf8")}\`\`\``,
  );
});

test("examples/node.ts: four threads spend from one budget, and never more than it has", () => {
  const printed = execFileSync(process.execPath, [file("examples/node.ts")], { encoding: "utf8" });
  const [, spent, left] = /^(\d+) spent, (\d+) left\n$/.exec(printed) ?? [];
  expect(Number(spent) + Number(left)).toBe(10_000);
  expect(Number(left)).toBeLessThan(120);
});

test("examples/browser.ts: settles each call with the model's usage, and denies beyond the budget", async () => {
  const model = async (prompt: string, { maxTokens }: { maxTokens: number }) => ({
    text: `${prompt}!`,
    usage: { promptTokens: 20_000, completionTokens: maxTokens },
  });
  for (let call = 0; call < 4; call++) expect(await ask("hello", model)).toBe("hello!");
  await expect(ask("x".repeat(20_000), model)).rejects.toMatchObject({ code: "BUDGET_DENIED" });
});
