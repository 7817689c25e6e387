// Contenders in Chromium: one page each, in a browser context and so a process of its own. The pages are cross-origin
// isolated: they have shared memory, threads, and a clock in steps of 5 µs.

import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { chromium } from "playwright";
import { findBrowser } from "../../scripts/find-browser.ts";
import { UserError } from "../../scripts/lib/user-error.ts";
import { bundle } from "./bundle.ts";
import type { ContenderInPage } from "./chromium-page.ts";
import type { Absent, Host } from "./host.ts";

const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export async function chromiumHost(): Promise<Host | Absent> {
  const found = await findBrowser().catch((error: unknown) => {
    if (error instanceof UserError) return error;
    throw error;
  });
  if (found instanceof UserError) return { runtime: "chromium", reason: found.message };
  const folder = await bundle("chromium", ["chromium-page", "chromium-thread"], []);
  const server = await serve(folder);
  const { port } = server.address() as AddressInfo;
  const browser = await chromium.launch({ executablePath: found.path, headless: true });
  return {
    runtime: "chromium",
    description: `Chromium ${found.version}`,
    async open(contender, warmUpMs) {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(`http://127.0.0.1:${port}/`);
      await page.evaluate(([id, ms]) => (globalThis as unknown as ContenderInPage).openContender(id, ms), [
        contender,
        warmUpMs,
      ] as const);
      return {
        round: (roundMs) =>
          page.evaluate((ms) => (globalThis as unknown as ContenderInPage).round(ms), roundMs),
        close: () => context.close(),
      };
    },
    async close() {
      await browser.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The empty page and the two scripts, nothing else. */
async function serve(folder: string): Promise<Server> {
  const script = async (name: string) => ({
    type: "text/javascript",
    body: await readFile(join(folder, name)),
  });
  const files: Readonly<Record<string, { type: string; body: string | Buffer }>> = {
    "/": {
      type: "text/html",
      body: '<!doctype html><script type="module" src="/chromium-page.js"></script>',
    },
    "/chromium-page.js": await script("chromium-page.js"),
    "/chromium-thread.js": await script("chromium-thread.js"),
  };
  const server = createServer((request, response) => {
    const file = files[request.url ?? ""];
    response.writeHead(file === undefined ? 404 : 200, {
      ...ISOLATED,
      "Content-Type": file?.type ?? "text/plain",
    });
    response.end(file?.body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
