// Real composition graphs, and a remote stage behind a real HTTP server. The graphs belong to the noether project and
// are not part of this one; where they are absent the tests say so and are skipped.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import "purser";
import { describe, expect, test } from "vitest";
import {
  BudgetedExecutor,
  buildCostMap,
  costBounds,
  MemoryStageStore,
  parseComposition,
  runComposition,
} from "../../src/execution/index.ts";
import { parallel, remote, retry, stageRecord, stages } from "../support/compositions.ts";

const folder = fileURLToPath(new URL("../../../shared/data/noether-graphs", import.meta.url));
const present = existsSync(folder);
const read = (file: string): string => readFileSync(`${folder}/${file}.json`, "utf8");

/** What the stages of both graphs do, by the short ids that the files use. */
const TEXT_TEMPLATE = "b4dfc6b0";
const HTTP_GET = "39731ebb";
const HTTP_BODY = "62bdb044";
const PARSE_JSON = "b89d34eb";
const JSON_PATH = "c7d35f7c";
const FLEET_HTML = "4bcc4817";

const store = new MemoryStageStore([
  stageRecord(TEXT_TEMPLATE),
  stageRecord("impl-of-http-get", 2, { signature_id: HTTP_GET }),
  stageRecord(HTTP_BODY),
  stageRecord(PARSE_JSON),
  stageRecord(JSON_PATH, 1),
  stageRecord(FLEET_HTML, 10),
]);

const world = {
  [TEXT_TEMPLATE]: (input: unknown) => `https://api.test/?q=${JSON.stringify(input)}`,
  [HTTP_GET]: (url: string) => ({ status: 200, body: JSON.stringify({ from: url }) }),
  [HTTP_BODY]: ({ body }: { body: string }) => body,
  [PARSE_JSON]: (text: string) => JSON.parse(text) as unknown,
  [JSON_PATH]: ({ from }: { from: string }) => from.length,
  [FLEET_HTML]: (input: unknown) => `<pre>${JSON.stringify(input)}</pre>`,
};

describe.skipIf(!present)(`the real graphs${present ? "" : ` are absent: no ${folder}`}`, () => {
  test("weather-report: one request, three fields, one text", async () => {
    const graph = parseComposition(read("weather-report"));
    expect(buildCostMap(graph, store)).toEqual(
      new Map([
        [HTTP_GET, 2],
        [JSON_PATH, 1],
      ]),
    );
    expect(costBounds(graph, store, { unknown: "deny" })).toEqual({ minCents: 5, maxCents: 5 });
    const inner = stages(world);
    const executor = new BudgetedExecutor(inner, buildCostMap(graph, store), 5);
    const { output, spentCents, trace } = await runComposition(graph, { city: "Graz" }, executor);
    expect(output).toMatch(/"temp_c":\d+.*"weather_desc":\d+.*"humidity":\d+/);
    expect(spentCents).toBe(5);
    expect(trace.length).toBe(8);
    await expect(runComposition(graph, { city: "Graz" }, executor)).rejects.toMatchObject({
      code: "BUDGET_EXCEEDED",
      stageId: HTTP_GET,
      spentCents: 5,
    });
    expect(inner.calls.length).toBe(9);
  });

  test("fleet-briefing: two branches with one stage in both, rendered together", async () => {
    const graph = parseComposition(JSON.parse(read("fleet-briefing")));
    expect(costBounds(graph, store, { unknown: "deny" })).toEqual({ minCents: 14, maxCents: 14 });
    const executor = new BudgetedExecutor(stages(world), buildCostMap(graph, store), 14);
    const input = { stations: { lat: 47 }, weather: { lon: 15 } };
    const { output, spentCents, trace } = await runComposition(graph, input, executor);
    expect(output).toContain("lat");
    expect(output).toContain("lon");
    expect(spentCents).toBe(14);
    expect(trace.filter(({ stageId }) => stageId === HTTP_GET).map(({ path }) => path)).toEqual([
      "root.stages[0].branches.stations.stages[1]",
      "root.stages[0].branches.weather.stages[1]",
    ]);
  });

  test("a budget that covers one branch but not both refuses before the last stage", async () => {
    const graph = parseComposition(read("fleet-briefing"));
    const inner = stages(world);
    const executor = new BudgetedExecutor(inner, buildCostMap(graph, store), 13);
    await expect(runComposition(graph, {}, executor)).rejects.toMatchObject({
      stageId: FLEET_HTML,
      spentCents: 4,
      costCents: 10,
    });
    expect(inner.calls.map(({ id }) => id)).not.toContain(FLEET_HTML);
  });

  test("every file of the folder is a graph", () => {
    for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
      expect(parseComposition(readFileSync(`${folder}/${file}`, "utf8")).op, file).toBe("Sequential");
    }
  });
});

test("a remote stage over real HTTP, with the platform's own fetch", async () => {
  let requests = 0;
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      requests++;
      const { input } = JSON.parse(Buffer.concat(parts).toString()) as { input: number };
      if (request.url === "/flaky" && requests === 1) {
        response.writeHead(503).end('{"ok":false,"error":"starting"}');
        return;
      }
      response.writeHead(200, { "content-type": "application/json" });
      response.end(
        JSON.stringify({ ok: true, data: { output: { doubled: input * 2, by: request.method } } }),
      );
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/flaky`;
    const executor = new BudgetedExecutor(stages({}), new Map([[url, 4]]), 10);
    const run = await runComposition(retry(remote(url), 2, 1), 21, executor);
    expect(run.output).toEqual({ doubled: 42, by: "POST" });
    expect(run.spentCents).toBe(8);
    const gone = "http://127.0.0.1:1/";
    await expect(runComposition(parallel({ gone: remote(gone) }), 1, executor)).rejects.toMatchObject({
      code: "REMOTE_STAGE_FAILED",
      url: gone,
      status: undefined,
    });
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
