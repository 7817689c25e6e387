// What tabs say to one another over a BroadcastChannel, and how an error crosses it. Every tab of the origin hears all of it.
// Invariant: plain data alone; what is not of this shape is somebody else's and is ignored. Who may call: the tabs' authority.

import type { Denied } from "../authority/authority.ts";
import { AuthorityError, type AuthorityErrorCode, type CallOutcome } from "../authority/errors.ts";
import type { Leased, LeaseName, LeaseRenewal, LeaseReport, LeaseRequest } from "../authority/leases.ts";
import type { TabBook } from "./tab-book.ts";

/** What a tab asks of the leading one. */
export type TabAsk =
  | { readonly op: "lease"; readonly request: LeaseRequest }
  | { readonly op: "renew"; readonly lease: LeaseName; readonly renewal: LeaseRenewal }
  | { readonly op: "return"; readonly lease: LeaseName; readonly report: LeaseReport };

export type TabReply = Leased | Denied;

export interface TabFault {
  readonly code: string;
  readonly message: string;
  readonly outcome: CallOutcome;
}

export type TabMessage =
  | { readonly kind: "ask"; readonly from: string; readonly number: number; readonly ask: TabAsk }
  | { readonly kind: "reply"; readonly to: string; readonly number: number; readonly reply: TabReply }
  | { readonly kind: "fault"; readonly to: string; readonly number: number; readonly fault: TabFault }
  /** The leading tab's book as it is from now on. */
  | { readonly kind: "book"; readonly from: string; readonly book: TabBook }
  /** Asks every tab for the last book that it heard. */
  | { readonly kind: "who"; readonly from: string }
  | { readonly kind: "here"; readonly to: string; readonly book: TabBook };

const KINDS: ReadonlySet<unknown> = new Set(["ask", "reply", "fault", "book", "who", "here"]);

export function isTabMessage(data: unknown): data is TabMessage {
  return typeof data === "object" && data !== null && "kind" in data && KINDS.has(data.kind);
}

export function faultOf(error: unknown): TabFault {
  const { code = "AUTHORITY_UNAVAILABLE", message, outcome = "unknown" } = error as Partial<TabFault>;
  return { code, message: String(message ?? error), outcome };
}

export function errorOfFault({ code, message, outcome }: TabFault): AuthorityError {
  return new AuthorityError(code as AuthorityErrorCode, message, { outcome });
}

/** No tab leads that could answer. */
export function noLeader(why: string): AuthorityError {
  return new AuthorityError("AUTHORITY_UNAVAILABLE", why, { outcome: "unknown" });
}
