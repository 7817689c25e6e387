// A holder in a page: the bundle that the test's pages run. It says what it has spent on the console, so that the test knows
// that much of a page that dies. Called by the test through `globalThis`.

import { HttpAuthority, type LeaseAuthority } from "purser/client";
import { TabAuthority, type TabLocks } from "purser/tabs";
import { type Worked, type WorkOptions, work } from "./work.ts";

export interface HolderInPage {
  startHolder(options: HolderOptions): Promise<Worked>;
  leads(): boolean;
  /** How this page came to lead, once one of its own calls was answered since; by its own clock. */
  handOver(): HandOver | undefined;
}

export interface HandOver {
  /** From when the browser gave it the lock, which it does when the tab that led is dead, to the first answer. */
  readonly ms: number;
  /** Calls to the authority meanwhile. */
  readonly authorityCalls: number;
}

export interface HolderOptions extends WorkOptions {
  readonly baseUrl: string;
  readonly apiKey: string;
  /** Whether the pages share one lease. */
  readonly tabs: boolean;
}

let shared: TabAuthority | undefined;
let lockedAtMs: number | undefined;
let authorityCalls = 0;
let handOver: HandOver | undefined;

const locks: TabLocks = {
  request: (name, options, callback) =>
    navigator.locks.request(name, options, () => {
      lockedAtMs = performance.now();
      authorityCalls = 0;
      return callback();
    }),
  query: () => navigator.locks.query(),
};

/** The same authority; told of each call, and of each answer. */
function watched(authority: LeaseAuthority, called: () => void, answered: () => void): LeaseAuthority {
  const watch = async <T>(call: () => Promise<T>): Promise<T> => {
    called();
    const answer = await call();
    answered();
    return answer;
  };
  return {
    lease: (...asked) => watch(() => authority.lease(...asked)),
    renewLease: (...asked) => watch(() => authority.renewLease(...asked)),
    returnLease: (...asked) => watch(() => authority.returnLease(...asked)),
    leases: (...asked) => authority.leases(...asked),
    exposure: (...asked) => authority.exposure(...asked),
  };
}

function countCall(): void {
  authorityCalls += 1;
}

function noteAnswer(): void {
  if (lockedAtMs === undefined || shared?.leads !== true) return;
  handOver ??= { ms: Math.round(performance.now() - lockedAtMs), authorityCalls };
}

Object.assign(globalThis, {
  async startHolder({ baseUrl, apiKey, holder, doomed, tabs }) {
    const http = new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme" } });
    if (tabs) {
      const authority = watched(http, countCall, () => undefined);
      shared = new TabAuthority({ authority, locks, unit: "TOKENS", name: "holders", holder: "tabs" });
    }
    const onSpent = (spent: number): void => console.debug(`spent ${spent}`);
    const asked = shared === undefined ? http : watched(shared, () => undefined, noteAnswer);
    const worked = await work(asked, { holder, doomed, onSpent });
    await shared?.dispose();
    return worked;
  },
  leads: () => shared?.leads ?? false,
  handOver: () => handOver,
} satisfies HolderInPage);
