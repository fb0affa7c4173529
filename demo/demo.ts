/**
 * Shows what the project does on a real API server: brings a cluster up, installs the operator, and plays the quick start.
 *
 * `deno task demo` leaves all of it running. With `--once` it stops all of it, and fails if any step did not hold; with
 * `--kubeconfig FILE` it uses a cluster of your own.
 */
import { parseArgs } from "node:util";
import { RestClient } from "../tests/cluster/rest_client.ts";
import { clusterDown, clusterUp } from "../tests/cluster/running_cluster.ts";
import { writeKubeconfig } from "../tests/cluster/control_plane.ts";
import { GoBuildError } from "../tests/cluster/go_programs.ts";
import { GoToolchainError } from "../tests/cluster/go_toolchain.ts";
import { type BackgroundOperator, DIRECTORY, startOperator, stopOperator } from "./background_operator.ts";
import { packageOfThisMachine } from "../default-ca-package/machine_package.ts";
import { clearQuickStart, playQuickStart } from "./quick_start.ts";
import { Stage, StepError } from "./stage.ts";

const DEPLOY = new URL("../deploy/", import.meta.url);

/** What to apply, in this order. */
const MANIFESTS = ["crds/trust.cert-manager.io_bundles.yaml", "rbac.yaml"];

/** How the demo was asked for. */
interface DemoOptions {
  /** Whether to stop all at the end. */
  readonly once: boolean;
  readonly kubeconfig?: string;
  /** For everything that the demo keeps. */
  readonly directory: string;
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: { once: { type: "boolean", default: false }, kubeconfig: { type: "string" } },
  });
  const { once, kubeconfig } = values;
  const options: DemoOptions = {
    once,
    // Of its own, so that a demo that was left running goes on.
    directory: once ? await Deno.makeTempDir({ prefix: "trust-manager-demo-" }) : DIRECTORY,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
  };
  if (!once) return await play(options);

  const stop = async () => {
    await stopOperator(options.directory);
    console.log(await clusterDown({ directory: options.directory }) ?? "");
    await Deno.remove(options.directory, { recursive: true }).catch(() => {});
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => stop().finally(() => Deno.exit(130)));
  }
  try {
    return await play(options);
  } finally {
    await stop();
  }
}

/** Plays everything, and returns the exit code. */
async function play({ once, directory, kubeconfig: own }: DemoOptions): Promise<number> {
  const title = new Stage({});
  title.chapter("Building the operator, bringing a cluster up");
  await build();
  const { kubeconfig, kubectl, description } = await clusterUp({
    directory,
    manifests: [TRUST_NAMESPACE, ...await Promise.all(MANIFESTS.map(readManifest))],
    report: (line) => title.say(line),
    ...(own === undefined ? {} : { kubeconfig: own }),
  });
  title.say(`The cluster: ${description}`);

  using admin = await RestClient.fromKubeconfig(kubeconfig, "trust-manager-demo");
  const stage = new Stage({
    KUBECONFIG: kubeconfig,
    PATH: `${kubectl.replace(/\/[^/]+$/, "")}:${Deno.env.get("PATH") ?? ""}`,
  });
  let operator: BackgroundOperator | undefined;
  try {
    await stopOperator(directory);
    await clearQuickStart(admin);
    const defaultPackage = await packageOfThisMachine();
    operator = await install(stage, admin, directory, defaultPackage);
    await playQuickStart({ stage, admin, defaultPackage, directory });
    if (once) await clearQuickStart(admin);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    console.error(`\n   [failed] ${error.message}`);
    if (operator !== undefined) console.error(`\nThe operator's log ends:\n${await end(operator.logFile)}`);
    return 1;
  }
  stage.chapter(`All ${stage.held} promises were kept`);
  if (!once) console.log(goOn(operator, kubeconfig));
  return 0;
}

const TRUST_NAMESPACE = JSON.stringify({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "cert-manager" },
});

/** Applies what `deploy/` has, and starts the operator as its ServiceAccount, which may do what it needs and no more. */
async function install(
  stage: Stage,
  admin: RestClient,
  directory: string,
  defaultPackage: { readonly name: string; readonly version: string },
): Promise<BackgroundOperator> {
  stage.chapter(
    "Installing the operator",
    "It runs as a ServiceAccount with exactly these rights, and in a Deno process that may reach the network,",
    "read files and read four variables of the environment, and nothing else.",
  );
  const files = MANIFESTS.map((file) => `-f deploy/${file}`).join(" ");
  await stage.run(`kubectl apply --server-side --force-conflicts ${files}`);
  const token = await serviceAccountToken(admin);
  const kubeconfig = `${directory}/operator.kubeconfig.yaml`;
  await writeKubeconfig(kubeconfig, admin, token);
  const packageFile = `${directory}/default-package.json`;
  await Deno.writeTextFile(packageFile, JSON.stringify(defaultPackage));
  const start = performance.now();
  const operator = await startOperator(directory, kubeconfig, [
    "--trust-namespace=cert-manager",
    `--default-package-location=${packageFile}`,
    "--webhook-enabled=false",
    "--log-level=2",
  ]);
  const { name, version } = defaultPackage;
  stage.say(`\n   Its package of public CAs is that of this machine: ${name} ${version}`);
  stage.check(`the operator is ready, ${Math.round(performance.now() - start)} ms after its start`, true);
  return operator;
}

/** A token of the operator's ServiceAccount that outlives an evening. In a pod, the kubelet renews it instead. */
async function serviceAccountToken(admin: RestClient): Promise<string> {
  const { status } = await admin.create<{ status: { token: string } }>(
    "/api/v1/namespaces/cert-manager/serviceaccounts/trust-manager/token",
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 86_400 } },
  );
  return status.token;
}

function goOn({ probePort, metricsPort, logFile }: BackgroundOperator, kubeconfig: string): string {
  const here = (path: string) => path.replace(`${Deno.cwd()}/`, "");
  return `
The cluster and the operator go on running. To go on yourself:

  export KUBECONFIG=${kubeconfig} PATH=${DIRECTORY}:$PATH
  kubectl get bundles
  kubectl describe bundle example-bundle
  kubectl get events
  curl http://127.0.0.1:${probePort}/readyz
  curl http://127.0.0.1:${metricsPort}/metrics
  tail -f ${here(logFile)}

To stop both:

  deno task demo:down
`;
}

async function build(): Promise<void> {
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", new URL("../build.ts", import.meta.url).pathname],
    stdin: "null",
  }).spawn().status;
  if (!success) throw new Error("Failed to build the operator");
}

async function readManifest(file: string): Promise<string> {
  return await Deno.readTextFile(new URL(file, DEPLOY));
}

async function end(logFile: string): Promise<string> {
  return (await Deno.readTextFile(logFile)).trimEnd().split("\n").slice(-15).join("\n");
}

if (import.meta.main) {
  try {
    Deno.exitCode = await main(Deno.args);
  } catch (error) {
    if (!(error instanceof GoToolchainError || error instanceof GoBuildError)) throw error;
    console.error(`   ${error.message}`);
    Deno.exitCode = 1;
  }
}
