// Actors as scripts: a generator says what it does next (wait, ask, send and not wait), the runner does it in virtual
// time and hands it what came back. Invariant: a question is asked again, unchanged, until an answer or the last try;
// the first answer counts, later ones are only counted. Who may call: the simulation, with scripts of its own.

import type { Chance } from "./chance.ts";
import type { Network } from "./network.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Tally } from "./tally.ts";

export type Effect<Call> =
  | { readonly sleepMs: number }
  | { readonly ask: Call; readonly tries: number }
  | { readonly send: Call };

/** An actor's script. A question evaluates to its answer, or to `undefined` when none came. */
export type Script<Call, Reply> = Generator<Effect<Call>, void, Reply | undefined>;

/** A part of a script that comes to a result: `const reply = yield* ask(call)`. */
export type Part<Call, Reply, Result> = Generator<Effect<Call>, Result, Reply | undefined>;

/** Who answers: decides once per delivery, and replies or, having crashed, does not. */
export type Answerer<Call, Reply> = (call: Call, reply: (reply: Reply) => void) => void;

export interface Stage<Call, Reply> {
  readonly scheduler: Scheduler;
  readonly chance: Chance;
  readonly network: Network;
  readonly tally: Tally;
  readonly answer: Answerer<Call, Reply>;
  /** How long an actor waits for an answer before it asks again. */
  readonly timeoutMs: number;
}

export function play<Call, Reply>(stage: Stage<Call, Reply>, script: Script<Call, Reply>): void {
  const advance = (value: Reply | undefined): void => {
    for (let next = script.next(value); !next.done; next = script.next(undefined)) {
      const effect = next.value;
      if ("send" in effect) {
        exchange(stage, effect.send, 1, () => {});
        continue;
      }
      if ("sleepMs" in effect) stage.scheduler.after(effect.sleepMs, () => advance(undefined));
      else exchange(stage, effect.ask, effect.tries, advance);
      return;
    }
  };
  advance(undefined);
}

function exchange<Call, Reply>(
  stage: Stage<Call, Reply>,
  call: Call,
  tries: number,
  done: (reply: Reply | undefined) => void,
): void {
  let settled = false;
  const settle = (reply: Reply | undefined): void => {
    if (settled) {
      if (reply !== undefined) stage.tally.add("network: answers that came too late or twice");
      return;
    }
    settled = true;
    done(reply);
  };
  const attempt = (left: number): void => {
    if (settled) return;
    if (left === 0) {
      settle(undefined);
      return;
    }
    if (left < tries) stage.tally.add("network: questions asked again");
    stage.network.send("request", () =>
      stage.answer(call, (reply) => stage.network.send("reply", () => settle(reply))),
    );
    stage.scheduler.after(stage.timeoutMs, () => attempt(left - 1));
  };
  attempt(tries);
}

export function* sleep<Call, Reply>(sleepMs: number): Part<Call, Reply, void> {
  yield { sleepMs };
}

export function* ask<Call, Reply>(call: Call, tries: number): Part<Call, Reply, Reply | undefined> {
  return yield { ask: call, tries };
}

export function* send<Call, Reply>(call: Call): Part<Call, Reply, void> {
  yield { send: call };
}
