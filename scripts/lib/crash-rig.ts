// Kills the authority under load, again and again, and looks at what it kept. Each life: start on the same data, settle
// what the last life left unknown by sending it again, replay what it acknowledged, compare the balance, then load and
// SIGKILL in the middle of it. Invariants it checks: every acknowledged operation is there; every unknown one is applied
// exactly once; the balance is the sum of both. Called by crash.ts and by its test.
import process from "node:process";
import { adminClient, type Balance, tenantClient } from "./authority-client.ts";
import { type RunningAuthority, startAuthority } from "./authority-process.ts";
import { type Acknowledged, type Life, type Request, runClient, type Server, send } from "./crash-clients.ts";
import { UserError } from "./user-error.ts";

export interface CrashOptions {
  readonly dataDir: string;
  readonly kills: number;
  readonly random: () => number;
  readonly onLife?: (figures: CrashFigures) => void;
  readonly signal?: AbortSignal;
}

export interface CrashFigures {
  readonly kills: number;
  readonly acknowledged: number;
  /** Requests without an answer: under way when the server was killed, or abandoned by their client. */
  readonly unknown: number;
  /** Those of them that had been applied all the same. */
  readonly unknownApplied: number;
}

const CLIENTS = 32;
/** A life ends after so many answers: early enough for many lives, late enough for groups and checkpoints. */
const ANSWERS_MIN = 20;
const ANSWERS_MAX = 250;
/** From that answer to the kill: longer than a group takes, so that the kill meets it anywhere. */
const KILL_DELAY_MS_MAX = 50;
const ALLOCATED = 1_000_000_000_000;
const ADMIN_KEY = "admin-key-of-the-crash-test";
const BUDGET = { tenant: "crash", scope: "tenant:crash", unit: "TOKENS" };

/** @throws UserError that names what was lost, applied twice or not balanced */
export async function crash(options: CrashOptions): Promise<CrashFigures> {
  const expected = { spent: 0, reserved: 0 };
  const everything: Acknowledged[] = [];
  let figures: CrashFigures = { kills: 0, acknowledged: 0, unknown: 0, unknownApplied: 0 };
  let apiKey: string | undefined;
  let last: Life | undefined;

  for (;;) {
    const authority = await start(options);
    try {
      apiKey ??= await prepare(authority.url);
      const server: Server = { url: authority.url, apiKey };
      if (last !== undefined) {
        for (const { request } of last.acknowledged) apply(expected, request);
        const applied = await settleUnknown(server, last.unknown, expected);
        everything.push(...last.acknowledged);
        figures = {
          kills: figures.kills + 1,
          acknowledged: figures.acknowledged + last.acknowledged.length,
          unknown: figures.unknown + last.unknown.length,
          unknownApplied: figures.unknownApplied + applied,
        };
        options.onLife?.(figures);
      }
      const isLast = figures.kills === options.kills;
      await checkReplays(server, isLast ? everything : (last?.acknowledged ?? []));
      await checkBalance(server, expected, "after replays");
      if (isLast) return figures;
      last = await load(authority, server, figures.kills, options);
    } finally {
      await authority.stop();
    }
  }
}

function start({ dataDir, signal }: CrashOptions): Promise<RunningAuthority> {
  return startAuthority({
    port: 0,
    host: "127.0.0.1",
    dataDir,
    settings: { PURSER_ADMIN_KEY: ADMIN_KEY },
    onLog: (line) => process.stderr.write(`${line}\n`),
    ...(signal !== undefined && { signal }),
  });
}

async function prepare(url: string): Promise<string> {
  const admin = adminClient(url, ADMIN_KEY);
  await admin.ensureTenant(BUDGET.tenant);
  await admin.createBudget(BUDGET, ALLOCATED);
  return admin.createKey(BUDGET.tenant);
}

/** Clients at work until a number of answers has come; then the server is killed while they are. */
async function load(
  authority: RunningAuthority,
  server: Server,
  number: number,
  { random }: CrashOptions,
): Promise<Life> {
  const life: Life = {
    server,
    tenant: BUDGET.tenant,
    acknowledged: [],
    unknown: [],
    leaving: new Set(),
    killed: false,
  };
  let answersLeft = ANSWERS_MIN + Math.floor(random() * (ANSWERS_MAX - ANSWERS_MIN));
  const onAnswer = (): void => {
    answersLeft -= 1;
    if (answersLeft === 0) setTimeout(kill, random() * KILL_DELAY_MS_MAX);
  };
  const kill = (): void => {
    life.killed = true;
    process.kill(authority.workerdPid, "SIGKILL");
  };
  await Promise.all(
    Array.from({ length: CLIENTS }, (_, client) =>
      runClient(life, `life${number}-client${client}`, random, onAnswer),
    ),
  );
  await authority.ended;
  return life;
}

/**
 * Sends again what had no answer, one after another, with a look at the balance after each: it moves by just what the
 * request is worth, or not at all where the request had been applied before.
 */
async function settleUnknown(
  server: Server,
  unknown: readonly Request[],
  expected: { spent: number; reserved: number },
): Promise<number> {
  let applied = 0;
  let before = await balanceOf(server);
  for (const request of unknown) {
    if ((await send(server, request)) === undefined) throw new UserError(`no answer to ${request.path}`);
    apply(expected, request);
    const after = await balanceOf(server);
    const reserved = after.reserved - before.reserved;
    const spent = after.spent - before.spent;
    if (reserved === 0 && spent === 0) applied += 1;
    else if (reserved !== request.reserved || spent !== request.spent) {
      throw new UserError(
        `${describe(request)} moved reserved by ${reserved} instead of ${request.reserved}, spent by ${spent} instead of ${request.spent}`,
      );
    }
    before = after;
  }
  return applied;
}

/** What was acknowledged answers as it did, word for word but for the time that remains. */
async function checkReplays(server: Server, acknowledged: readonly Acknowledged[]): Promise<void> {
  const waiting = acknowledged.values();
  const replayer = async (): Promise<void> => {
    for (const { request, answer } of waiting) {
      const again = await send(server, request);
      if (again !== undefined && timeless(again) === timeless(answer)) continue;
      throw new UserError(`${describe(request)} was answered ${answer}, and after the crash ${again}`);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, replayer));
}

async function checkBalance(
  server: Server,
  expected: { readonly spent: number; readonly reserved: number },
  when: string,
): Promise<void> {
  const { allocated, spent, reserved, remaining, debt } = await balanceOf(server);
  const balances = remaining === allocated - spent - reserved - debt;
  if (balances && spent === expected.spent && reserved === expected.reserved) return;
  throw new UserError(
    `${when} the ledger has spent ${spent} and reserved ${reserved}, the answers say ${expected.spent} and ${expected.reserved}`,
  );
}

function balanceOf({ url, apiKey }: Server): Promise<Balance> {
  return tenantClient(url, apiKey, BUDGET).balance();
}

function apply(expected: { spent: number; reserved: number }, { spent, reserved }: Request): void {
  expected.spent += spent;
  expected.reserved += reserved;
}

function timeless(answer: string): string {
  return answer.replace(/"remaining_ttl_ms":\d+/, "");
}

function describe({ path, body }: Request): string {
  return `${path} under ${String(body.idempotency_key)}`;
}
