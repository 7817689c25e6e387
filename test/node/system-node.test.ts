// The built package under the Node that this machine has of its own, which may be older than the project's: the library
// supports Node 20 and later. The title says which one it was.

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const folders = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((folder) => !folder.includes("node_modules"));
const systemNode = folders.map((folder) => join(folder, "node")).find(existsSync) ?? process.execPath;
const run = (args: readonly string[]): string => execFileSync(systemNode, args, { encoding: "utf8" }).trim();

test(`the package works under this machine's Node, ${run(["--version"])}`, () => {
  const printed = run([fileURLToPath(new URL("./support/consumer.mjs", import.meta.url))]);
  expect(JSON.parse(printed)).toEqual({
    result: "text",
    shared: true,
    consumed: 100,
    available: 900,
    replayed: true,
    charged: String(2n ** 59n),
  });
});
