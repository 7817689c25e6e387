// The authority in this process, without durability: for tests, for development, and for a single process that needs
// hierarchical budgets. Invariant: it answers what the others answer, through the same mapping and the same rules.
// Who may call: anyone, from one thread.

import { LocalLedger, type LocalLedgerOptions } from "./local-ledger.ts";
import { asWritten, callTenant } from "./tenant-send.ts";
import { type AuthorityOptions, WireAuthority } from "./wire-authority.ts";

/** A ledger of its own, or one that is there: several authorities may stand on one ledger. */
export type LocalAuthorityOptions<Exact extends boolean = false> = AuthorityOptions<Exact> &
  (LocalLedgerOptions | { readonly ledger: LocalLedger });

/**
 * @throws TypeError when `tenant` is not a valid tenant id
 * @example
 * const authority = new LocalAuthority({ tenant: "acme", now: Date.now });
 * authority.ledger.createBudget({ scope: "tenant:acme", unit: "TOKENS", allocated: { unit: "TOKENS", amount: 1000 } });
 * const reserved = await authority.reserve({
 *   action: { kind: "llm.completion", name: "gpt" },
 *   estimate: { unit: "TOKENS", amount: 200 },
 * });
 */
export class LocalAuthority<Exact extends boolean = false> extends WireAuthority<Exact> {
  /** The tenant's ledger: where budgets are made, funded and frozen, in the wire's shapes. */
  readonly ledger: LocalLedger;

  constructor(options: LocalAuthorityOptions<Exact>) {
    const ledger = "ledger" in options ? options.ledger : new LocalLedger(options);
    const subject = { ...options.subject, tenant: ledger.tenant };
    super({ ...options, subject }, { place: "local", send: (call) => callTenant(ledger, asWritten(call)) });
    this.ledger = ledger;
  }
}
