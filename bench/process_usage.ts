/** What a process has used, as the kernel counts it. */
export interface ProcessUsage {
  /** In user and in kernel mode, of all its threads; counted in steps of 10 ms. */
  readonly cpuSeconds: number;
  /** Resident memory now, in MiB. */
  readonly rssMib: number;
  /** The most that was ever resident, in the same unit. */
  readonly peakMib: number;
}

/** Clock ticks a second in `/proc`: 100 on all of Linux' common platforms. */
const TICKS = 100;

/**
 * Reads the usage of a process from `/proc` (proc(5)).
 *
 * @throws {Deno.errors.NotFound} if there is no such process.
 */
export function usageOf(pid: number): ProcessUsage {
  // The name of the program, in parentheses, may hold anything; after it, state is field 3, utime 14 and stime 15.
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  const mebibytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? NaN) / 1024;
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    rssMib: mebibytes("VmRSS"),
    peakMib: mebibytes("VmHWM"),
  };
}
