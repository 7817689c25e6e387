// The stage of the real runs: workerd over a folder, a tenant with one budget, a Chromium with pages on an origin that may call, and
// processes. Invariant: when it is disposed, nothing it started is left. Called by real.test.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import * as esbuild from "esbuild";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright";
import { findBrowser } from "../../../scripts/find-browser.ts";
import { adminClient, tenantClient } from "../../../scripts/lib/authority-client.ts";
import { type RunningAuthority, startAuthority } from "../../../scripts/lib/authority-process.ts";
import { ROOT, temporaryFolder } from "../support/commands.ts";
import type { HolderInPage } from "./page.ts";
import type { Worked } from "./work.ts";

const ADMIN_KEY = "admin-key-of-the-real-leases";
export const BUDGET = { tenant: "acme", scope: "tenant:acme", unit: "TOKENS" };

export interface Holder {
  /** In the list of leases. */
  readonly name: string;
  /** What it is known to have spent. */
  readonly spent: () => number;
  /** What it did; never resolves once it was killed. */
  readonly worked: Promise<Worked>;
  kill(): Promise<void>;
}

export interface PageHolder extends Holder {
  readonly page: Page;
}

export class Rig implements AsyncDisposable {
  readonly #parts: {
    folder: string;
    server: Server;
    browser: Browser;
    context: BrowserContext;
    origin: string;
  };
  readonly #children: ChildProcess[] = [];
  readonly #cleanUp: AsyncDisposableStack;
  #authority: RunningAuthority;
  readonly apiKey: string;
  /** Called whenever some holder is known to have spent more. */
  onSpent: () => void = () => undefined;

  private constructor(
    parts: { folder: string; server: Server; browser: Browser; context: BrowserContext; origin: string },
    authority: RunningAuthority,
    apiKey: string,
    cleanUp: AsyncDisposableStack,
  ) {
    this.#parts = parts;
    this.#authority = authority;
    this.#cleanUp = cleanUp;
    this.apiKey = apiKey;
  }

  static async open(allocated: number): Promise<Rig> {
    await using cleanUp = new AsyncDisposableStack();
    const folder = cleanUp.use(await temporaryFolder());
    const server = await servePage();
    cleanUp.defer(async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    });
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const browser = await chromium.launch({ executablePath: (await findBrowser()).path, headless: true });
    cleanUp.defer(() => browser.close());
    const authority = await start(folder.path, origin, 0);
    const admin = adminClient(authority.url, ADMIN_KEY);
    await admin.ensureTenant(BUDGET.tenant);
    await admin.createBudget(BUDGET, allocated);
    const apiKey = await admin.createKey(BUDGET.tenant);
    const context = await browser.newContext();
    const rig = new Rig(
      { folder: folder.path, server, browser, context, origin },
      authority,
      apiKey,
      cleanUp.move(),
    );
    return rig;
  }

  get url(): string {
    return this.#authority.url;
  }

  /** How the tenant lends. */
  async setLeases(settings: object): Promise<void> {
    const response = await fetch(`${this.url}/v1/x-purser/leases/settings?tenant_id=${BUDGET.tenant}`, {
      method: "PUT",
      headers: { "X-Admin-API-Key": ADMIN_KEY, "Content-Type": "application/json" },
      body: JSON.stringify(settings),
    });
    if (!response.ok)
      throw new Error(`the settings were refused: ${response.status} ${await response.text()}`);
  }

  balance() {
    return tenantClient(this.url, this.apiKey, BUDGET).balance();
  }

  /** SIGKILL in the middle of everything, and a start on the same data and port. */
  async restartAuthority(): Promise<void> {
    const { port, workerdPid, ended } = this.#authority;
    process.kill(workerdPid, "SIGKILL");
    await ended;
    await this.#authority.stop();
    this.#authority = await start(this.#parts.folder, this.#parts.origin, port);
  }

  async openPage(
    name: string,
    { doomed, tabs }: { readonly doomed: boolean; readonly tabs: boolean },
  ): Promise<PageHolder> {
    const page = await this.#parts.context.newPage();
    let spent = 0;
    page.on("console", (message) => {
      const [, amount] = /^spent (\d+)$/.exec(message.text()) ?? [];
      if (amount === undefined) return;
      spent = Number(amount);
      this.onSpent();
    });
    await page.goto(this.#parts.origin);
    const crashed = new Promise<void>((resolve) => page.once("crash", () => resolve()));
    const worked = page.evaluate((options) => (globalThis as unknown as HolderInPage).startHolder(options), {
      baseUrl: this.url,
      apiKey: this.apiKey,
      holder: name,
      doomed,
      tabs,
    });
    worked.catch(() => undefined);
    return {
      name,
      page,
      spent: () => spent,
      worked,
      kill: async () => {
        const session = await this.#parts.context.newCDPSession(page);
        // The renderer's process dies in it, so nobody answers.
        session.send("Page.crash").catch(() => undefined);
        await crashed;
      },
    };
  }

  openProcess(name: string, { doomed }: { readonly doomed: boolean }): Holder {
    const child = spawn(process.execPath, [join(ROOT, "test/node/leases/process.ts")], {
      env: {
        ...process.env,
        BASE_URL: this.url,
        API_KEY: this.apiKey,
        HOLDER: name,
        DOOMED: doomed ? "yes" : "",
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#children.push(child);
    let spent = 0;
    let rest = "";
    const worked = new Promise<Worked>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`a process ended with ${code}`)));
      child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (line.startsWith("done ")) resolve(JSON.parse(line.slice(5)) as Worked);
          else spent = Number(line.slice("spent ".length));
        }
        this.onSpent();
      });
    });
    worked.catch(() => undefined);
    return {
      name,
      spent: () => spent,
      worked,
      kill: async () => {
        const exited = once(child, "exit");
        if (!child.kill("SIGKILL")) throw new Error("the process had ended before it was killed");
        await exited;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
    await this.#authority.stop();
    await this.#cleanUp.disposeAsync();
  }
}

function start(dataDir: string, origin: string, port: number): Promise<RunningAuthority> {
  return startAuthority({
    port,
    host: "127.0.0.1",
    dataDir,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY, PURSER_CORS_ORIGINS: origin },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
}

/** One empty page with the holder's script in it. */
async function servePage(): Promise<Server> {
  const bundled = await esbuild.build({
    entryPoints: [join(ROOT, "test/node/leases/page.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    platform: "neutral",
    write: false,
    logLevel: "warning",
    // What ships in dist/, by the package's own name, and no paths of a tsconfig.
    tsconfigRaw: {},
    mainFields: ["module", "main"],
  });
  const script = bundled.outputFiles[0]?.text ?? "";
  const server = createServer((request, response) => {
    const isScript = request.url === "/page.js";
    response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html" });
    response.end(isScript ? script : '<!doctype html><script type="module" src="/page.js"></script>');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}
