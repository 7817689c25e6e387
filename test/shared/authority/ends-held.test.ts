// What guards and meters hold to where two things meet: a settlement that was sent, an answer that is older than another,
// usage that takes a count back. Over the real rules.

import { type ReservationGuard, withReservation } from "purser/client";
import { expect, test } from "vitest";
import { REQUEST, world } from "../../support/recovery-world.ts";

test("`spent` after a commit was sent and not answered is an error: nobody would charge it", async () => {
  const { start, faults } = world();
  const guard = await start().open();
  faults.push("lost request");
  await guard.commit({ actual: 70 }).catch(() => undefined);
  expect(() => guard.spent(1)).toThrow(expect.objectContaining({ code: "RESERVATION_SETTLED" }));
  await guard.commit({ actual: 70 });
});

test("an extension's answer that names an earlier end does not bring the guard's back", async () => {
  const { start } = world();
  const { authority, open } = start();
  const guard = await open();
  await guard.extend(10_000);
  const { expiresAtMs } = guard;
  authority.extend = async () => ({ ok: true, expiresAtMs: expiresAtMs - 5_000, remainingTtlMs: 60_000 });
  await guard.extend(1);
  expect(guard.expiresAtMs).toBe(expiresAtMs);
  await guard.release();
});

test("usage that takes back what went beyond the hold: what goes beyond it next is the first again", async () => {
  const { start, figures } = world();
  const meter = (await start().open()).meter();
  void meter.add(110); // beyond, while more is asked for
  meter.usage(50);
  await meter.add(60);
  expect(meter.isOver).toBe(false);
  await meter.settle();
  expect(figures()).toBe("110 spent, 0 reserved");
});

test("an aborted scope whose callback counts by hand: its meter settles it, with what the callback says it used", async () => {
  const { time, start, requests, figures } = world();
  const { authority } = start();
  const stop = new AbortController();
  const call = async (guard: ReservationGuard) => {
    await guard.meter().add(30);
    stop.abort(new Error("page closed"));
    return { result: 1, actual: 40 };
  };
  const work = withReservation(authority, REQUEST, call, { signal: stop.signal });
  await expect(work).rejects.toThrow("page closed");
  await time.advance(100);
  expect(requests).toMatchObject([{ metadata: { source: "provider", ending: "finish" } }]);
  expect(figures()).toBe("40 spent, 0 reserved");
});
