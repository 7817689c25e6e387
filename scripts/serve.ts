// `npm run serve -- --port 8787 --data DIR [--host 127.0.0.1]`: the authority alone, straight on workerd, durable across
// restarts. Also the way to host it without a Cloudflare account. Prints one line when it is ready, ends on Ctrl-C.
import { randomBytes } from "node:crypto";
import process from "node:process";
import { Command } from "commander";
import { parsePort } from "./lib/arguments.ts";
import { startAuthority } from "./lib/authority-process.ts";
import { PORT_DEFAULT } from "./lib/limits.ts";
import { listenForStop } from "./lib/stop-signal.ts";
import { reportLikePurser, runCommand, UserError } from "./lib/user-error.ts";
import { SETTING_NAMES, type Settings } from "./lib/workerd-config.ts";

interface ServeOptions {
  readonly port: number;
  readonly host: string;
  readonly data: string;
}

await runCommand(async () => {
  const command = reportLikePurser(new Command("npm run serve --"))
    .description(
      "Serves the authority on this machine. Takes PURSER_ADMIN_KEY, PURSER_HASH_SECRET[_PREVIOUS] and " +
        "PURSER_CORS_ORIGINS (the web origins whose pages may call it) from the environment.",
    )
    .option("--data <dir>", "folder that keeps the budgets; made if it does not exist", ".purser/data")
    .option("--port <port>", "port to listen on; 0 lets the system choose", parsePort, PORT_DEFAULT)
    .option("--host <host>", "address to listen on", "127.0.0.1")
    .parse();
  const options = command.opts<ServeOptions>();
  const adminKey = adminKeyFor(options.host);
  const settings = { ...settingsFromEnvironment(), PURSER_ADMIN_KEY: adminKey.value };
  const stop = listenForStop();

  const authority = await startAuthority({
    port: options.port,
    host: options.host,
    dataDir: options.data,
    settings,
    onLog: (line) => process.stderr.write(`${line}\n`),
    signal: stop.signal,
  });
  if (adminKey.generated) {
    process.stdout.write(
      `purser: admin key for development, valid until this server stops: ${adminKey.value}\n`,
    );
  }
  process.stdout.write(`purser: ready on ${authority.url}\n`);

  const unexpected = await Promise.race([stop.stopped, authority.ended]);
  await authority.stop();
  if (unexpected !== undefined) throw new UserError(`workerd ${unexpected}.`);
  return 0;
});

/** Anyone who reaches the port and knows the admin key owns every budget, so only a private one may be made up. */
function adminKeyFor(host: string): { readonly value: string; readonly generated: boolean } {
  const given = fromEnvironment("PURSER_ADMIN_KEY");
  if (given !== null) return { value: given, generated: false };
  if (isLoopback(host)) return { value: `adm_${randomBytes(24).toString("base64url")}`, generated: true };
  throw new UserError(
    `set PURSER_ADMIN_KEY: without it the server listens on loopback only, and ${host} is not.`,
  );
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function settingsFromEnvironment(): Settings {
  const given = SETTING_NAMES.map((name) => [name, fromEnvironment(name)] as const);
  return Object.fromEntries(given.filter(([, value]) => value !== null));
}

/** A variable that is set to nothing is a mistake in a deployment, not a wish for the default. */
function fromEnvironment(name: string): string | null {
  const value = process.env[name];
  if (value === undefined) return null;
  if (value.trim() === "") throw new UserError(`${name} is set but empty.`);
  return value;
}
