// What tests in a page ask of Node: a real authority on an origin of its own, its operators' calls, which pages may not
// make, and word of what has arrived there, also from pages that are gone. Invariant: what was started is stopped with its
// test file, or ends with this process. Registered in vitest.config.ts; called by test/browser/authority.ts.

import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type RunningAuthority, startAuthority } from "../../../scripts/lib/authority-process.ts";
import { close, listen } from "./prism.ts";

const ADMIN_KEY = "admin-key-of-the-pages";

export interface StartedAuthority {
  readonly url: string;
  /** The same authority, through a relay that tells what has been answered. */
  readonly relayUrl: string;
  readonly adminKey: string;
}

interface Stage {
  readonly folder: string;
  readonly authority: RunningAuthority;
  readonly relay: Server;
  /** Method and path of each call that was answered, oldest first. */
  readonly answered: string[];
  readonly waiting: Set<() => void>;
}

const stages = new Map<string, Stage>();

/** An authority that lets the pages of `origin` in. */
export async function startAuthorityFor(_: unknown, origin: string): Promise<StartedAuthority> {
  const folder = await mkdtemp(join(tmpdir(), "purser-pages-"));
  const authority = await startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir: folder,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY, PURSER_CORS_ORIGINS: origin },
    onLog: (line) => process.stderr.write(`${line}\n`),
  });
  const answered: string[] = [];
  const waiting = new Set<() => void>();
  const relay = createServer((asked, answer) =>
    passOn(authority.port, asked, answer, () => {
      answered.push(`${asked.method} ${asked.url}`);
      for (const look of waiting) look();
    }),
  );
  const relayUrl = `http://127.0.0.1:${await listen(relay)}`;
  stages.set(authority.url, { folder, authority, relay, answered, waiting });
  return { url: authority.url, relayUrl, adminKey: ADMIN_KEY };
}

export async function stopAuthority(_: unknown, url: string): Promise<void> {
  const stage = stages.get(url);
  stages.delete(url);
  if (stage === undefined) return;
  stage.relay.closeAllConnections();
  await close(stage.relay);
  await stage.authority.stop();
  await rm(stage.folder, { recursive: true, force: true });
}

/** A call that CORS keeps from pages: to the governance plane. */
export async function askAsOperator(
  _: unknown,
  url: string,
  path: string,
  init: { method: string; headers: Record<string, string>; body?: string },
): Promise<{ status: number; body: string }> {
  const response = await fetch(url + path, init);
  return { status: response.status, body: await response.text() };
}

/** Resolves once a call to a path with this end was answered, and forgets it. */
export function untilAnswered(_: unknown, url: string, pathEnd: string): Promise<string> {
  const stage = stages.get(url);
  if (stage === undefined) throw new Error(`no authority was started at ${url}`);
  return new Promise((resolve) => {
    const look = (): void => {
      const index = stage.answered.findIndex((it) => it.startsWith("POST ") && it.endsWith(pathEnd));
      if (index < 0) return;
      stage.waiting.delete(look);
      resolve(stage.answered.splice(index, 1)[0] ?? "");
    };
    stage.waiting.add(look);
    look();
  });
}

/** Whoever asked may be gone: the call is made to its end all the same. */
function passOn(port: number, asked: IncomingMessage, answer: ServerResponse, onEnd: () => void): void {
  const { method, url, headers } = asked;
  const onward = request({ host: "127.0.0.1", port, method, path: url, headers }, (from) => {
    answer.writeHead(from.statusCode ?? 502, from.headers);
    from.on("end", onEnd).pipe(answer);
  });
  onward.once("error", () => answer.destroy());
  asked.pipe(onward);
}
