// The promise of strict lending (`charge`, the default): holders that keep to their slice and stop at their own deadline
// never overspend, whatever becomes of their messages. Requests arrive late, twice and in another order, answers get lost,
// holders die. After every step what was really spent is set aside or charged, nobody owes anything; and once all who live
// have returned theirs, what is charged is what was spent, to the unit.

import fc from "fast-check";
import type { LeaseBody } from "purser/ledger";
import { LocalLedger } from "purser/ledger";
import { expect, test } from "vitest";
import { bodyOf, testClock, tokens } from "../../support/ledger-fixtures.ts";

const ALLOCATED = 300n;
const HOLDERS = 3;

interface Holder {
  readonly key: string;
  id: string | undefined;
  /** What it asked for; asking again is the same request. */
  want: bigint | undefined;
  granted: bigint;
  spent: bigint;
  returned: bigint;
  sequence: number;
  /** Its own: from when it sent the request that the answer came to. */
  deadlineMs: number;
  /** It has said that it will spend nothing more, or was told to stop. */
  stopped: boolean;
  dead: boolean;
}

interface Message {
  readonly holder: Holder;
  readonly sentAtMs: number;
  readonly deliver: () => LeaseBody | undefined;
}

class World {
  readonly clock = testClock();
  readonly authority = new LocalLedger({ tenant: "acme", now: this.clock.now });
  readonly holders: Holder[] = Array.from({ length: HOLDERS }, (_, index) => ({
    key: `holder-${index}`,
    id: undefined,
    want: undefined,
    granted: 0n,
    spent: 0n,
    returned: 0n,
    sequence: 0,
    deadlineMs: 0,
    stopped: false,
    dead: false,
  }));
  readonly requests: Message[] = [];
  readonly answers: { readonly message: Message; readonly body: LeaseBody }[] = [];

  constructor() {
    const scope = "tenant:acme";
    bodyOf(this.authority.createBudget({ scope, unit: "TOKENS", allocated: tokens(ALLOCATED) }));
  }

