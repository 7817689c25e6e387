// The Cap'n Proto configuration for workerd, as text, from what wrangler.toml says. Pure: nothing is read or written.
// It holds neither a port, nor a path of a data folder, nor a secret: those come on the command line and through the
// environment (see authority-process.ts), so that one text serves every server started from the same bundle.

/** The socket and the disk folder that the command line fills in. */
export const SOCKET_NAME = "http";
export const DATA_NAME = "data";

/** Bindings that the Worker reads and no file may hold. */
export const SECRET_NAMES = [
  "PURSER_ADMIN_KEY",
  "PURSER_HASH_SECRET",
  "PURSER_HASH_SECRET_PREVIOUS",
] as const;

/**
 * What whoever starts a server decides. Each is taken from workerd's environment variable of that name, whatever
 * wrangler.toml says; one that is not set arrives as null.
 */
export const SETTING_NAMES = [...SECRET_NAMES, "PURSER_CORS_ORIGINS"] as const;

export type Settings = Readonly<Partial<Record<(typeof SETTING_NAMES)[number], string>>>;

export interface WorkerdConfigParts {
  /** File names beside the configuration; the first one is the entry. */
  readonly modules: readonly string[];
  readonly compatibilityDate: string;
  readonly compatibilityFlags: readonly string[];
  readonly durableObjects: readonly { readonly binding: string; readonly className: string }[];
  readonly texts: Readonly<Record<string, string>>;
}

export function workerdConfig(parts: WorkerdConfigParts): string {
  const bindings = [
    ...parts.durableObjects.map(
      (it) => `(name = ${q(it.binding)}, durableObjectNamespace = ${q(it.className)})`,
    ),
    ...Object.entries(parts.texts)
      .filter(([name]) => !SETTING_NAMES.some((it) => it === name))
      .map(([name, text]) => `(name = ${q(name)}, text = ${q(text)})`),
    ...SETTING_NAMES.map((name) => `(name = ${q(name)}, fromEnvironment = ${q(name)})`),
  ];
  // The unique key names the folder with the databases. Changing it would leave every budget behind.
  const namespaces = parts.durableObjects.map(
    (it) => `(className = ${q(it.className)}, uniqueKey = ${q(`purser-${it.className}`)}, enableSql = true)`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "authority", worker = .authority),
    (name = ${q(DATA_NAME)}, disk = (writable = true)),
  ],
  sockets = [(name = ${q(SOCKET_NAME)}, http = (), service = "authority")],
);

const authority :Workerd.Worker = (
  modules = ${list(parts.modules.map(moduleEntry))},
  compatibilityDate = ${q(parts.compatibilityDate)},
  compatibilityFlags = ${list(parts.compatibilityFlags.map(q))},
  bindings = ${list(bindings)},
  durableObjectNamespaces = ${list(namespaces)},
  durableObjectStorage = (localDisk = ${q(DATA_NAME)}),
);
`;
}

function moduleEntry(fileName: string): string {
  const kind = fileName.endsWith(".wasm") ? "wasm" : "esModule";
  return `(name = ${q(fileName)}, ${kind} = embed ${q(fileName)})`;
}

function list(entries: readonly string[]): string {
  return entries.length === 0 ? "[]" : `[\n    ${entries.join(",\n    ")},\n  ]`;
}

/** Cap'n Proto's string literal has JSON's escapes, as long as everything outside ASCII stays as it is. */
function q(text: string): string {
  return JSON.stringify(text);
}
