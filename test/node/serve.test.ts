// `npm run serve` as a process: the ready line, a budget that outlives the server, refusals in one sentence, and an end
// that leaves no workerd behind.
import { execFileSync } from "node:child_process";
import { open, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "vitest";
import { adminClient, tenantClient } from "../../scripts/lib/authority-client.ts";
import {
  COMMAND_TIMEOUT_MS,
  disposable,
  isRunning,
  type RunningCommand,
  runToEnd,
  startCommand,
  temporaryFolder,
} from "./support/commands.ts";

const BUDGET = { tenant: "acme", scope: "tenant:acme", unit: "TOKENS" };

interface Server {
  readonly command: RunningCommand;
  readonly url: string;
  readonly port: number;
}

async function serve(
  folder: string,
  { script = ["serve.ts"], key }: { script?: readonly string[]; key?: string } = {},
): Promise<Server> {
  const [file = "", ...before] = script;
  const parameters = [...before, "--port", "0", "--data", folder];
  const command = startCommand(file, parameters, key === undefined ? {} : { PURSER_ADMIN_KEY: key });
  const [, url = "", port = ""] = await command.line(/^purser: ready on (http:\/\/127\.0\.0\.1:(\d+))$/);
  return { command, url, port: Number(port) };
}

async function workerdOf(folder: string): Promise<number> {
  return Number(await readFile(join(folder, "workerd.pid"), "utf8"));
}

describe("npm run serve", { timeout: COMMAND_TIMEOUT_MS }, () => {
  test("decides over HTTP, and a restart keeps budget, reservations and API keys", async ({ expect }) => {
    await using folder = await temporaryFolder();

    // First life: a budget, one settled reservation, one that stays open.
    const first = await serve(folder.path);
    await using _first = disposable(first.command);
    const [, adminKey = ""] = await first.command.line(/admin key .*: (\S+)$/);
    const admin = adminClient(first.url, adminKey);
    await admin.ensureTenant(BUDGET.tenant);
    expect(await admin.createBudget(BUDGET, 1000)).toBe(true);
    expect(await admin.createBudget(BUDGET, 1000)).toBe(false);
    const apiKey = await admin.createKey(BUDGET.tenant);
    const tenant = tenantClient(first.url, apiKey, BUDGET);
    const settled = await tenant.reserve(300, 60_000);
    const open = await tenant.reserve(200, 60_000);
    if (settled === null || open === null) throw new Error("both reservations fit the budget");
    await tenant.commit(settled, 250);
    expect(await tenant.reserve(551, 60_000)).toBeNull();
    const balance = { allocated: 1000, spent: 250, reserved: 200, remaining: 550, debt: 0 };
    expect(await tenant.balance()).toEqual(balance);

    // Ctrl-C: a clean end.
    const pid = await workerdOf(folder.path);
    expect(isRunning(pid)).toBe(true);
    first.command.process.kill("SIGINT");
    expect(await first.command.finished).toMatchObject({ exitCode: 0, stderr: "" });
    expect(isRunning(pid)).toBe(false);

    // Second life: the same key opens the same account, and the open reservation can still be settled.
    const second = await serve(folder.path);
    await using _second = disposable(second.command);
    const again = tenantClient(second.url, apiKey, BUDGET);
    expect(await again.balance()).toEqual(balance);
    await again.commit(open, 200);
    expect(await again.balance()).toEqual({ ...balance, spent: 450, reserved: 0 });
    second.command.process.kill("SIGTERM");
    expect((await second.command.finished).exitCode).toBe(0);
  });

  test("keeps the secret that API keys are hashed with to its owner", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const server = await serve(folder.path);
    await using _server = disposable(server.command);
    const about = await stat(join(folder.path, "hash-secret"));
    expect(about.mode & 0o777).toBe(0o600);
  });

  test("takes the admin key from the environment and then prints none", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const server = await serve(folder.path, { key: "from-the-environment" });
    await using _server = disposable(server.command);
    await adminClient(server.url, "from-the-environment").ensureTenant("acme");
    await expect(adminClient(server.url, "another").ensureTenant("acme")).rejects.toThrow(/401/);
    server.command.process.kill("SIGINT");
    const { stdout } = await server.command.finished;
    expect(stdout).toBe(`purser: ready on ${server.url}\n`);
  });

  test("refuses a second server on the same folder, or on a port in use", async ({ expect }) => {
    await using folder = await temporaryFolder();
    await using other = await temporaryFolder();
    const server = await serve(folder.path);
    await using _server = disposable(server.command);

    const sameFolder = await runToEnd("serve.ts", ["--port", "0", "--data", folder.path]);
    expect(sameFolder).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr: `purser: another purser server is already using the data folder ${folder.path}.\n`,
    });
    const samePort = await runToEnd("serve.ts", ["--port", String(server.port), "--data", other.path]);
    expect(samePort).toMatchObject({
      exitCode: 1,
      stdout: "",
      stderr: `purser: port ${server.port} on 127.0.0.1 is already in use.\n`,
    });
    // Neither attempt disturbed the one that runs.
    expect((await fetch(`${server.url}/v1/balances?tenant=acme`)).status).toBe(401);
  });

  test("refuses in one sentence what it cannot do", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "a-file");
    await writeFile(file, "");
    const data = join(folder.path, "data");
    const refusals: (readonly [readonly string[], Record<string, string>, RegExp])[] = [
      [
        ["--data", join(file, "below")],
        {},
        /^purser: the data folder \S+ cannot be written to \(ENOTDIR\)\.\n$/,
      ],
      // A file system that takes no folders, and says so in a way that Node's recursive mkdir never gives up on.
      ...(process.platform === "linux"
        ? ([
            [
              ["--data", "/proc/x"],
              {},
              /^purser: the data folder \/proc\/x cannot be written to \(ENOENT\)\.\n$/,
            ],
          ] as const)
        : []),
      [["--data", file], {}, /^purser: the data folder \S+ cannot be written to \(\w+\)\.\n$/],
      [
        ["--data", data, "--port", "65536"],
        {},
        /^purser: .*'65536' is invalid\. It must be a whole .* 65535\.\n$/,
      ],
      [["--data", data, "--port", "80.5"], {}, /^purser: .*'80\.5' is invalid\. [^\n]*\n$/],
      [
        ["--data", data, "--host", "0.0.0.0"],
        {},
        /^purser: set PURSER_ADMIN_KEY: [^\n]*0\.0\.0\.0 is not\.\n$/,
      ],
      [["--data", data, "--host", "::"], {}, /^purser: set PURSER_ADMIN_KEY: [^\n]*\n$/],
      [["--data", data], { PURSER_ADMIN_KEY: " " }, /^purser: PURSER_ADMIN_KEY is set but empty\.\n$/],
      [["--data", data], { PURSER_HASH_SECRET: "" }, /^purser: PURSER_HASH_SECRET is set but empty\.\n$/],
    ];
    for (const [parameters, environment, sentence] of refusals) {
      const { exitCode, stdout, stderr } = await runToEnd("serve.ts", parameters, environment);
      expect({ parameters, exitCode, stdout }).toEqual({ parameters, exitCode: 1, stdout: "" });
      expect(stderr).toMatch(sentence);
    }
  });

  test("lets the pages of the named origins in, and does not start with a list that it cannot read", async ({
    expect,
  }) => {
    await using folder = await temporaryFolder();
    const origin = "https://app.example";
    const command = startCommand("serve.ts", ["--port", "0", "--data", folder.path], {
      PURSER_CORS_ORIGINS: origin,
    });
    await using _command = disposable(command);
    const [, url = ""] = await command.line(/^purser: ready on (\S+)$/);
    const preflight = await fetch(`${url}/v1/reservations`, {
      method: "OPTIONS",
      headers: { Origin: origin, "Access-Control-Request-Method": "POST" },
    });
    expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, origin]);

    await using other = await temporaryFolder();
    const refused = await runToEnd("serve.ts", ["--port", "0", "--data", other.path], {
      PURSER_CORS_ORIGINS: "*",
    });
    expect(refused).toMatchObject({ exitCode: 1, stdout: "" });
    expect(refused.stderr).toMatch(/^purser: workerd ended .*PURSER_CORS_ORIGINS must list exact origins/s);
  });

  test.for(["SIGINT", "SIGTERM"] as const)("a boot that hangs ends by %s", async (signal, { expect }) => {
    await using folder = await temporaryFolder();
    const pipe = join(folder.path, "workerd.pid");
    execFileSync("mkfifo", [pipe]);
    const command = startCommand("serve.ts", ["--port", "0", "--data", folder.path]);
    await using _command = disposable(command);
    // Opens once the command has opened its end: from then on it waits for a pid that never comes.
    const writer = await open(pipe, "w");
    command.process.kill(signal);
    expect(await command.finished).toMatchObject({ exitCode: null, stdout: "", stderr: "" });
    expect(command.process.signalCode).toBe(signal);
    await writer.close();
  });

  test("ends a workerd that a killed server left behind, and goes on with its data", async ({ expect }) => {
    await using folder = await temporaryFolder();
    const killed = await serve(folder.path, { key: "k" });
    await using _killed = disposable(killed.command);
    await adminClient(killed.url, "k").ensureTenant("acme");
    await adminClient(killed.url, "k").createBudget(BUDGET, 7);
    const abandoned = await workerdOf(folder.path);
    killed.command.process.kill("SIGKILL");
    await killed.command.finished;
    expect(isRunning(abandoned)).toBe(true);

    const next = await serve(folder.path, { key: "k" });
    await using _next = disposable(next.command);
    expect(isRunning(abandoned)).toBe(false);
    expect(await adminClient(next.url, "k").createBudget(BUDGET, 7)).toBe(false);
  });

  test("leaves a process alone that only has the pid of a former workerd", async ({ expect }) => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, "workerd.pid"), String(process.pid));
    const server = await serve(folder.path);
    await using _server = disposable(server.command);
    expect(await workerdOf(folder.path)).not.toBe(process.pid);
  });

  test.for(["SIGINT", "SIGKILL"] as const)(
    "started through run.mjs, leaves nothing behind when that gets %s",
    async (signal, { expect }) => {
      await using folder = await temporaryFolder();
      const server = await serve(folder.path, { script: ["run.mjs", "serve"] });
      await using _server = disposable(server.command);
      const pid = await workerdOf(folder.path);
      server.command.process.kill(signal);
      // The pipes close when the last process that writes to them has ended, so this waits for the server as well.
      const { exitCode } = await server.command.finished;
      expect(exitCode).toBe(signal === "SIGINT" ? 0 : null);
      expect(isRunning(pid)).toBe(false);
      // And the port is free again.
      const probe = createServer().listen(server.port, "127.0.0.1");
      await new Promise((resolve, reject) => probe.once("listening", resolve).once("error", reject));
      await new Promise((resolve) => probe.close(resolve));
    },
  );
});
