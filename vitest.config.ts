// One shared suite in four projects: Node, workerd, a cross-origin isolated page and one that is not. The authority's rules
// run where an authority does, of them a page has the contract alone; without isolation only what has to do with memory runs.
// A fifth has the files that need a process of their own.
// The library's sources are tested under the package's own name; what ships in dist/ has tests of its own in test/node.

import { fileURLToPath } from "node:url";
import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { playwright } from "@vitest/browser-playwright";
import { defineConfig, type Plugin } from "vitest/config";
import * as commands from "./test/node/support/browser-commands.ts";
import { WORKER_MUTANTS } from "./test/workerd/mutants.ts";

/** The package's own name leads to its sources; `variant` is "" or ".workerd". */
function sources(variant: "" | ".workerd") {
  const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const source = (entry: string): string => file(`src/${entry}${variant}.ts`);
  return {
    alias: [
      { find: /^purser$/, replacement: source("index") },
      { find: /^purser\/ledger$/, replacement: source("ledger") },
      { find: /^purser\/client$/, replacement: file("src/client.ts") },
      { find: /^purser\/journal-(\w+)$/, replacement: file("src/journal/$1.ts") },
      { find: /^purser\/tabs$/, replacement: file("src/tabs.ts") },
      { find: /^purser\/tokens$/, replacement: file("src/tokens.ts") },
      { find: /^purser\/estimates$/, replacement: file("src/estimates.ts") },
    ],
  };
}

/** Breaks the one rule that PURSER_MUTANT names, for `npm run simulate -- --worker-mutants`. The files stay as they are. */
function workerMutant(): Plugin[] {
  const mutant = WORKER_MUTANTS.find(({ name }) => name === process.env.PURSER_MUTANT);
  if (mutant === undefined) return [];
  const { name, file, find, replace } = mutant;
  return [
    {
      // Vitest keeps transformed files by their text and the plugins' names: no mutant may be found for another.
      name: `worker-mutant-${name}`,
      enforce: "pre",
      transform(code, id) {
        if (!id.endsWith(`/${file}`)) return undefined;
        if (code.split(find).length !== 2)
          throw new Error(`mutant ${name}: its text must stand once in ${file}`);
        return code.replace(find, () => replace);
      },
    },
  ];
}

/**
 * The one puts the unoptimised kernel in the place of the other, for all that its process loads; the other collects garbage a
 * thousand times, which takes long in a process with much in it.
 */
const ALONE = ["test/node/debug-kernel.test.ts", "test/node/unreachable.test.ts"];

/** scripts/test.ts finds a browser that really starts and hands it over here. */
const executablePath = process.env.CHROME_PATH;

function browserProject(name: string, headers: Record<string, string>, include: string[]) {
  return {
    resolve: sources(""),
    server: { headers },
    // Found beforehand: a dependency that is discovered while tests run makes the page reload.
    optimizeDeps: {
      include: [
        "valibot",
        "fast-check",
        "@noble/hashes/sha2.js",
        "@noble/hashes/hmac.js",
        "@noble/hashes/utils.js",
      ],
    },
    test: {
      name,
      include,
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        commands: { ...commands },
        instances: [{ browser: "chromium" as const }],
        provider: playwright({
          launchOptions: executablePath === undefined ? {} : { executablePath },
        }),
      },
    },
  };
}

export default defineConfig({
  test: {
    // A guard against hanging, not a measure of speed: machines that run this may be busy.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // By itself it leaves one core idle, which on a machine with two is half of it.
    maxWorkers: "100%",
    // A process, a workerd and a page for all files rather than one for each: no test changes what others find, and what
    // they can share (tenants) is made anew for each file. Starting them took more time than half of the tests.
    isolate: false,
    projects: [
      {
        resolve: sources(""),
        test: {
          name: "node",
          include: ["test/shared/**/*.test.ts", "test/node/**/*.test.ts"],
          exclude: ALONE,
        },
      },
      { resolve: sources(""), test: { name: "node-alone", include: ALONE, isolate: true } },
      {
        resolve: sources(".workerd"),
        plugins: [
          workerMutant(),
          cloudflareTest({
            wrangler: { configPath: "./wrangler.toml" },
            miniflare: {
              // For vitest's own runner alone; what is deployed runs without it (test/node/serve.test.ts).
              compatibilityFlags: ["nodejs_compat"],
              bindings: {
                PURSER_ADMIN_KEY: "admin-key-of-the-tests",
                PURSER_HASH_SECRET: "hash-secret-of-the-tests",
              },
            },
          }),
        ],
        test: {
          name: "workerd",
          setupFiles: ["test/workerd/fresh-storage.ts"],
          include: ["test/shared/**/*.test.ts", "test/workerd/**/*.test.ts"],
          // Long courses of the ledger over memory: in workerd they are played over SQLite, by the simulation.
          exclude: ["test/shared/ledger/{backlog,*-model}.test.ts"],
        },
      },
      browserProject(
        "browser",
        {
          "Cross-Origin-Opener-Policy": "same-origin",
          "Cross-Origin-Embedder-Policy": "require-corp",
        },
        [
          "test/shared/!(ledger)/**/*.test.ts",
          "test/shared/ledger/ledger.test.ts",
          "test/browser/**/*.test.ts",
        ],
      ),
      browserProject("browser-unisolated", {}, [
        "test/shared/{kernel,budgets}/**/*.test.ts",
        "test/browser-unisolated/**/*.test.ts",
      ]),
    ],
  },
});
