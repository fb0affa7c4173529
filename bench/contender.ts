import { OPERATOR_ENVIRONMENT, PERMISSIONS, RUNTIME_FLAGS, SCRIPT } from "../build.ts";
import { makeTestCertificates } from "../lib/kube/test_certificates.ts";
import { freePorts } from "../tests/cluster/free_ports.ts";
import { isReady } from "../tests/cluster/is_ready.ts";
import { ServerProcess } from "../tests/cluster/server_process.ts";
import { buildPeer } from "../tests/peer/build_peer.ts";
import { TRUST_NAMESPACE } from "./bench_cluster.ts";

/** How often it is asked whether it is ready, in milliseconds. */
const POLL_MS = 2;

/** A program that syncs Bundles, and runs. */
export interface RunningContender {
  readonly pid: number;
  /** Milliseconds from its start until its readiness probe succeeded. */
  readonly readyMs: number;
  /** Ends it as Kubernetes would. */
  stop(): Promise<void>;
}

/** A program that syncs Bundles. */
export interface Contender {
  readonly name: "operator" | "peer";
  /**
   * Starts it with the service account's rights, and returns when it is ready.
   *
   * @param dir for its files.
   */
  start(kubeconfig: string, dir: string): Promise<RunningContender>;
}

/**
 * The operator, as the script in `dist/` with its exact permissions; its flags are the defaults but for addresses and files.
 *
 * @param runtimeFlags those of Deno; others than the operator's own are for experiments.
 */
export function operatorContender(script = SCRIPT, runtimeFlags = RUNTIME_FLAGS): Contender {
  const args = ["run", "--no-config", "--no-lock", ...runtimeFlags, ...PERMISSIONS, script];
  return {
    name: "operator",
    start: (...where) => start("operator", Deno.execPath(), args, OPERATOR_ENVIRONMENT, ...where),
  };
}

/** The Go peer, without leader election: outside of a cluster it refuses to start with it. Builds it if it is not there yet. */
export async function peerContender(report: (line: string) => void): Promise<Contender> {
  const program = await buildPeer(report);
  return {
    name: "peer",
    start: (...where) => start("peer", program, ["--leader-elect=false"], {}, ...where),
  };
}

async function start(
  name: string,
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  kubeconfig: string,
  dir: string,
): Promise<RunningContender> {
  const home = await Deno.makeTempDir({ dir, prefix: `${name}-` });
  const { server } = await makeTestCertificates();
  await Deno.writeTextFile(`${home}/tls.crt`, server.certificate);
  await Deno.writeTextFile(`${home}/tls.key`, server.key);
  const [webhook, metrics, probes] = freePorts(3);
  const startedAt = performance.now();
  const process = ServerProcess.start({
    name,
    program,
    logFile: `${home}/log`,
    env,
    args: [
      ...args,
      `--kubeconfig=${kubeconfig}`,
      `--trust-namespace=${TRUST_NAMESPACE}`,
      "--webhook-host=127.0.0.1",
      `--webhook-port=${webhook}`,
      `--webhook-certificate-dir=${home}`,
      `--metrics-port=${metrics}`,
      `--readiness-probe-port=${probes}`,
    ],
  });
  const failed = process.ended.then(async () => {
    throw new Error(`The ${name} has ended. Its log ends:\n${await process.logTail()}`);
  });
  failed.catch(() => {}); // Once it is ready, it ends when it is told to.
  try {
    const deadline = startedAt + 60_000;
    while (!await Promise.race([failed, isReady(`http://127.0.0.1:${probes}/readyz`)])) {
      if (performance.now() > deadline) {
        throw new Error(`The ${name} is not ready after 60 s. Its log ends:\n${await process.logTail()}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return { pid: process.pid, readyMs: performance.now() - startedAt, stop: () => process.end("SIGTERM") };
  } catch (error) {
    await process.end("SIGKILL");
    throw error;
  }
}
