// Holders of leases, by the book and otherwise. Each is two scripts at once over one slice: one spends from it, the other
// reports, asks for more, gives back, returns; so spending goes on while a report is under way, which is where books go
// wrong. It crashes, sleeps, believes a clock that lies, stops reporting, says the same twice, claims what it never had.
// Invariant: but for what a liar claims, what is reported is what is true at that moment. Who may call: simulate.ts.

import type { AnyReply } from "../calls.ts";
import type { Chance } from "../engine/chance.ts";
import { ask, type Part, type Script, sleep } from "../engine/script.ts";
import type { Tally } from "../engine/tally.ts";
import { SUBJECTS, UNITS } from "../plan.ts";
import { type LeaseCall, leaseIn } from "./calls.ts";
import type { LeasePlan } from "./plan.ts";
import { Slice } from "./slice.ts";

type HolderScript = Script<LeaseCall, AnyReply>;
type HolderPart<Result> = Part<LeaseCall, AnyReply, Result>;

const TRIES = 3;
/** Of the time that a lease has left, what a holder does not use. */
const MARGIN_MS = 100;

export interface HolderWorld {
  readonly plan: LeasePlan;
  readonly chance: Chance;
  readonly tally: Tally;
  /** Whether the authority still has the lease; for the tally alone. */
  readonly isReclaimed: (id: string) => boolean;
  /** The holder's own clock, which may lie. */
  readonly clock: { read(): number };
  /** Everything that holders know; the judge reads it. */
  readonly slices: Map<string, Slice>;
  /** Starts another script beside this one. */
  readonly play: (script: HolderScript) => void;
}

export function* holder(world: HolderWorld, name: string): HolderScript {
  const { chance, plan } = world;
  for (let life = 0; life < plan.lives; life += 1) {
    yield* sleep(chance.between(0, 3_000));
    const slice = yield* open(world, `${name}/${life}`, name);
    if (slice === undefined) continue;
    world.play(spend(world, slice));
    yield* report(world, slice);
  }
}

function* open(world: HolderWorld, key: string, holder: string): HolderPart<Slice | undefined> {
  const { chance, clock, plan } = world;
  const unit = chance.happens(0.9) ? "TOKENS" : chance.pick(UNITS);
  const subject = chance.pick(SUBJECTS);
  const want = drawWant(world);
  const body = {
    idempotency_key: key,
    subject,
    unit,
    want,
    ...(chance.happens(0.5) && { min: 1n + (want - 1n) / chance.pick([1n, 2n, 4n]) }),
    ...(chance.happens(0.8) && { ttl_ms: chance.pick(plan.ttlsMs) }),
    ...(chance.happens(0.5) && { holder }),
  };
  const sentMs = clock.read();
  const reply = yield* ask<LeaseCall, AnyReply>({ op: "openLease", body }, TRIES);
  const lease = leaseIn(reply);
  if (lease === undefined || lease.state !== "active") return undefined;
  const slice = new Slice({
    id: lease.lease_id,
    epoch: lease.epoch,
    subject,
    unit,
    granted: BigInt(lease.granted.amount),
    allowance: plan.offlineAllowance,
    deadlineMs: sentMs + lease.remaining_ttl_ms - MARGIN_MS,
  });
  world.slices.set(slice.id, slice);
  return slice;
}

/** Takes from the slice and settles, as long as the clock and the slice allow. */
function* spend(world: HolderWorld, slice: Slice): HolderScript {
  const { chance, clock, plan } = world;
  let isBeyond = false;
  for (let call = 0; call < plan.callsPerLife; call += 1) {
    yield* sleep(chance.between(0, plan.workMsMax));
    if (slice.stopped) return;
    if (clock.read() >= slice.deadlineMs) {
      if (slice.allowance === 0n) return;
      // Of the lease nothing is to be had any more, and more than the lease only once the authority has been asked in vain.
      if (!isBeyond) slice.giveBack(slice.idle);
      isBeyond = true;
      if (slice.idle > 0n) world.tally.add("holder: went on beyond its lease's end");
    } else isBeyond = false;
    if (slice.idle > 0n && world.isReclaimed(slice.id))
      world.tally.add("holder: spent after it was reclaimed");
    const estimate = chance.happens(0.2) ? slice.idle : part(chance, slice.idle);
    if (chance.happens(0.6)) {
      slice.settle(0n, estimate);
      continue;
    }
    slice.hold(estimate);
    world.play(finish(world, slice, estimate));
  }
}

