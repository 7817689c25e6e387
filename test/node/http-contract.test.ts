// The contracts of the authority, met by a real server on a real port; the wire's once more with every request and every answer
// of the runtime plane passing through Prism, which holds them against the protocol's official description.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createRequire } from "node:module";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { HttpAuthority } from "purser/client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type RunningAuthority, startAuthority } from "../../scripts/lib/authority-process.ts";
import { authorityContract } from "../support/authority-contract.ts";
import { clientContract } from "../support/client-contract.ts";
import { httpWay } from "../support/http-way.ts";

const ADMIN_KEY = "admin-key-of-the-contract";
const DESCRIPTION = fileURLToPath(new URL("../../../shared/spec/cycles-protocol-v0.yaml", import.meta.url));
/** The part of the protocol that the description covers. */
const RUNTIME_PLANE = /^\/v1\/(reservations|decide|events|balances|auth)\b/;

let folder: string;
let authority: RunningAuthority;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "purser-contract-"));
  authority = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir: folder,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
});

afterAll(async () => {
  await authority?.stop();
  await rm(folder, { recursive: true, force: true });
});

authorityContract("on a real port", () =>
  httpWay({
    adminKey: ADMIN_KEY,
    int64: true,
    send: (path, init) => fetch(authority.url + path, init),
  }),
);

clientContract("over HTTP on a real port", async () => {
  const carrier = {
    adminKey: ADMIN_KEY,
    int64: true,
    send: (path: string, init: RequestInit) => fetch(authority.url + path, init),
  };
  const tenant = await httpWay(carrier, "k").open();
  const options = { baseUrl: authority.url, apiKey: tenant.apiKey, subject: { tenant: tenant.tenant } };
  return {
    tenant,
    numbers: new HttpAuthority(options),
    exact: new HttpAuthority({ ...options, exact: true }),
  };
});

if (existsSync(DESCRIPTION)) {
  describe("behind Prism", () => {
    let prism: Prism;
    const seen = { answers: 0, faults: 0 };

    beforeAll(async () => {
      prism = await startPrism(authority.url);
    });
    afterAll(() => prism?.stop());

    authorityContract("validated", () =>
      httpWay(
        {
          adminKey: ADMIN_KEY,
          // Prism reads numbers as doubles and refuses what it would round.
          int64: false,
          send: async (path, init) => {
            if (!RUNTIME_PLANE.test(path)) return fetch(authority.url + path, init);
            const response = await fetch(prism.url + path, init);
            seen.answers += 1;
            if (response.status >= 400) seen.faults += 1;
            expect({ path, violations: response.headers.get("sl-violations") }).toEqual({
              path,
              violations: null,
            });
            return response;
          },
        },
        "p",
      ),
    );

    test("it was really asked, and it does bite", async () => {
      expect(seen.answers).toBeGreaterThan(100);
      expect(seen.faults).toBeGreaterThan(20);
      // A server that answers with a field too many, where nothing else is wrong.
      const liar = createHttpServer((_, response) => {
        response.setHeader("content-type", "application/json");
        response.end(JSON.stringify({ balances: [], surprise: true }));
      });
      const second = await startPrism(`http://127.0.0.1:${await listen(liar)}`);
      try {
        const response = await fetch(`${second.url}/v1/balances?tenant=acme`, {
          headers: { "x-cycles-api-key": "k" },
        });
        expect(response.headers.get("sl-violations")).toContain("surprise");
      } finally {
        await second.stop();
        await close(liar);
      }
    });
  });
} else {
  test.skip("behind Prism: the protocol's description is not beside this checkout", () => undefined);
}

interface Prism {
  readonly url: string;
  stop(): Promise<void>;
}

async function startPrism(upstream: string): Promise<Prism> {
  const manifest = createRequire(import.meta.url).resolve("@stoplight/prism-cli/package.json");
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [
      join(dirname(manifest), "dist/index.js"),
      "proxy",
      DESCRIPTION,
      upstream,
      "--errors",
      // Wrong requests are the authority's to refuse: what is judged here are its answers.
      "--validate-request=false",
      "--host=127.0.0.1",
      `--port=${port}`,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    let printed = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      // Only until it listens; it prints a few lines for every request.
      if (printed.includes("listening on")) return;
      printed += chunk;
      if (printed.includes("listening on")) resolve();
    });
    void ended.then(() => reject(new Error(`Prism ended before it listened:\n${printed}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    stop: () => {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await close(server);
  return port;
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new TypeError("the server has no port");
  return address.port;
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
