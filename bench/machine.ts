// The machine as the benchmark can read it, for the head of the table and the JSON. Called by run.ts.

import os from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly system: string;
  /** Processes that wanted a core over the last minute, before anything was measured. */
  readonly loadBefore: number;
}

export function readMachine(): Machine {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? "unknown",
    cores: cpus.length,
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    loadBefore: os.loadavg()[0] ?? 0,
  };
}

export function describeMachine(machine: Machine): string {
  const { cpu, cores, memoryGib, system, loadBefore } = machine;
  return `${cpu}, ${cores} cores, ${memoryGib} GiB, ${system}; load before the run ${loadBefore.toFixed(2)}`;
}
