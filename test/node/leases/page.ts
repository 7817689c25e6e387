// A holder in a page: the bundle that the test's pages run. It says what it has spent on the console, so that the test knows
// that much of a page that dies. Called by the test through `globalThis`.

import { HttpAuthority } from "purser/client";
import { TabAuthority } from "purser/tabs";
import { type Worked, type WorkOptions, work } from "./work.ts";

export interface HolderInPage {
  startHolder(options: HolderOptions): Promise<Worked>;
  leads(): boolean;
}

export interface HolderOptions extends WorkOptions {
  readonly baseUrl: string;
  readonly apiKey: string;
  /** Whether the pages share one lease. */
  readonly tabs: boolean;
}

let shared: TabAuthority | undefined;

Object.assign(globalThis, {
  async startHolder({ baseUrl, apiKey, holder, doomed, tabs }) {
    const http = new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme" } });
    if (tabs) shared = new TabAuthority({ authority: http, unit: "TOKENS", name: "holders", holder: "tabs" });
    const onSpent = (spent: number): void => console.debug(`spent ${spent}`);
    const worked = await work(shared ?? http, { holder, doomed, onSpent });
    await shared?.dispose();
    return worked;
  },
  leads: () => shared?.leads ?? false,
} satisfies HolderInPage);
