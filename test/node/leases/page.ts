// A holder in a page: the bundle that the test's pages run. It says what it has spent on the console, so that the test knows
// that much of a page that dies. Called by the test through `globalThis`.

import { HttpAuthority } from "../../../src/authority/http-authority.ts";
import { TabAuthority } from "../../../src/lease/tab-authority.ts";
import { type Worked, work } from "./work.ts";

export interface HolderInPage {
  /** @param tabs - whether the pages share one lease */
  startHolder(baseUrl: string, apiKey: string, tabs: boolean): Promise<Worked>;
  leads(): boolean;
}

let shared: TabAuthority | undefined;

Object.assign(globalThis, {
  async startHolder(baseUrl, apiKey, tabs) {
    const http = new HttpAuthority({ baseUrl, apiKey, subject: { tenant: "acme" } });
    if (tabs) shared = new TabAuthority({ authority: http, unit: "TOKENS", name: "holders" });
    const worked = await work(shared ?? http, (spent) => console.debug(`spent ${spent}`));
    await shared?.dispose();
    return worked;
  },
  leads: () => shared?.leads ?? false,
} satisfies HolderInPage);
