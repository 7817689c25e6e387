// Requests of one Worker that wait for each other's permits, in workerd, over HTTP. A request that waits without a timeout is not
// ended by the platform as one that hangs; and what a request had when it ended while it waited comes back.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { COMMAND_TIMEOUT_MS } from "./support/commands.ts";
import { bundleWorker, type RunningWorker, startWorker } from "./support/workerd.ts";

let folder = "";
let worker: RunningWorker;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "purser-waits-"));
  const source = fileURLToPath(new URL("request-waits", import.meta.url));
  worker = await startWorker(await bundleWorker(source, "2026-06-01", folder));
}, COMMAND_TIMEOUT_MS);

afterAll(async () => {
  await worker.stop();
  await rm(folder, { recursive: true, force: true });
});

const STATS_AT_REST = { available: 1, max: 1, waiting: 0 };

/** A line of a test's own: the tests wait at the same time. */
function openLine(name: string) {
  const ask = async (action: string): Promise<string> => {
    const response = await fetch(`${worker.url}/${name}/${action}`);
    return response.status === 200 ? response.text() : `status ${response.status}`;
  };
  const stats = async () => JSON.parse(await ask("stats"));
  const untilWaiting = async (count: number): Promise<void> => {
    while ((await stats()).waiting !== count) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  return { ask, stats, untilWaiting };
}

describe.concurrent.each(["private", "named"])("a %s line", (kind) => {
  test("a request waits for another one's permit without a timeout, and the next one behind it", async () => {
    const { ask, stats, untilWaiting } = openLine(`${kind}-alive`);
    expect(await ask("take")).toBe("taken");
    const first = ask("call");
    await untilWaiting(1);
    const second = ask("call");
    await untilWaiting(2);
    expect(await ask("give")).toBe("given");
    expect([await first, await second]).toEqual(["called", "called"]);
    expect(await stats()).toEqual(STATS_AT_REST);
  });

  test("a permit that comes to a request that is over goes on to the next in line", async () => {
    const { ask, stats, untilWaiting } = openLine(`${kind}-over`);
    expect(await ask("take")).toBe("taken");
    expect(await ask("forget")).toBe("gone");
    await untilWaiting(1);
    const next = ask("call");
    await untilWaiting(2);
    expect(await ask("give")).toBe("given");
    expect(await next).toBe("called");
    expect(await stats()).toEqual(STATS_AT_REST);
  });

  test("and to who comes later, when nobody else waits", async () => {
    const { ask, untilWaiting } = openLine(`${kind}-later`);
    expect(await ask("take")).toBe("taken");
    expect(await ask("forget")).toBe("gone");
    await untilWaiting(1);
    expect(await ask("give")).toBe("given");
    expect(await ask("call")).toBe("called");
  });

  test("requests that are over do not hold up the line, however many they are", async () => {
    const { ask, untilWaiting } = openLine(`${kind}-many`);
    expect(await ask("take")).toBe("taken");
    for (let count = 0; count < 20; count++) expect(await ask("forget")).toBe("gone");
    const next = ask("call");
    await untilWaiting(1); // they were cleared away: the one that lives is left
    expect(await ask("give")).toBe("given");
    expect(await next).toBe("called");
  });
});
