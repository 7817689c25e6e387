// The protocol's recovery profile, scenario by scenario under its own id: over the real server where its clock need not be
// moved, else over the same rules in time that the test moves. Journals are folders; the process of CR-DURABLE-001 is one,
// and is killed. The list is held against the profile's own file where that lies beside the checkout.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import {
  type Fetch,
  HttpAuthority,
  type HttpAuthorityOptions,
  type RecoveryNotice,
  type ReservationGuard,
  withReservation,
} from "purser/client";
import { FileJournal } from "purser/journal-file";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type RunningAuthority, startAuthority } from "../../scripts/lib/authority-process.ts";
import { httpWay } from "../support/http-way.ts";
import { journalRecord } from "../support/journal-contract.ts";
import { REQUEST, throttled, tokens, world } from "../support/recovery-world.ts";
import { TestTime, until } from "../support/test-time.ts";
import { COMMAND_TIMEOUT_MS, temporaryFolder } from "./support/commands.ts";
import { close, listen, sendTo } from "./support/prism.ts";

const PROFILE = fileURLToPath(
  new URL("../../../shared/spec/client-recovery-scenarios.yaml", import.meta.url),
);
const IDS = [
  "CR-CORE-001",
  "CR-CORE-002",
  "CR-CORE-003",
  "CR-CORE-004",
  "CR-DURABLE-001",
  "CR-DURABLE-002",
  "CR-DURABLE-003",
  "CR-DURABLE-004",
  "CR-DURABLE-005",
  "CR-DURABLE-006",
  "CR-DURABLE-007",
  "CR-BOUNDARY-001",
] as const;
type Id = (typeof IDS)[number];

const written = new Set<Id>();
/** One scenario, under its id. */
function scenario(id: Id, name: string, play: () => Promise<void>): void {
  written.add(id);
  test(`${id}: ${name}`, { timeout: COMMAND_TIMEOUT_MS }, play);
}

const ADMIN_KEY = "admin-key-of-the-scenarios";
let dataFolder: string;
let server: RunningAuthority;
beforeAll(async () => {
  dataFolder = await mkdtemp(join(tmpdir(), "purser-recovery-"));
  server = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir: dataFolder,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
});
afterAll(async () => {
  await server?.stop();
  await rm(dataFolder, { recursive: true, force: true });
});

async function folderOfTest(): Promise<string> {
  const folder = await temporaryFolder();
  onTestFinished(() => folder[Symbol.asyncDispose]());
  return folder.path;
}

/** What becomes of one request over HTTP, instead of its being forwarded. */
type Break = (forward: () => Promise<Response>) => Promise<Response>;

/** A tenant of the real server with 1,000 tokens, a folder for journals, and processes that open it. */
async function onServer() {
  const way = httpWay(
    { adminKey: ADMIN_KEY, int64: true, send: (path, sent) => sendTo(server.url, path, sent) },
    `r${process.pid}`,
  );
  const tenant = await way.open();
  const { tenant: name, apiKey } = tenant;
  await tenant.createBudget({ scope: `tenant:${name}`, unit: "TOKENS", allocated: tokens(1_000) });
  const folder = await folderOfTest();
  /** The commits and events that went out, each as its text, and what becomes of the next ones. */
  const sent: string[] = [];
  const breaks: Break[] = [];
  const fetchBroken: Fetch = (url, init) => {
    const forward = () => fetch(url, init);
    if (!/\/(commit|events)$/.test(url)) return forward();
    sent.push(`${url.endsWith("/commit") ? "commit" : "event"} ${String(init.body)}`);
    return (breaks.shift() ?? ((it) => it()))(forward);
  };
  function start(options: Partial<HttpAuthorityOptions> = {}) {
    const notices: RecoveryNotice[] = [];
    const authority = new HttpAuthority({
      baseUrl: server.url,
      apiKey,
      subject: { tenant: name },
      fetch: fetchBroken,
      // Nothing happens but what the test asks for: what goes on by itself waits for a timer that is never heard.
      random: () => 0.5,
      sleep: async () => undefined,
      setTimer: () => () => undefined,
      journal: new FileJournal({ folder }),
      onRecovery: (notice) => void notices.push(notice),
      ...options,
    });
    const open = async (): Promise<ReservationGuard> => {
      const guard = await authority.guard(REQUEST);
      if (!guard.ok) throw new Error(guard.denial.message);
      return guard;
    };
    return { authority, notices, open };
  }
  const figures = async () => {
    const { body } = await tenant.balances({ tenant: name });
    const [row] = body.balances as Record<string, { amount: number }>[];
    return `${row?.spent?.amount} spent, ${row?.reserved?.amount} reserved`;
  };
  const records = async () => (await new FileJournal({ folder }).list()).records;
  return { tenant, folder, sent, breaks, start, figures, records };
}

