// Which Chromium the browser tests run in: CHROME_PATH, else an installed Chromium or Chrome, else the one that npm
// ships. A candidate counts only after it has really started, headless, and shown an empty page: a binary may be there
// and answer --version while the libraries it loads later are not. Used by test.ts; run alone, it prints the path.
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import process from "node:process";
import { chromium } from "playwright";
import { BROWSER_START_MS_MAX } from "./lib/limits.ts";
import { unpackSparticuz } from "./lib/sparticuz.ts";
import { runCommand, UserError } from "./lib/user-error.ts";

export interface FoundBrowser {
  readonly path: string;
  readonly version: string;
}

interface Candidate {
  readonly name: string;
  readonly path: string;
}

const COMMANDS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

export async function findBrowser(): Promise<FoundBrowser> {
  const reasons: string[] = [];
  for await (const candidate of candidates(reasons)) {
    const started = await start(candidate.path);
    if ("version" in started) return { path: candidate.path, version: started.version };
    reasons.push(`${candidate.name} (${candidate.path}): ${started.reason}`);
  }
  throw new UserError(
    "no Chromium could be started for the browser tests; install Chromium or Chrome, or set CHROME_PATH to one that " +
      `starts on this machine. Tried:\n${reasons.map((reason) => `  - ${reason}`).join("\n")}`,
  );
}

/** In order of preference; what costs time (unpacking 200 MB) is done only when everything before it has failed. */
async function* candidates(reasons: string[]): AsyncGenerator<Candidate> {
  const given = process.env.CHROME_PATH;
  if (given !== undefined && given !== "") yield { name: "CHROME_PATH", path: given };
  else reasons.push("CHROME_PATH: not set");

  let installed = 0;
  for (const path of installedPaths()) {
    if (!(await isExecutable(path))) continue;
    installed += 1;
    yield { name: "installed", path };
  }
  if (installed === 0) reasons.push("installed: no Chromium or Chrome on PATH or in the usual places");

  try {
    const unpacked = await unpackSparticuz();
    yield { name: "@sparticuz/chromium", path: unpacked.binary };
    yield { name: "@sparticuz/chromium with its own libraries", path: unpacked.wrapper };
  } catch (error) {
    reasons.push(`@sparticuz/chromium: ${firstLine(error)}`);
  }
}

function installedPaths(): Set<string> {
  const extension = process.platform === "win32" ? ".exe" : "";
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const onPath = COMMANDS.flatMap((command) => folders.map((folder) => join(folder, command + extension)));
  const usual: Partial<Record<NodeJS.Platform, readonly string[]>> = {
    linux: ["/opt/google/chrome/chrome", "/usr/lib/chromium/chromium", "/snap/bin/chromium"],
    darwin: [
      "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
      "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ],
    win32: [process.env.PROGRAMFILES, process.env["PROGRAMFILES(X86)"], process.env.LOCALAPPDATA].flatMap(
      (folder) => (folder === undefined ? [] : [join(folder, "Google/Chrome/Application/chrome.exe")]),
    ),
  };
  // The last one is where `npx playwright install` would have put its own.
  return new Set([...onPath, ...(usual[process.platform] ?? []), chromium.executablePath()]);
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function start(path: string): Promise<{ version: string } | { reason: string }> {
  try {
    const browser = await chromium.launch({
      executablePath: path,
      headless: true,
      timeout: BROWSER_START_MS_MAX,
    });
    try {
      const page = await browser.newPage();
      await page.goto("about:blank", { timeout: BROWSER_START_MS_MAX });
      return { version: browser.version() };
    } finally {
      await browser.close();
    }
  } catch (error) {
    return { reason: reasonOf(error) };
  }
}

/** Playwright's report holds the browser's whole command line; what helps is the line where the loader complains. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const complaint =
    /error while loading shared libraries: [^\n]*/.exec(text) ?? /(?<=\[err\] )[^\n]+/.exec(text);
  return complaint?.[0] ?? firstLine(error);
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0] ?? text;
}

if (import.meta.main) {
  await runCommand(async () => {
    process.stdout.write(`${(await findBrowser()).path}\n`);
    return 0;
  });
}
