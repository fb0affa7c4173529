import { OPERATOR_ENVIRONMENT, OPERATOR_FLAGS, SCRIPT } from "../build.ts";
import { freePorts } from "../tests/cluster/free_ports.ts";
import { ServerProcess } from "../tests/cluster/server_process.ts";

/** An operator that runs on after the command that started it has ended. */
export interface BackgroundOperator {
  readonly pid: number;
  readonly probePort: number;
  readonly metricsPort: number;
  readonly logFile: string;
}

/** Directory of what the demo keeps, unless another is given. */
export const DIRECTORY = new URL("../bin", import.meta.url).pathname;

/**
 * Starts the built operator in the background, with its exact permissions, on free ports, and waits until it is ready.
 *
 * @param directory gets its log and a record of its process id.
 * @param kubeconfig whose user it runs as.
 * @throws {Error} with the end of its log, if it does not become ready.
 */
export async function startOperator(
  directory: string,
  kubeconfig: string,
  flags: readonly string[],
): Promise<BackgroundOperator> {
  const [probePort, metricsPort] = freePorts(2);
  const logFile = `${directory}/operator.log`;
  await Deno.writeTextFile(logFile, "");
  const process = ServerProcess.start({
    name: "The operator",
    program: Deno.execPath(),
    args: [
      "run",
      ...OPERATOR_FLAGS,
      SCRIPT,
      `--kubeconfig=${kubeconfig}`,
      `--readiness-probe-port=${probePort}`,
      `--metrics-port=${metricsPort}`,
      ...flags,
    ],
    env: OPERATOR_ENVIRONMENT,
    logFile,
    outlive: true,
  });
  const operator = { pid: process.pid, probePort: probePort ?? 0, metricsPort: metricsPort ?? 0, logFile };
  // At once: a signal that comes between must not leave an operator that nothing tells of.
  Deno.writeTextFileSync(recordFile(directory), JSON.stringify({ ...operator, kubeconfig }, null, 2) + "\n");
  await process.waitUntil("it is ready", () => isReady(operator));
  return operator;
}

/**
 * Ends the operator that {@linkcode startOperator} started, as Kubernetes ends a pod: SIGTERM, and after ten seconds SIGKILL.
 *
 * @returns whether there was one.
 */
export async function stopOperator(directory: string = DIRECTORY): Promise<boolean> {
  const record = await readRecord(directory);
  if (record === undefined) return false;
  const isThere = async () => (await commandLine(record.pid)).includes(`--kubeconfig=${record.kubeconfig}`);
  const found = await isThere();
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    if (!await isThere()) break;
    Deno.kill(record.pid, signal);
    const deadline = performance.now() + 10_000;
    while (await isThere() && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  if (await isThere()) throw new Error(`Failed to end the operator: process ${record.pid} is still there`);
  await Deno.remove(record.kubeconfig).catch(() => {}); // it holds a token
  await Deno.remove(recordFile(directory));
  return found;
}

async function isReady({ probePort }: BackgroundOperator): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${probePort}/readyz`);
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

function recordFile(directory: string): string {
  return `${directory}/operator.json`;
}

async function readRecord(
  directory: string,
): Promise<BackgroundOperator & { kubeconfig: string } | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(recordFile(directory)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Of a process; empty if it has ended. Process ids are used again, so the record alone does not say whose it is. */
async function commandLine(pid: number): Promise<string> {
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", `cat /proc/${pid}/cmdline 2>/dev/null || ps -ww -o args= -p ${pid}`],
    stdin: "null",
    stderr: "null",
  }).output();
  return new TextDecoder().decode(stdout);
}
