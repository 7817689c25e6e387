// The door of every npm script: `node scripts/run.mjs <command> [arguments …]` (see `scripts` below). Plain JavaScript for Node
// >= 20 with nothing installed, because it is what installs. It makes the checkout ready (packages as in the
// lockfile, wasm and dist built), then runs the TypeScript script with the project's own Node 24.
// Invariants: two runs at once never install or build at the same time; signals and exit codes pass through; a script
// started here never outlives this process (the IPC channel is its lifeline, see lib/stop-signal.ts).
import { spawn } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const NODE_MAJOR_MIN = 20;
const LOCK_POLL_MS = 250;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scripts = {
  start: "start.ts",
  serve: "serve.ts",
  build: "build.ts",
  test: "test.ts",
  bench: "../bench/run.ts",
  "bench:edge": "../bench/edge.ts",
  "bench:leases": "../bench/leases.ts",
  crash: "crash.ts",
  simulate: "simulate.ts",
  estimates: "estimates.ts",
};

class Refusal extends Error {}

await main().catch((error) => {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`purser: ${error.message}\n`);
  process.exitCode = 1;
});

async function main() {
  const [command = "", ...rest] = process.argv.slice(2);
  const script = Object.hasOwn(scripts, command) ? scripts[command] : undefined;
  if (script === undefined) {
    throw new Refusal(`"${command}" is not a command; the commands are ${Object.keys(scripts).join(", ")}.`);
  }
  const major = Number.parseInt(process.versions.node, 10);
  if (major < NODE_MAJOR_MIN) {
    throw new Refusal(`Node ${NODE_MAJOR_MIN} or newer is needed, this is Node ${process.versions.node}.`);
  }

  const release = await lockPreparation();
  let ended;
  try {
    ended = await prepare(command);
  } finally {
    release();
  }
  if (ended.code === 0) ended = await run(projectNode(), [join(root, "scripts", script), ...rest]);
  process.exitCode = ended.signal === null ? ended.code : 128 + (constants.signals[ended.signal] ?? 0);
}

/** Packages first, then what is built from them. Stops at the first step that fails. */
async function prepare(command) {
  const reason = reasonToInstall();
  if (reason !== null) {
    process.stdout.write(`purser: installing the packages of package-lock.json (${reason}) …\n`);
    const ended = await install();
    if (ended.code !== 0) return ended;
  }
  // `build` itself is run by main(), like every other script.
  return command === "build"
    ? { code: 0, signal: null }
    : run(projectNode(), [join(root, "scripts/build.ts")]);
}

/**
 * Compares what npm says it installed with what the lockfile asks for, by content: dates lie after a checkout or a
 * copy. Packages that the lockfile calls optional may be missing, since most of them belong to other platforms.
 */
function reasonToInstall() {
  const installedPath = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installedPath)) return "nothing is installed yet";
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(readFileSync(installedPath, "utf8")).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "" || entry.link) continue;
    const present = installed[path];
    if (present === undefined) {
      if (entry.optional || entry.devOptional) continue;
      return `${path.replace(/^.*node_modules\//, "")} is missing`;
    }
    if (present.version !== entry.version || present.integrity !== entry.integrity) {
      return `${path.replace(/^.*node_modules\//, "")} is not the locked one`;
    }
  }
  return existsSync(projectNodePath()) ? null : "the project's own Node is missing";
}

async function install() {
  // Development packages are wanted whatever NODE_ENV says: they are the tools that build and run everything.
  const argumentsOfNpm = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  if (npm?.endsWith(".js")) return run(process.execPath, [npm, ...argumentsOfNpm]);
  return run("npm", argumentsOfNpm, { shell: process.platform === "win32" });
}

function projectNodePath() {
  return join(root, "node_modules/node/bin", process.platform === "win32" ? "node.exe" : "node");
}

function projectNode() {
  const path = projectNodePath();
  if (existsSync(path)) return path;
  throw new Refusal("the project's own Node is not in node_modules; was npm told to ignore install scripts?");
}

/** Runs one program to its end; resolves with how it ended. Signals that reach this process are passed on to it. */
function run(program, programArguments, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, programArguments, {
      cwd: root,
      stdio: ["inherit", "inherit", "inherit", "ipc"],
      // npm puts the project's programs on the path; a bare `node scripts/run.mjs` has to do so itself.
      env: {
        ...process.env,
        PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env.PATH ?? ""}`,
      },
      ...options,
    });
    const pass = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, pass);
    const forget = () => {
      for (const signal of signals) process.off(signal, pass);
    };
    child.once("error", (error) => {
      forget();
      reject(new Refusal(`${program} could not be started: ${error.message}`));
    });
    child.once("exit", (code, signal) => {
      forget();
      resolve({ code: code ?? 1, signal });
    });
  });
}

/**
 * One preparing process per checkout. The lock is a file with the holder's pid, made whole by link(), so nobody reads
 * it half written; a lock whose process is gone is moved aside and taken over. Resolves with the function that frees it.
 */
async function lockPreparation() {
  const folder = join(root, ".purser");
  mkdirSync(folder, { recursive: true });
  const lock = join(folder, "prepare.lock");
  const mine = join(folder, `prepare.${process.pid}`);
  writeFileSync(mine, String(process.pid));
  let told = false;
  try {
    while (!tryLink(mine, lock)) {
      const holder = readPid(lock);
      if (holder === null) continue;
      if (!isAlive(holder)) {
        removeStale(lock, holder, join(folder, `stale.${process.pid}`));
        continue;
      }
      if (!told)
        process.stdout.write(`purser: waiting for another run (pid ${holder}) that installs or builds …\n`);
      told = true;
      await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    }
  } finally {
    unlinkSync(mine);
  }
  const release = () => {
    process.off("exit", release);
    if (readPid(lock) === process.pid) unlinkSync(lock);
  };
  process.on("exit", release);
  return release;
}

function tryLink(from, to) {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  }
}

/** The pid in a lock file, or null when the file has just gone. */
function readPid(path) {
  try {
    return Number.parseInt(readFileSync(path, "utf8"), 10);
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
}

/** Moves a dead holder's lock away. If a living run took the name in between, its lock is put back. */
function removeStale(lock, deadPid, aside) {
  try {
    renameSync(lock, aside);
  } catch (error) {
    if (error.code === "ENOENT") return;
    throw error;
  }
  if (readPid(aside) !== deadPid) tryLink(aside, lock);
  unlinkSync(aside);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
