// The package as it is published: the tarball of `npm pack`, installed without a registry into three tiny consumers, a
// program in Node, a page that Vite bundles, and a Worker. Each spends under a real authority and tells what came out.

import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { chromium } from "playwright";
import { publint } from "publint";
import { build } from "vite";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findBrowser } from "../../../scripts/find-browser.ts";
import { adminClient } from "../../../scripts/lib/authority-client.ts";
import { type RunningAuthority, startAuthority } from "../../../scripts/lib/authority-process.ts";
import { ROOT, runTool } from "../../../scripts/lib/project.ts";
import { COMMAND_TIMEOUT_MS } from "../support/commands.ts";
import { close, listen } from "../support/prism.ts";
import { bundleWorker, startWorker } from "../support/workerd.ts";

const ADMIN_KEY = "admin-key-of-the-consumers";
const BUDGET = 500;

const spent = {
  text: "held 100",
  stream: "tokens: finish, 42 by provider",
  denied: "BUDGET_EXCEEDED",
  spent: 112,
  reserved: 0,
  remaining: BUDGET - 112,
};
/** What every consumer tells, whichever runtime it is in. */
const RESULT = { remote: spent, local: spent, tokensIssued: 0, available: 915 };

const sources = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);
const npm = async (parameters: readonly string[], cwd: string): Promise<string> => {
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const shell = process.platform === "win32";
  const { stdout } = await run("npm", [...parameters, ...quiet], { cwd, encoding: "utf8", shell });
  return stdout;
};

let folder = "";
let tarball = "";
let pages: Server;
let pageFolder = "";
let pageOrigin = "";
let authority: RunningAuthority | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "purser-consumers-"));
  const packed: unknown = JSON.parse(await npm(["pack", "--json", "--pack-destination", folder], ROOT));
  tarball = join(folder, fileNameOf(packed));
  pages = createServer(async ({ url = "/" }, response) => {
    const path = new URL(url, "http://pages").pathname;
    const file = path === "/" ? "/index.html" : path;
    const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };
    const body = await readFile(join(pageFolder, file)).catch(() => undefined);
    const type = types[extname(file)] ?? "application/octet-stream";
    response.writeHead(body === undefined ? 404 : 200, { "content-type": type }).end(body);
  });
  pageOrigin = `http://127.0.0.1:${await listen(pages)}`;
  authority = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir: join(folder, "data"),
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY, PURSER_CORS_ORIGINS: pageOrigin },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
}, COMMAND_TIMEOUT_MS);

afterAll(async () => {
  await authority?.stop();
  await close(pages);
  await rm(folder, { recursive: true, force: true });
});

/** npm writes a list, or since version 12 an object by package name. */
function fileNameOf(packed: unknown): string {
  const [first] = Object.values(packed as Record<string, { filename: string }>);
  if (first === undefined) throw new Error("npm packed nothing");
  return first.filename;
}

/** A consumer's folder, with the package as npm installs it. */
async function install(consumer: string): Promise<string> {
  const path = join(folder, consumer);
  await cp(join(sources, consumer), path, { recursive: true });
  await cp(join(sources, "spend.mjs"), join(path, "spend.mjs"));
  await writeFile(
    join(path, "package.json"),
    JSON.stringify({ name: consumer, private: true, type: "module" }),
  );
  await npm(["install", "--offline", "--no-package-lock", tarball], path);
  return path;
}

/** A tenant with a budget, as the consumer is told of it. */
async function planFor(tenant: string) {
  if (authority === undefined) throw new Error("the authority has not started");
  const admin = adminClient(authority.url, ADMIN_KEY);
  await admin.ensureTenant(tenant);
  await admin.createBudget({ tenant, scope: `tenant:${tenant}`, unit: "TOKENS" }, BUDGET);
  return { baseUrl: authority.url, apiKey: await admin.createKey(tenant), tenant };
}

describe("installed from its tarball", { timeout: COMMAND_TIMEOUT_MS }, () => {
  test("in Node", async () => {
    const path = await install("node");
    const plan = JSON.stringify(await planFor("in-node"));
    const { stdout } = await run(process.execPath, [join(path, "main.mjs"), plan], { encoding: "utf8" });
    expect(JSON.parse(stdout)).toEqual(RESULT);
  });

  test("in a page, bundled by Vite, in Chromium", async () => {
    const path = await install("page");
    await build({ root: path, configFile: false, logLevel: "warn", build: { target: "es2022" } });
    pageFolder = join(path, "dist");
    const { path: executablePath } = await findBrowser();
    const browser = await chromium.launch({ executablePath });
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(String(error)));
      const reported = new Promise<unknown>((resolve) => void page.exposeFunction("report", resolve));
      const plan = encodeURIComponent(JSON.stringify(await planFor("in-a-page")));
      await page.goto(`${pageOrigin}/#${plan}`);
      expect(await reported).toEqual(RESULT);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });

  test("in a Worker, bundled by wrangler, in workerd", async () => {
    const path = await install("worker");
    const worker = await startWorker(await bundleWorker(path, "2026-06-01"));
    try {
      const body = JSON.stringify(await planFor("in-a-worker"));
      const response = await fetch(worker.url, { method: "POST", body });
      expect(await response.json()).toEqual(RESULT);
    } finally {
      await worker.stop();
    }
  });
});

describe("the tarball", { timeout: COMMAND_TIMEOUT_MS }, () => {
  test("publint has nothing to say", async () => {
    const bytes = await readFile(tarball);
    const pack = { tarball: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) };
    expect((await publint({ pack, strict: true })).messages).toEqual([]);
  });

  test("its types resolve for every path that it exports (attw)", async () => {
    const parameters = [tarball, "--profile", "esm-only", "--format", "json"];
    const { ok, output } = await runTool("@arethetypeswrong/cli/dist/index.js", parameters, {
      output: "collect",
    });
    const { exports }: { exports: object } = JSON.parse(await readFile(join(ROOT, "package.json"), "utf8"));
    const { analysis } = JSON.parse(output);
    expect(Object.keys(analysis.entrypoints)).toEqual(Object.keys(exports));
    expect({ ok, output: ok ? "" : output }).toEqual({ ok: true, output: "" });
  });
});