  open(holder: Holder, wanted: bigint): void {
    const want = holder.want ?? wanted;
    holder.want = want;
    const request = {
      idempotency_key: holder.key,
      subject: { tenant: "acme" },
      unit: "TOKENS" as const,
      want,
      ttl_ms: 10_000,
    };
    this.#send(holder, () => {
      const reply = this.authority.openLease(request);
      return reply.ok ? reply.body : undefined;
    });
  }

  /** Reports by a new number, now; it may arrive whenever. What is given back leaves the holder's reach first. */
  report(holder: Holder, want: bigint, back: bigint, isLast: boolean): void {
    if (holder.id === undefined) return;
    const idle = holder.granted - holder.returned - holder.spent;
    if (isLast) holder.stopped = true;
    else holder.returned += back < idle ? back : idle;
    holder.sequence += 1;
    const { id, sequence, spent, returned } = holder;
    const report = { epoch: 1, unit: "TOKENS" as const, sequence, spent, held: 0n, returned };
    this.#send(holder, () =>
      bodyOf(
        isLast
          ? this.authority.returnLease(id, report)
          : this.authority.renewLease(id, { ...report, want, ttl_ms: 10_000 }),
      ),
    );
  }

  #send(holder: Holder, deliver: Message["deliver"]): void {
    this.requests.push({ holder, sentAtMs: this.clock.now(), deliver });
  }

  spend(holder: Holder, amount: bigint): void {
    const room = holder.granted - holder.returned - holder.spent;
    if (holder.dead || holder.stopped || this.clock.now() > holder.deadlineMs) return;
    holder.spent += amount < room ? amount : room;
  }

  /** One request arrives: any of those on their way, and perhaps once more later. */
  arrive(pick: number, isRepeated: boolean): void {
    const index = pick % Math.max(1, this.requests.length);
    const message = this.requests[index];
    if (message === undefined) return;
    if (!isRepeated) this.requests.splice(index, 1);
    const body = message.deliver();
    if (body !== undefined) this.answers.push({ message, body });
  }

  /** One answer arrives, or is lost. */
  hear(pick: number, isLost: boolean): void {
    const [answer] = this.answers.splice(pick % Math.max(1, this.answers.length), 1);
    if (answer === undefined || isLost) return;
    const { message, body } = answer;
    const { holder } = message;
    holder.id = body.lease_id;
    if (body.granted.amount > holder.granted) holder.granted = body.granted.amount;
    if (body.state === "ended") holder.stopped = true;
    else holder.deadlineMs = Math.max(holder.deadlineMs, message.sentAtMs + body.remaining_ttl_ms);
  }

  figures() {
    const [row] = bodyOf(this.authority.balances()).balances;
    if (row === undefined) throw new Error("the budget is gone");
    return { spent: row.spent.amount, reserved: row.reserved.amount, debt: row.debt?.amount ?? 0n };
  }

  get reallySpent(): bigint {
    return this.holders.reduce((sum, { spent }) => sum + spent, 0n);
  }

  check(): void {
    const { spent, reserved, debt } = this.figures();
    expect(debt).toBe(0n);
    expect(spent + reserved <= ALLOCATED).toBe(true);
    expect(this.reallySpent <= spent + reserved).toBe(true);
  }

  /** All that is on its way arrives, everything ends, and those who live and know their lease return it. */
  end(): void {
    while (this.requests.length > 0) this.arrive(0, false);
    while (this.answers.length > 0) this.hear(0, false);
    this.clock.advance(20_000);
    this.check();
    expect(this.figures().reserved).toBe(0n);
    // Whose answer was lost asks again, and learns of its lease.
    for (const holder of this.holders) {
      if (!holder.dead && holder.id === undefined && holder.want !== undefined)
        this.open(holder, holder.want);
    }
    while (this.requests.length > 0) this.arrive(0, false);
    while (this.answers.length > 0) this.hear(0, false);
    for (const holder of this.holders) {
      if (!holder.dead) this.report(holder, 0n, 0n, true);
    }
    while (this.requests.length > 0) this.arrive(0, false);
    this.check();
    const lost = this.holders.some(({ dead }) => dead);
    if (!lost) expect(this.figures()).toEqual({ spent: this.reallySpent, reserved: 0n, debt: 0n });
  }
}

const who = fc.nat(HOLDERS - 1);
const amount = fc.bigInt({ min: 0n, max: 150n });
const step = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(fc.constant("open" as const), who, fc.bigInt({ min: 1n, max: 300n })) },
  { weight: 4, arbitrary: fc.tuple(fc.constant("report" as const), who, amount, amount) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("return" as const), who) },
  { weight: 6, arbitrary: fc.tuple(fc.constant("spend" as const), who, amount) },
  { weight: 8, arbitrary: fc.tuple(fc.constant("arrive" as const), fc.nat(), fc.nat(4)) },
  { weight: 8, arbitrary: fc.tuple(fc.constant("hear" as const), fc.nat(), fc.nat(4)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant("wait" as const), fc.constantFrom(1, 4_000, 10_000, 15_001)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant("die" as const), who) },
);

test("strict holders never overspend, whatever becomes of their messages", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const world = new World();
      const at = (index: number): Holder => world.holders[index] ?? (world.holders[0] as Holder);
      for (const it of steps) {
        if (it[0] === "open" && !at(it[1]).dead && at(it[1]).id === undefined) world.open(at(it[1]), it[2]);
        if (it[0] === "report" && !at(it[1]).dead && !at(it[1]).stopped)
          world.report(at(it[1]), it[2], it[3] / 4n, false);
        if (it[0] === "return" && !at(it[1]).dead) world.report(at(it[1]), 0n, 0n, true);
        if (it[0] === "spend") world.spend(at(it[1]), it[2]);
        if (it[0] === "arrive") world.arrive(it[1], it[2] === 0);
        if (it[0] === "hear") world.hear(it[1], it[2] === 0);
        if (it[0] === "wait") world.clock.advance(it[1]);
        if (it[0] === "die") at(it[1]).dead = true;
        world.check();
      }
      world.end();
    }),
    { numRuns: 400 },
  );
});
