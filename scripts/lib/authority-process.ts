// The authority as a process: workerd over a data folder, listening on one address. The reusable core of `serve`,
// `start` and the tests. Invariants: when the promise resolves, requests are answered; after stop() neither workerd nor
// the folder's lock is left; if this process ends in any way that runs handlers, workerd ends with it.
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import type { Readable } from "node:stream";
import { bundleAuthority } from "./bundle.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import { READY_MS_MAX, STOP_MS_MAX } from "./limits.ts";
import { unlessStopped } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";
import { workerdBinary } from "./workerd-binary.ts";
import { DATA_NAME, type Settings, SOCKET_NAME } from "./workerd-config.ts";

export interface AuthorityOptions {
  /** 0 lets the system choose one. */
  readonly port: number;
  readonly host: string;
  readonly dataDir: string;
  /** Without PURSER_HASH_SECRET, API keys are hashed under the one that is kept in the data folder. */
  readonly settings: Settings;
  /** What workerd prints, line by line: uncaught exceptions and the Worker's own console. */
  readonly onLog: (line: string) => void;
  /** Ends the boot: the promise then rejects with the signal's reason, and nothing of the authority is left running. */
  readonly signal?: AbortSignal;
}

export interface RunningAuthority {
  readonly url: string;
  readonly port: number;
  readonly workerdPid: number;
  /** Resolves when workerd has ended, asked or not, with a few words on how. */
  readonly ended: Promise<string>;
  /** Lets requests in flight finish, ends workerd and frees the folder. Further calls wait for the first. */
  stop(): Promise<void>;
}

/** The port was taken. A class of its own, because `start` answers it by choosing another port. */
export class PortInUseError extends UserError {}

export async function startAuthority(options: AuthorityOptions): Promise<RunningAuthority> {
  const { signal } = options;
  const config = await unlessStopped(signal, bundleAuthority(Date.now(), signal));
  const folder = await unlessStopped(signal, openDataFolder(options.dataDir));
  try {
    const hashSecret =
      options.settings.PURSER_HASH_SECRET ?? (await unlessStopped(signal, folder.hashSecret()));
    return await launch(options, config, folder, { ...options.settings, PURSER_HASH_SECRET: hashSecret });
  } catch (error) {
    await folder.close();
    throw error;
  }
}

async function launch(
  options: AuthorityOptions,
  config: string,
  folder: DataFolder,
  settings: Settings,
): Promise<RunningAuthority> {
  const shownHost = options.host.includes(":") ? `[${options.host}]` : options.host;
  const child = spawn(
    workerdBinary(),
    [
      "serve",
      config,
      `--socket-addr=${SOCKET_NAME}=${shownHost}:${options.port}`,
      `--directory-path=${DATA_NAME}=${folder.databases}`,
      "--control-fd=3",
    ],
    {
      // Nothing of our environment but what the Worker needs: it can read no more than this.
      env: settings,
      stdio: ["ignore", "pipe", "pipe", "pipe"],
      // A process group of its own: a terminal's Ctrl-C must reach us first, so that open slices can be settled.
      detached: true,
    },
  );
  const endWithUs = (): void => {
    child.kill("SIGKILL");
  };
  process.on("exit", endWithUs);
  const ended = whenEnded(child);
  void ended.then(() => process.off("exit", endWithUs));

  // What workerd prints before it listens is either nothing or the reason why it never will.
  const startLines: string[] = [];
  let onLine = (line: string): void => {
    startLines.push(line);
  };
  for (const stream of [child.stdout, child.stderr]) forEachLine(stream, (line) => onLine(line));

  let stopping: Promise<void> | null = null;
  const stop = (): Promise<void> => {
    stopping ??= endWorkerd(child, ended).then(() => folder.close());
    return stopping;
  };
  try {
    if (child.pid !== undefined) await folder.noteWorkerd(child.pid);
    const listening = listeningPort(child, ended, startLines, options);
    const port = await unlessStopped(options.signal, listening);
    onLine = options.onLog;
    for (const line of startLines) options.onLog(line);
    return { url: `http://${shownHost}:${port}`, port, workerdPid: child.pid ?? 0, ended, stop };
  } catch (error) {
    await endWorkerd(child, ended);
    throw error;
  }
}

/** workerd writes one JSON line per socket on the control descriptor, once the Worker is loaded and it listens. */
async function listeningPort(
  child: ChildProcess,
  ended: Promise<string>,
  startLines: readonly string[],
  options: AuthorityOptions,
): Promise<number> {
  const control = child.stdio[3] as Readable;
  let timer: NodeJS.Timeout | undefined;
  const outcome = await Promise.race([
    new Promise<number>((resolve) => {
      forEachLine(control, (line) => {
        if (line === "") return;
        const message: unknown = JSON.parse(line);
        if (isListenMessage(message)) resolve(message.port);
      });
    }),
    ended,
    new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`was not ready after ${READY_MS_MAX / 1000} s`), READY_MS_MAX);
    }),
  ]);
  clearTimeout(timer);
  if (typeof outcome === "number") return outcome;

  const printed = startLines.join("\n");
  if (/address already in use/i.test(printed)) {
    throw new PortInUseError(`port ${options.port} on ${options.host} is already in use.`);
  }
  throw new UserError(`workerd ${outcome} before it listened${printed === "" ? "." : `:\n${printed}`}`);
}

function isListenMessage(message: unknown): message is { event: "listen"; socket: string; port: number } {
  if (typeof message !== "object" || message === null || !("event" in message) || !("port" in message))
    return false;
  return message.event === "listen" && typeof message.port === "number";
}

/** SIGTERM lets workerd finish the requests it has; one that never ends must not keep us. */
async function endWorkerd(child: ChildProcess, ended: Promise<string>): Promise<void> {
  child.kill("SIGTERM");
  const insist = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await ended;
  clearTimeout(insist);
}

function whenEnded(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(`could not be started (${error.message})`));
    child.once("exit", (code, signal) => {
      resolve(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`);
    });
  });
}

function forEachLine(stream: Readable | null, take: (line: string) => void): void {
  let rest = "";
  stream?.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
  stream?.once("end", () => {
    if (rest !== "") take(rest);
  });
}
