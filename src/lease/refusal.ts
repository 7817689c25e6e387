// What an error of the authority says of a lease, without its class: tabs and RPC pass plain objects on. Pure. Who may
// call: whoever holds a lease, for itself or for tabs.

/** The lease is none of this holder's any more: the authority does not know it, or it was made with another token. */
export function isLost(error: unknown): boolean {
  const code = codeOf(error);
  return isRefusal(error) && (code === "NOT_FOUND" || code === "FORBIDDEN");
}

/** The authority has answered, and done nothing. */
export function isRefusal(error: unknown): boolean {
  return (error as { outcome?: unknown } | null)?.outcome === "refused";
}

export function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}
