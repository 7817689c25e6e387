// A browser's part in tabs that share a lease: channels, locks, timers and the death of tabs, in the order that a test draws. What
// a tab posts first lies in its own pipe, which dies with it (a part of it may still get out), then with every receiver.
// Invariant: messages from one tab keep their order; a dead tab neither says nor hears anything; a lock has one holder.
// Who may call: tests of the tabs.

import type { TabAuthorityOptions, TabChannel, TabLocks } from "purser/tabs";
import type { Chance } from "../simulation/engine/chance.ts";

export type Surroundings = Required<
  Pick<TabAuthorityOptions, "channel" | "locks" | "now" | "monotonicNow" | "newKey" | "sleep" | "page">
>;

/** Enough turns for any chain of promises of one event to come to its end. */
const TICKS = 60;

export async function settled(): Promise<void> {
  for (let tick = 0; tick < TICKS; tick += 1) await null;
}

export class TabHub {
  readonly #chance: Chance;
  readonly #tabs: Tab[] = [];
  readonly #requests: LockRequest[] = [];
  #holder: LockRequest | undefined;
  readonly #deferred: (() => void)[] = [];
  #timers: { readonly atMs: number; readonly tab: Tab; readonly ring: () => void }[] = [];
  #keys = 0;
  nowMs = 1_800_000_000_000;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  open(): Tab {
    const tab = new Tab(this);
    this.#tabs.push(tab);
    return tab;
  }

  newKey(): string {
    this.#keys += 1;
    return `key-${this.#keys}`;
  }

  /** One thing that can happen now happens: a message moves on, a lock is given. False when there is none. */
  async step(): Promise<boolean> {
    const deferred = this.#deferred.map((run) => () => {
      this.#deferred.splice(this.#deferred.indexOf(run), 1);
      run();
    });
    const events = [...this.#tabs.flatMap((tab) => tab.events()), ...this.#grant(), ...deferred];
    if (events.length === 0) return false;
    this.#chance.pick(events)();
    await settled();
    return true;
  }

  /** Something outside of the tabs, which happens at some step from now. */
  later(run: () => void): void {
    this.#deferred.push(run);
  }

  async drain(): Promise<void> {
    while (await this.step());
  }

  /** Time passes, and what falls due on the way happens. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const due = this.#timers.filter(({ atMs, tab }) => atMs <= untilMs && tab.isAlive);
      const first = due.reduce<(typeof due)[number] | undefined>(
        (earliest, each) => (earliest === undefined || each.atMs < earliest.atMs ? each : earliest),
        undefined,
      );
      if (first === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== first);
      this.nowMs = Math.max(this.nowMs, first.atMs);
      first.ring();
      await settled();
      await this.drain();
    }
    this.nowMs = untilMs;
  }

  sleep(tab: Tab, ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = { atMs: this.nowMs + ms, tab, ring: resolve };
      this.#timers.push(timer);
      signal?.addEventListener("abort", () => {
        this.#timers = this.#timers.filter((each) => each !== timer);
        reject(signal.reason);
      });
    });
  }

  /** Hands a message to every other channel at one moment. */
  spread(from: Channel, data: unknown): void {
    for (const tab of this.#tabs) {
      if (!tab.isAlive) continue;
      for (const channel of tab.channels) if (channel !== from) channel.inbox.push(structuredClone(data));
    }
  }

  request(request: LockRequest): void {
    this.#requests.push(request);
  }

  get pending(): readonly LockRequest[] {
    return this.#requests;
  }

  giveUp(request: LockRequest): void {
    const index = this.#requests.indexOf(request);
    if (index >= 0) this.#requests.splice(index, 1);
  }

  /** @param share - how much of what it said last still gets out */
  kill(tab: Tab, share: number): void {
    tab.isAlive = false;
    for (const channel of tab.channels) {
      const said = channel.outbox.splice(0);
      for (const data of said.slice(0, Math.round(said.length * share))) this.spread(channel, data);
    }
    for (const request of this.#requests.filter((each) => each.tab === tab)) this.giveUp(request);
    if (this.#holder?.tab === tab) this.#holder = undefined;
  }

  #grant(): (() => void)[] {
    const [next] = this.#requests;
    if (this.#holder !== undefined || next === undefined) return [];
    return [
      () => {
        this.giveUp(next);
        this.#holder = next;
        void next.run().finally(() => {
          if (this.#holder === next) this.#holder = undefined;
        });
      },
    ];
  }
}

interface LockRequest {
  readonly tab: Tab;
  readonly name: string;
  readonly run: () => Promise<void>;
}

class Channel implements TabChannel {
  readonly outbox: unknown[] = [];
  readonly inbox: unknown[] = [];
  readonly listeners: ((event: { readonly data: unknown }) => void)[] = [];

  postMessage(message: unknown): void {
    this.outbox.push(structuredClone(message));
  }

  addEventListener(_type: "message", listener: (event: { readonly data: unknown }) => void): void {
    this.listeners.push(listener);
  }

  close(): void {
    this.listeners.length = 0;
  }
}

export class Tab {
  readonly channels: Channel[] = [];
  readonly page = new EventTarget();
  readonly #hub: TabHub;
  isAlive = true;

  constructor(hub: TabHub) {
    this.#hub = hub;
  }

  get surroundings(): Surroundings {
    const hub = this.#hub;
    const locks: TabLocks = {
      request: (name, { signal }, callback) =>
        new Promise((resolve, reject) => {
          const request: LockRequest = {
            tab: this,
            name,
            run: () => callback().then(resolve, reject),
          };
          hub.request(request);
          signal.addEventListener("abort", () => {
            if (!hub.pending.includes(request)) return;
            hub.giveUp(request);
            reject(signal.reason);
          });
        }),
      query: async () => ({ pending: hub.pending.map(({ name }) => ({ name })) }),
    };
    return {
      channel: () => {
        const channel = new Channel();
        this.channels.push(channel);
        return channel;
      },
      locks,
      now: () => hub.nowMs,
      monotonicNow: () => hub.nowMs,
      newKey: () => hub.newKey(),
      sleep: (ms, signal) => hub.sleep(this, ms, signal),
      page: this.page,
    };
  }

  /** What could happen with this tab next: each pipe moves its first message. */
  events(): (() => void)[] {
    if (!this.isAlive) return [];
    return this.channels.flatMap((channel) => [
      ...(channel.outbox.length === 0 ? [] : [() => this.#hub.spread(channel, channel.outbox.shift())]),
      ...(channel.inbox.length === 0
        ? []
        : [
            () => {
              const data = channel.inbox.shift();
              for (const listener of [...channel.listeners]) listener({ data });
            },
          ]),
    ]);
  }

  kill(share: number): void {
    this.#hub.kill(this, share);
  }
}
