// What `npm test` runs once everything is built: lint, type checks, and every test in Node, workerd and a real Chromium.
// Everything runs even if something before it failed; nothing is skipped silently. Further arguments go to vitest
// (`npm test -- --project node`). The last line is `N passed, N failed`: the tests and the checks together.
import { mkdir, readFile, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import process from "node:process";
import { findBrowser } from "./find-browser.ts";
import { BUILD, ROOT, runTool } from "./lib/project.ts";
import { listenForStop } from "./lib/stop-signal.ts";
import { runCommand, UserError } from "./lib/user-error.ts";

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

interface Check {
  readonly name: string;
  readonly tool: string;
  readonly arguments: readonly string[];
}

const CHECKS: readonly Check[] = [
  { name: "lint and format", tool: "@biomejs/biome/bin/biome", arguments: ["check", "--error-on-warnings"] },
  ...["tsconfig.src.json", "tsconfig.worker.json", "tsconfig.node.json"].map((project) => ({
    name: `types of ${project}`,
    tool: "typescript/bin/tsc",
    arguments: ["-p", project],
  })),
];

const RESULTS = join(BUILD, "test-results.json");

/** What Node has stripped of types and compiled: the commands are started as processes some hundred times. */
const COMPILED = join(BUILD, "compile-cache");

await runCommand(async () => {
  const { signal, exitCode } = listenForStop();
  const browser = await findBrowser();
  process.stdout.write(`purser: browser tests run in Chromium ${browser.version} (${shown(browser.path)})\n`);

  const counts: Counts[] = [];
  counts.push(...(await Promise.all(CHECKS.map((check) => runCheck(check, signal)))));
  if (signal.aborted) return exitCode();
  counts.push(await runVitest(browser.path, process.argv.slice(2), signal));
  if (signal.aborted) return exitCode();

  const total = (pick: (it: Counts) => number): number => counts.reduce((sum, it) => sum + pick(it), 0);
  const skipped = total((it) => it.skipped);
  const failed = total((it) => it.failed);
  if (skipped > 0) process.stdout.write(`${skipped} skipped\n`);
  process.stdout.write(`${total((it) => it.passed)} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
});

async function runCheck(check: Check, signal: AbortSignal): Promise<Counts> {
  const ended = await runTool(check.tool, check.arguments, { output: "collect", signal });
  if (ended.ok) {
    process.stdout.write(`✓ ${check.name}\n`);
    return { passed: 1, failed: 0, skipped: 0 };
  }
  process.stdout.write(`✗ ${check.name}\n${ended.output.trimEnd()}\n`);
  return { passed: 0, failed: 1, skipped: 0 };
}

async function runVitest(
  browserPath: string,
  extra: readonly string[],
  signal: AbortSignal,
): Promise<Counts> {
  await mkdir(BUILD, { recursive: true });
  await rm(RESULTS, { force: true });
  const ended = await runTool(
    "vitest/vitest.mjs",
    ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${RESULTS}`, ...extra],
    { output: "inherit", env: { CHROME_PATH: browserPath, NODE_COMPILE_CACHE: COMPILED }, signal },
  );
  const counts = await countResults();
  // vitest also fails for what is no test: an unhandled error, a file that does not load, a filter that fits nothing.
  if (!ended.ok && counts.failed === 0) return { ...counts, failed: 1 };
  return counts;
}

/** Totals of vitest's JSON report; nothing at all when vitest ended before it wrote one. */
async function countResults(): Promise<Counts> {
  const text = await readFile(RESULTS, "utf8").catch(() => null);
  if (text === null) return { passed: 0, failed: 0, skipped: 0 };
  const report: Partial<Record<string, unknown>> = JSON.parse(text);
  return {
    passed: count(report, "numPassedTests"),
    failed: count(report, "numFailedTests"),
    skipped: count(report, "numPendingTests") + count(report, "numTodoTests"),
  };
}

function count(report: Partial<Record<string, unknown>>, name: string): number {
  const value = report[name];
  if (typeof value === "number") return value;
  throw new UserError(`vitest's report ${shown(RESULTS)} has no count called ${name}.`);
}

function shown(path: string): string {
  const inside = relative(ROOT, path);
  return inside.startsWith("..") ? path : inside;
}
