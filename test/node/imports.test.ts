// Who may import whom (docs/ARCHITECTURE.md), kept true by reading every import.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Folder or file → what it may import beside itself. The first row that fits a path is its row. */
const MAY_IMPORT: readonly (readonly [string, readonly string[]])[] = [
  ["assembly", []],
  ["src/kernel", ["src/arguments.ts", "src/dispose.ts", "src/errors.ts"]],
  ["src/budgets", ["src/kernel", "src/arguments.ts", "src/denial.ts", "src/dispose.ts", "src/errors.ts"]],
  [
    "src/execution",
    ["src/kernel", "src/budgets", "src/arguments.ts", "src/denial.ts", "src/dispose.ts", "src/errors.ts"],
  ],
  ["src/estimates", ["src/budgets", "src/arguments.ts", "src/denial.ts", "src/dispose.ts", "src/errors.ts"]],
  ["src/ledger", ["src/kernel", "src/arguments.ts", "src/errors.ts", "@noble/hashes", "valibot"]],
  [
    "src/authority",
    [
      "src/ledger",
      "src/kernel",
      "src/arguments.ts",
      "src/denial.ts",
      "src/dispose-async.ts",
      "src/errors.ts",
    ],
  ],
  ["src/journal/file.ts", ["src/authority", "src/journal/counts.ts", "node:*"]],
  ["src/journal", ["src/authority"]],
  [
    "src/lease",
    [
      "src/authority",
      "src/ledger",
      "src/budgets",
      "src/kernel",
      "src/arguments.ts",
      "src/denial.ts",
      "src/dispose-async.ts",
      "src/errors.ts",
    ],
  ],
  ["src", ["src", "build/kernel.wasm", "build/accounts.wasm"]],
  ["worker/index.ts", ["worker", "cloudflare:workers"]],
  ["worker/tokens.ts", ["purser/ledger", "jose"]],
  [
    "worker/http",
    ["purser/ledger", "worker/tenant", "worker/registry", "worker/tokens.ts", "worker/env.ts", "hono"],
  ],
  [
    "worker/tenant",
    [
      "purser/ledger",
      "worker/registry",
      "worker/tokens.ts",
      "worker/migrations.ts",
      "worker/env.ts",
      "cloudflare:workers",
    ],
  ],
  ["worker/registry", ["purser/ledger", "worker/migrations.ts", "worker/env.ts", "cloudflare:workers"]],
  ["worker", ["purser/ledger", "worker"]],
];

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

function imports(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^(?:import|export)\s[^;]*?from\s+"([^"]+)"|^import\s+"([^"]+)"/gm)].map(
    ([, from, bare]) => {
      const target = from ?? bare ?? "";
      if (!target.startsWith(".")) return target;
      const path = normalize(join(dirname(file), target));
      return path.endsWith(".ts") || path.endsWith(".wasm") ? path : `${path}.ts`;
    },
  );
}

const isBelow = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

describe.each(["assembly", "src", "worker"])("%s", (folder) => {
  test.each(files(folder))("%s imports only what it may know", (file) => {
    const [own, allowed] = MAY_IMPORT.find(([place]) => isBelow(file, place)) ?? [];
    if (own === undefined || allowed === undefined) throw new Error(`no rule for ${file}`);
    const foreign = imports(file).filter(
      (target) =>
        ![own, ...allowed].some(
          (place) => isBelow(target, place) || (place === "node:*" && target.startsWith("node:")),
        ),
    );
    expect(foreign).toEqual([]);
  });
});

test("only src/kernel says WebAssembly", () => {
  const elsewhere = files("src").filter((file) => !isBelow(file, "src/kernel"));
  for (const file of elsewhere)
    expect(readFileSync(join(root, file), "utf8"), file).not.toMatch(/\bWebAssembly\./);
});

/** The defaults of the clients; the entry for Workers, whose requests end without a word. */
const MAY_READ_CLOCKS: readonly string[] = ["src/authority/surroundings.ts", "src/index.workerd.ts"];

test("the library reads no clock and makes no chance, but for two files", () => {
  for (const file of files("src").filter((it) => !MAY_READ_CLOCKS.includes(it))) {
    const text = readFileSync(join(root, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
    expect(text, file).not.toMatch(
      /\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\b|getRandomValues|randomUUID/,
    );
  }
});
