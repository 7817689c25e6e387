// Reading errors that Node throws: they carry a `code` such as EEXIST, which their type does not say.

/** The error's code, or its message when it has none. */
export function errorCode(error: unknown): string {
  if (error instanceof Error && "code" in error && typeof error.code === "string") return error.code;
  return error instanceof Error ? error.message : String(error);
}
