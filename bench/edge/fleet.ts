// What is measured and what measures: the authority, the empty server and the load generator, a process each, and the
// accounts that the load is put on. Invariant: close() leaves none of them. Called by edge.ts.

import { type ChildProcess, fork } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { adminClient } from "../../scripts/lib/authority-client.ts";
import { type RunningAuthority, startAuthority } from "../../scripts/lib/authority-process.ts";
import { endChild } from "../hosts/lines.ts";
import { type EmptyServer, startEmptyServer } from "./empty-server.ts";
import type { Account, Flow } from "./flows.ts";
import type { Job, Outcome } from "./load.ts";
import { ALLOCATED_TOKENS } from "./settings.ts";

const ADMIN_KEY = "admin-key-of-the-bench";

export class Fleet {
  readonly dataDir: string;
  readonly #load: ChildProcess;
  readonly #empty: EmptyServer;
  #authority: RunningAuthority;
  #jobs = 0;

  private constructor(dataDir: string, authority: RunningAuthority, empty: EmptyServer) {
    this.dataDir = dataDir;
    this.#authority = authority;
    this.#empty = empty;
    this.#load = fork(fileURLToPath(new URL("load.ts", import.meta.url)), [], { serialization: "advanced" });
  }

  static async start(): Promise<Fleet> {
    const dataDir = await mkdtemp(join(tmpdir(), "purser-bench-"));
    return new Fleet(dataDir, await serve(dataDir), await startEmptyServer());
  }

  get authorityUrl(): string {
    return this.#authority.url;
  }

  /** Makes tenants with one budget and one key each. */
  async makeAccounts(prefix: string, count: number): Promise<Account[]> {
    const admin = adminClient(this.authorityUrl, ADMIN_KEY);
    const accounts: Account[] = [];
    for (let number = 0; number < count; number += 1) {
      const tenant = `${prefix}-${number}`;
      await admin.ensureTenant(tenant);
      await admin.createBudget({ tenant, scope: `tenant:${tenant}`, unit: "TOKENS" }, ALLOCATED_TOKENS);
      accounts.push({ tenant, apiKey: await admin.createKey(tenant) });
    }
    return accounts;
  }

  /** Has one flow asked for by so many connections. */
  run(flow: Flow, job: Pick<Job, "accounts" | "connections" | "runMs">): Promise<Outcome> {
    this.#jobs += 1;
    const url = flow.server === "empty" ? this.#empty.url : this.authorityUrl;
    this.#load.send({ ...job, flow: flow.name, url, prefix: `job${this.#jobs}` } satisfies Job);
    return new Promise((resolve, reject) => {
      const onMessage = (outcome: Outcome): void => {
        this.#load.off("exit", onExit);
        resolve(outcome);
      };
      const onExit = (): void => {
        this.#load.off("message", onMessage);
        reject(new Error("the load generator ended"));
      };
      this.#load.once("message", onMessage).once("exit", onExit);
    });
  }

  /** Stops the authority, works on its data, and starts it again on the same folder. */
  async whileStopped(work: () => Promise<void> | void): Promise<void> {
    await this.#authority.stop();
    await work();
    this.#authority = await serve(this.dataDir);
  }

  async close(): Promise<void> {
    await endChild(this.#load);
    await this.#authority.stop();
    await this.#empty.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

function serve(dataDir: string): Promise<RunningAuthority> {
  return startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
}