/** A call under way: it ends whatever has become of the lease. */
function* finish({ chance, plan }: HolderWorld, slice: Slice, estimate: bigint): HolderScript {
  yield* sleep(chance.between(0, 3 * plan.workMsMax));
  slice.settle(estimate, chance.happens(0.3) ? estimate : part(chance, estimate));
}

/** Renews until it returns, dies, or hears that the lease is over. */
function* report(world: HolderWorld, slice: Slice): HolderPart<void> {
  const { chance, clock, plan } = world;
  let recall = 0n;
  for (let round = 0; ; round += 1) {
    yield* sleep(chance.between(0, plan.reportMsMax));
    if (chance.happens(plan.crash)) {
      world.tally.add("holder: crashed");
      slice.stopped = true;
      return;
    }
    // Asleep: nothing is taken meanwhile only because the clock says that it is over, and the clock may be wrong.
    if (chance.happens(plan.sleep)) {
      world.tally.add("holder: slept");
      yield* sleep(chance.between(1_000, 300_000));
    }
    if (round >= plan.reports) break;
    if (chance.happens(plan.lie)) {
      world.tally.add("holder: lied about what it spent");
      slice.invented += BigInt(chance.between(1, 30));
    }
    if (recall > 0n) world.tally.add("holder: gave back what was asked back");
    const back =
      recall > 0n ? least(recall, slice.idle) : chance.happens(0.3) ? part(chance, slice.idle) : 0n;
    slice.giveBack(back);
    slice.sequence += 1;
    const sentMs = clock.read();
    const body = {
      ...reportOf(slice),
      want: chance.happens(0.2) ? 0n : drawWant(world),
      ...(chance.happens(0.5) && { ttl_ms: chance.pick(plan.ttlsMs) }),
    };
    const reply = chance.happens(plan.cutOff)
      ? undefined
      : yield* ask<LeaseCall, AnyReply>({ op: "renewLease", id: slice.id, body }, TRIES);
    const lease = leaseIn(reply);
    if (lease === undefined) {
      if (reply?.ok === false) break;
      if (slice.lendItself()) world.tally.add("holder: lent itself");
      continue;
    }
    if (lease.state === "ended") {
      world.tally.add("holder: heard that its lease is over");
      break;
    }
    slice.heard(BigInt(lease.granted.amount), body);
    slice.deadlineMs = sentMs + lease.remaining_ttl_ms - MARGIN_MS;
    recall = lease.recall;
  }
  yield* giveUp(world, slice);
}

/** Stops, and returns until nothing is under way and the authority knows; or its patience ends. */
function* giveUp({ chance, plan }: HolderWorld, slice: Slice): HolderPart<void> {
  slice.stopped = true;
  for (let round = 0; round < 4; round += 1) {
    const isLast = slice.held === 0n;
    slice.sequence += 1;
    const body = reportOf(slice);
    const reply = yield* ask<LeaseCall, AnyReply>({ op: "returnLease", id: slice.id, body }, TRIES);
    if (isLast && reply?.ok) {
      slice.closed = true;
      return;
    }
    yield* sleep(chance.between(0, 4 * plan.workMsMax));
  }
}

function reportOf({ epoch, subject, unit, sequence, claimed, held, returned }: Slice) {
  return { epoch, subject, unit, sequence, spent: claimed, held, returned };
}

function drawWant({ chance, plan }: HolderWorld): bigint {
  return BigInt(chance.between(1, plan.wantMax));
}

function part(chance: Chance, of: bigint): bigint {
  return of <= 0n ? 0n : (of * BigInt(chance.between(0, 100))) / 100n;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