const lostReply: Break = async (forward) => {
  await forward();
  throw new TypeError("connection reset");
};
const lostRequest: Break = async () => {
  throw new TypeError("connection reset");
};

describe("the protocol's recovery profile", () => {
  scenario("CR-CORE-001", "lost commit response reuses the same key", async () => {
    const { start, sent, breaks, figures, records } = await onServer();
    const guard = await start().open();
    breaks.push(lostReply);
    expect(await guard.commit({ actual: 70 })).toMatchObject({ ok: true, charged: tokens(70) });
    expect(sent).toHaveLength(2);
    expect(sent[1]).toBe(sent[0]);
    expect(sent[0]).toContain(`"idempotency_key":"commit-${guard.reservationId}"`);
    expect(await figures()).toBe("70 spent, 0 reserved");
    expect(await records()).toEqual([]);
  });

  scenario("CR-CORE-002", "expired commit falls back to an event", async () => {
    const { time, start, requests, figures } = world();
    const { open } = start({ subject: { agent: "writer" } });
    const guard = await open();
    time.pass(65_001);
    const metrics = { tokensOutput: 20 };
    expect(await guard.commit({ actual: 70, metrics, metadata: { run: 7 } })).toMatchObject({ ok: true });
    const spend = { idempotencyKey: `commit-${guard.reservationId}`, actual: tokens(70), metrics };
    // The record itself is handed on: what of it travels is the writer's to know, and is told by the event's fingerprint.
    expect(requests).toEqual([
      expect.objectContaining({ operation: "commit", ...spend, metadata: { run: 7 } }),
      expect.objectContaining({
        operation: "recordEvent",
        ...spend,
        subject: { tenant: "acme", agent: "writer" },
        action: REQUEST.action,
        metadata: {
          run: 7,
          recovered_reservation_id: guard.reservationId,
          recovery_reason: "commit_after_reservation_expired",
        },
      }),
    ]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  scenario("CR-CORE-003", "heartbeat transport failure is observable and non-fatal", async () => {
    const { start, sent, figures } = await onServer();
    const time = new TestTime();
    const extensions: string[] = [];
    const { authority } = start({
      ...time.surroundings,
      fetch: (url, init) => {
        if (url.endsWith("/commit")) sent.push(url);
        if (!url.endsWith("/extend")) return fetch(url, init);
        extensions.push(String(init.body));
        if (extensions.length === 1) throw new TypeError("connection reset");
        return fetch(url, init);
      },
    });
    const failures: unknown[] = [];
    const result = await withReservation(
      authority,
      REQUEST,
      async (guard) => {
        const endMs = guard.expiresAtMs;
        await time.advance(50_000);
        await time.advance(3_000);
        await until(() => guard.expiresAtMs > endMs);
        return { result: guard.reservationId, actual: 70 };
      },
      { onHeartbeatError: (failure) => void failures.push(failure) },
    );
    expect(failures).toMatchObject([
      { reservationId: result, disposition: "retrying", error: { code: "AUTHORITY_UNAVAILABLE" } },
    ]);
    expect(extensions).toEqual([extensions[0], extensions[0]]);
    expect(sent).toHaveLength(1);
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  const json = (status: number, body: unknown): Response =>
    new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });

  const nonconformant: Record<string, Break> = {
    "202": async (forward) => json(202, await (await forward()).json()),
    "a body without its members": async (forward) => json((await forward()).status, {}),
    "another status": async () => json(200, { status: "RELEASED", charged: tokens(70) }),
    "another unit": async () => json(200, { status: "COMMITTED", charged: { unit: "BEANS", amount: 70 } }),
    HTML: async () => new Response("<h1>Welcome</h1>", { status: 200 }),
    nothing: async () => new Response("", { status: 200 }),
  };

  scenario("CR-CORE-004", "protocol-invalid settlement success remains ambiguous", async () => {
    const { start, sent, breaks, figures, records } = await onServer();
    let spent = 0;
    for (const [name, answer] of Object.entries(nonconformant)) {
      const { authority, open } = start({ retry: { attempts: 1 } });
      const guard = await open();
      sent.length = 0;
      breaks.push(answer);
      await expect(guard.commit({ actual: 70 }), name).rejects.toMatchObject({ outcome: "unknown" });
      expect(await records(), name).toHaveLength(1);
      expect(await authority.flush(), name).toEqual({ outstanding: 0 });
      expect(sent, name).toEqual([sent[0], sent[0]]);
      spent += 70;
      expect(await figures(), name).toBe(`${spent} spent, 0 reserved`);
      expect(await records(), name).toEqual([]);
    }
  });

  scenario("CR-DURABLE-001", "first commit is journaled before it leaves the process", async () => {
    const { tenant, folder, figures, records } = await onServer();
    const commits: string[] = [];
    /** The journal as it was when the first commit came out of the process. */
    let journaled: readonly unknown[] = [];
    let arrived = (): void => undefined;
    const firstCommit = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const proxy = createServer(async (request, response) => {
      const body = await text(request);
      const isCommit = request.url?.endsWith("/commit") === true;
      if (isCommit) commits.push(body);
      if (commits.length === 1) journaled = await records();
      const answer = await forwardTo(server.url, request, body);
      if (isCommit && commits.length === 1) return arrived(); // decided; the reply stays here
      response.writeHead(answer.status, { "content-type": "application/json" }).end(await answer.text());
    });
    const baseUrl = `http://127.0.0.1:${await listen(proxy)}`;
    onTestFinished(() => {
      proxy.closeAllConnections();
      return close(proxy);
    });
    const run = (task: string) => startSpender([task, baseUrl, tenant.apiKey, tenant.tenant, folder]);

    const first = run("spend");
    await firstCommit;
    first.kill("SIGKILL");
    await once(first, "close");
    expect(journaled).toMatchObject([{ mode: "commit", actual: tokens(70), metrics: { tokensOutput: 20 } }]);
    expect(await records()).toEqual(journaled);

    // Two processes are started again, over one folder.
    const outputs = await Promise.all([outputOf(run("resume")), outputOf(run("resume"))]);
    expect(outputs.map((it) => JSON.parse(it))).toEqual([{ outstanding: 0 }, { outstanding: 0 }]);
    expect(commits.length).toBeGreaterThan(1);
    expect(new Set(commits).size).toBe(1);
    expect(await figures()).toBe("70 spent, 0 reserved");
    expect(await records()).toEqual([]);
  });

  scenario("CR-DURABLE-002", "replayed expired commit switches durably to event mode", async () => {
    const folder = await folderOfTest();
    const { time, start, log, requests, faults, figures, records } = world(() => new FileJournal({ folder }));
    const first = start();
    const guard = await first.open();
    faults.push("lost request");
    await guard.commit({ actual: 70 }).catch(() => undefined);
    first.die();
    time.pass(65_001);

    // The second process hears that it expired, and ends while the event is under way.
    const second = start();
    log.length = 0;
    faults.push(...([undefined, "no answer"] as never[]));
    void second.authority.flush();
    await until(() => log.includes("recordEvent commit"));
    expect(await records()).toMatchObject([{ mode: "event", reservationId: guard.reservationId }]);
    expect(log.slice(-3)).toEqual(["commit commit", "put event", "recordEvent commit"]);
    second.die();

    requests.length = 0;
    const third = start();
    expect(await third.authority.flush()).toEqual({ outstanding: 0 });
    expect(requests).toMatchObject([
      { operation: "recordEvent", idempotencyKey: `commit-${guard.reservationId}` },
    ]);
    expect(await records()).toEqual([]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  scenario("CR-DURABLE-003", "rate-limit floor survives restart", async () => {
    const folder = await folderOfTest();
    const { time, start, requests, faults, figures, records } = world(() => new FileJournal({ folder }));
    const first = start();
    const guard = await first.open();
    faults.push(throttled(20_000));
    await guard.commit({ actual: 70 });
    await until(() => time.timers > 0);
    const floorMs = time.nowMs + 20_000;
    expect(await records()).toMatchObject([{ notBeforeMs: floorMs }]);
    first.die();
    await time.advance(5_000);
    const second = start();
    const waiting = time.timersBeyond(14_999);
    const flushed = second.authority.flush();
    await until(() => time.timersBeyond(14_999) > waiting);
    await time.advance(14_999);
    expect(requests).toHaveLength(1);
    await time.advance(1_000);
    expect(await flushed).toEqual({ outstanding: 0 });
    const commits = new Set(requests.map(({ idempotencyKey }) => idempotencyKey));
    expect([...commits]).toEqual([`commit-${guard.reservationId}`]);
    expect(await records()).toEqual([]);
    expect(figures()).toBe("70 spent, 0 reserved");
  });

  scenario("CR-DURABLE-004", "tenant journal survives API-key rotation", async () => {
    const { tenant, folder, start, sent, breaks, figures, records } = await onServer();
    const guard = await start({ retry: { attempts: 1 } }).open();
    breaks.push(lostRequest);
    await expect(guard.commit({ actual: 70 })).rejects.toMatchObject({ code: "AUTHORITY_UNAVAILABLE" });
    const body = JSON.stringify({ tenant_id: tenant.tenant, name: "rotated" });
    const headers = { "x-admin-api-key": ADMIN_KEY, "content-type": "application/json" };
    const made = await fetch(`${server.url}/v1/admin/api-keys`, { method: "POST", headers, body });
    const { key_secret: apiKey } = (await made.json()) as { readonly key_secret: string };
    expect(apiKey).not.toBe(tenant.apiKey);
    expect(await start({ apiKey }).authority.flush()).toEqual({ outstanding: 0 });
    expect(new Set(sent).size).toBe(1);
    expect(sent[0]).toContain(`commit-${guard.reservationId}`);
    expect(await figures()).toBe("70 spent, 0 reserved");
    expect(await records()).toEqual([]);

    const another = await start({ retry: { attempts: 1 } }).open();
    breaks.push(lostRequest);
    await another.commit({ actual: 1 }).catch(() => undefined);
    for (const { path } of await filesBelow(folder)) {
      expect(await readFile(path, "utf8")).not.toContain(tenant.apiKey);
    }
  });

  scenario("CR-DURABLE-005", "corrupt or unsupported journal record is quarantined", async () => {
    const { folder, start, breaks, figures, records } = await onServer();
    const guard = await start({ retry: { attempts: 1 } }).open();
    breaks.push(lostRequest);
    await guard.commit({ actual: 70 }).catch(() => undefined);
    const [{ path } = { path: "" }] = await filesBelow(folder);
    const whole = await readFile(path, "utf8");
    const torn = join(path, "..", "v2-torn.json");
    await writeFile(torn, whole.slice(0, whole.length / 2));
    const later = whole.replace('"version":1', '"version":9').replaceAll(guard.reservationId, "another");
    await writeFile(join(path, "..", "v2-later.json"), later);
    const { authority, notices } = start();
    expect(await authority.flush()).toEqual({ outstanding: 0 });
    const told = notices.filter(({ disposition }) => disposition === "quarantined");
    const names = told.map(({ cause }) => /v2-\w+\.json$/.exec(String(cause))?.[0]);
    expect(names.sort()).toEqual(["v2-later.json", "v2-torn.json"]);
    expect(await records()).toEqual([]);
    expect(await readdir(join(folder, "quarantine"))).toHaveLength(2);
    expect(await figures()).toBe("70 spent, 0 reserved");
  });

  scenario("CR-DURABLE-006", "concurrent replay remains exactly once", async () => {
    const { start, sent, breaks, figures, records } = await onServer();
    const guard = await start({ retry: { attempts: 1 } }).open();
    breaks.push(lostRequest);
    await guard.commit({ actual: 70 }).catch(() => undefined);
    sent.length = 0;
    const workers = [start(), start()];
    /** Each worker's commit waits until the other's is on its way too. */
    let meet = (): void => undefined;
    const met = new Promise<void>((resolve) => {
      meet = resolve;
    });
    const together: Break = async (forward) => {
      if (sent.length >= 2) meet();
      await met;
      return forward();
    };
    breaks.push(together, together);
    const flushed = await Promise.all(workers.map(({ authority }) => authority.flush()));
    expect(flushed).toEqual([{ outstanding: 0 }, { outstanding: 0 }]);
    expect(sent.length).toBeGreaterThanOrEqual(2);
    expect(new Set(sent).size).toBe(1);
    expect(await figures()).toBe("70 spent, 0 reserved");
    expect(await records()).toEqual([]);
  });

  scenario(
    "CR-DURABLE-007",
    "journal filenames preserve distinct arbitrary reservation identifiers",
    async () => {
      const folder = await folderOfTest();
      const journal = new FileJournal({ folder });
      // All of these would be one name if an id were made fit for a file by replacing what is not.
      const ids = ["a/b", "a_b", "a:b", "a\\b"];
      for (const id of ids) await journal.put(journalRecord(id));
      const sha256 = (it: string) => createHash("sha256").update(it, "utf8").digest("hex");
      const names = (await filesBelow(folder)).map(({ name }) => name);
      expect(names.sort()).toEqual(ids.map((id) => `v2-${sha256(id)}.json`).sort());

      // A record under an older name gets its own; one whose own name is taken stays, set aside.
      const legacy = journalRecord("a b");
      await writeFile(join(folder, "a_b.json"), JSON.stringify(legacy));
      expect((await journal.list()).records).toHaveLength(5);
      expect((await filesBelow(folder)).map(({ name }) => name)).toContain(`v2-${sha256("a b")}.json`);
      await writeFile(join(folder, "a_b.json"), JSON.stringify({ ...legacy, mode: "event" }));
      const { records, quarantined } = await journal.list();
      expect(records).toHaveLength(5);
      expect(await readFile(quarantined[0] ?? "", "utf8")).toContain('"mode":"event"');
    },
  );

  scenario("CR-BOUNDARY-001", "missing actual is surfaced without settlement", async () => {
    const { start, requests, figures, records } = world();
    const { authority } = start();
    const failing = withReservation(authority, REQUEST, () => {
      throw new Error("no model");
    });
    await expect(failing).rejects.toThrow("no model");
    const silent = withReservation(authority, REQUEST, () => ({ result: "text" }) as never);
    await expect(silent).rejects.toMatchObject({
      code: "ARGUMENT_INVALID",
      message: expect.stringContaining("actual"),
    });
    expect(requests).toEqual([]);
    expect(await records()).toEqual([]);
    expect(figures()).toBe("0 spent, 0 reserved");
  });

  test("every scenario has its test", () => {
    expect([...written]).toEqual(IDS);
  });

  if (existsSync(PROFILE)) {
    test("the list is the profile's", () => {
      const ids = [...readFileSync(PROFILE, "utf8").matchAll(/^\s*- id: (\S+)$/gm)].map(([, id]) => id);
      expect(ids).toEqual(IDS);
    });
  } else {
    test.skip("the list is the profile's: its file is not beside this checkout", () => undefined);
  }
});

test("a process that is killed in the middle of a stream: what it had counted is charged once, by who finds it later", {
  timeout: COMMAND_TIMEOUT_MS,
}, async () => {
  const { tenant, folder, start, figures } = await onServer();
  const later = () => new FileJournal({ folder, now: () => Date.now() + 120_000 });
  const killed = startSpender(["stream", server.url, tenant.apiKey, tenant.tenant, folder]);
  for (;;) {
    const [record] = (await later().list()).records;
    if (record?.actual.amount === 42) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  killed.kill("SIGKILL");
  await once(killed, "close");
  expect(await start().authority.flush()).toEqual({ outstanding: 0 });
  expect(await figures()).toBe("0 spent, 100 reserved"); // it might still run
  const finders = [start({ journal: later() }), start({ journal: later() })];
  const flushed = await Promise.all(finders.map(({ authority }) => authority.flush()));
  expect(flushed).toEqual([{ outstanding: 0 }, { outstanding: 0 }]);
  expect(await figures()).toBe("42 spent, 0 reserved");
  expect(await later().list()).toEqual({ records: [], quarantined: [] });
});

test("a process whose guard nobody ends is not kept running by its heartbeat", {
  timeout: COMMAND_TIMEOUT_MS,
}, async () => {
  const { tenant, folder, figures } = await onServer();
  const forgetful = startSpender(["forget", server.url, tenant.apiKey, tenant.tenant, folder]);
  expect(await outputOf(forgetful)).toMatch(/\S/);
  expect(await figures()).toBe("0 spent, 100 reserved");
});

function startSpender(parameters: readonly string[]): ChildProcess {
  const script = fileURLToPath(new URL("support/spender.mjs", import.meta.url));
  return spawn(process.execPath, [script, ...parameters], { stdio: ["ignore", "pipe", "inherit"] });
}

async function outputOf(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new TypeError("the process has no output");
  const [output, [exitCode]] = await Promise.all([text(child.stdout), once(child, "close")]);
  expect(exitCode).toBe(0);
  return output;
}

function forwardTo(url: string, request: IncomingMessage, body: string): Promise<Response> {
  const { "x-cycles-api-key": key = "", "content-type": type = "" } = request.headers;
  return fetch(url + request.url, {
    method: request.method ?? "GET",
    headers: { "x-cycles-api-key": String(key), "content-type": type },
    ...(body !== "" && { body }),
  });
}

async function filesBelow(
  folder: string,
): Promise<readonly { readonly name: string; readonly path: string }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((it) => it.isFile() && !it.parentPath.endsWith("quarantine"));
  return files.map(({ name, parentPath }) => ({ name, path: join(parentPath, name) }));
}
