/**
 * Shows what the project does on a real cluster: brings one up, installs the operator, and plays the quick start. On a node, Helm
 * installs the chart; elsewhere the operator runs as a process of this machine.
 *
 * `deno task demo` leaves all of it running. With `--once` it stops all of it, and fails if any step did not hold; with
 * `--kubeconfig FILE` it uses a cluster of your own, once you have agreed (`--yes` does) to what it creates there, with `--bare` a
 * control plane without nodes, which is there at once.
 */
import { parseArgs } from "node:util";
import { parse } from "yaml";
import { RestClient } from "../tests/cluster/rest_client.ts";
import {
  clusterUp,
  OtherClusterError,
  type RunningCluster,
  usersOwnKubeconfig,
} from "../tests/cluster/running_cluster.ts";
import { stopSignal } from "../tests/cluster/stop_signal.ts";
import { writeKubeconfig } from "../tests/cluster/control_plane.ts";
import { GoBuildError } from "../tests/cluster/go_programs.ts";
import { GoToolchainError } from "../tests/cluster/go_toolchain.ts";
import { type BackgroundOperator, DIRECTORY, startOperator, stopOperator } from "./background_operator.ts";
import { endDemo } from "./end_demo.ts";
import { packageOfThisMachine } from "../default-ca-package/machine_package.ts";
import {
  createGuest,
  describeGuest,
  GuestError,
  type GuestPlan,
  newRun,
  obtainConsent,
  planGuest,
  readGuestRecord,
  whyNoGuest,
  writeGuestRecord,
} from "./guest.ts";
import { clearQuickStart, OWN_NAMES, playQuickStart, type QuickStartNames } from "./quick_start.ts";
import { Stage, StepError } from "./stage.ts";
import { Helm } from "../tests/helm/helm.ts";
import { makeOperatorImages } from "../tests/node/operator_images.ts";

const DEPLOY = new URL("../deploy/", import.meta.url);

/** What to apply, in this order. */
const MANIFESTS = ["crds/trust.cert-manager.io_bundles.yaml", "rbac.yaml"];

/** How the demo was asked for. */
interface DemoOptions {
  /** Whether to stop all at the end. */
  readonly once: boolean;
  readonly kubeconfig?: string;
  /** Whether to do without a node. */
  readonly bare: boolean;
  /** For everything that the demo keeps. */
  readonly directory: string;
  /** What is created in a cluster that is not the demo's own. */
  readonly guest?: GuestPlan;
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: {
      once: { type: "boolean", default: false },
      bare: { type: "boolean", default: false },
      yes: { type: "boolean", default: false },
      kubeconfig: { type: "string" },
    },
  });
  const { once, bare, yes, kubeconfig } = values;
  if (bare && kubeconfig !== undefined) {
    console.error("--bare and --kubeconfig exclude each other: each says which cluster to use");
    return 2;
  }
  // Also the one that `deno task cluster:up --kubeconfig` took.
  const own = kubeconfig ?? (once || bare ? undefined : await usersOwnKubeconfig());
  const guest = own === undefined ? undefined : await agreeOnGuest(own, { yes, once });
  const options: DemoOptions = {
    once,
    bare,
    // Of its own, so that a demo that was left running goes on.
    directory: once ? await Deno.makeTempDir({ prefix: "trust-manager-demo-" }) : DIRECTORY,
    ...(own === undefined ? {} : { kubeconfig: own }),
    ...(guest === undefined ? {} : { guest }),
  };
  const signal = stopSignal();
  let cluster: RunningCluster | undefined;
  let held = false;
  try {
    const title = new Stage({});
    title.chapter("Building the operator, bringing a cluster up");
    await build();
    cluster = await bringUp(title, options, signal);
    const playing = play(cluster, options, signal);
    // Elsewhere, what is under way goes on until this process ends, which is soon. What a guest has begun, it finishes, and removes.
    const code = await (guest === undefined ? Promise.race([playing, rejectedBy(signal)]) : playing);
    held = code === 0;
    return code;
  } catch (error) {
    if (!signal.aborted) throw error;
    if (cluster === undefined) console.log("\nGiven up: what was started has been ended");
    else if (!once && guest === undefined) {
      console.log("\nWhat runs, runs on: deno task demo:down ends it");
    }
    return 130;
  } finally {
    if (once || (guest !== undefined && !held)) {
      for (const line of await endDemo(options.directory)) console.log(line);
    }
    if (once) await Deno.remove(options.directory, { recursive: true }).catch(() => {});
  }
}

/**
 * Says what would be created in a cluster of the user's own, and asks.
 *
 * @throws {GuestError} if it may not be, or cannot.
 */
async function agreeOnGuest(
  kubeconfig: string,
  { yes, once }: { readonly yes: boolean; readonly once: boolean },
): Promise<GuestPlan> {
  if (!once && await readGuestRecord(DIRECTORY) !== undefined) {
    throw new GuestError(
      "A demo in a cluster of yours runs already: end it first with `deno task demo:down`",
    );
  }
  using admin = await RestClient.fromKubeconfig(kubeconfig, "trust-manager-demo");
  const plan = planGuest(newRun(), await Promise.all(MANIFESTS.map(readManifest)));
  const context = String(parse(await Deno.readTextFile(kubeconfig))?.["current-context"]);
  for (const line of describeGuest(plan, { context, server: admin.config.server })) console.log(line);
  const reasons = await whyNoGuest(admin, plan);
  if (reasons.length > 0) {
    throw new GuestError(
      `Nothing was created: ${reasons.join("; ")}. ` +
        "The demo must not meet a trust-manager that is there: take another cluster, or do without --kubeconfig. " +
        "If an earlier demo was interrupted, `kubectl delete crd,clusterroles,clusterrolebindings,namespaces " +
        "-l app.kubernetes.io/managed-by=trust-manager-demo` removes what it left",
    );
  }
  const ask = Deno.stdin.isTerminal() ? () => confirm("Go on?") : undefined;
  obtainConsent({ yes, ask });
  return plan;
}

async function bringUp(
  title: Stage,
  { bare, directory, kubeconfig }: DemoOptions,
  signal: AbortSignal,
): Promise<RunningCluster> {
  const report = (line: string) => title.say(line);
  return await clusterUp({
    directory,
    bare,
    nodeImages: (dir) => makeOperatorImages(dir, report),
    manifests: [TRUST_NAMESPACE, ...await Promise.all(MANIFESTS.map(readManifest))],
    signal,
    report,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
  });
}

function rejectedBy(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  if (signal.aborted) reject(signal.reason);
  return promise;
}

/** Plays everything on a cluster, and returns the exit code. */
async function play(
  { kubeconfig, kubectl, isNode, isUsersOwn, description }: RunningCluster,
  { once, directory, guest }: DemoOptions,
  signal: AbortSignal,
): Promise<number> {
  if (isUsersOwn !== (guest !== undefined)) throw new TypeError("Whose cluster it is has changed meanwhile");
  new Stage({}).say(`The cluster: ${description}`);
  const names = guest?.names ?? OWN_NAMES;
  using admin = await RestClient.fromKubeconfig(kubeconfig, "trust-manager-demo");
  const helm = isNode ? (await Helm.find()).program : undefined;
  const programs = [kubectl, ...helm === undefined ? [] : [helm]];
  const stage = new Stage(
    {
      KUBECONFIG: kubeconfig,
      PATH: [...programs.map((path) => path.replace(/\/[^/]+$/, "")), Deno.env.get("PATH") ?? ""].join(":"),
    },
    console.log,
    signal,
  );
  let operator: BackgroundOperator | undefined;
  try {
    await stopOperator(directory);
    if (guest === undefined) await clearQuickStart(admin);
    const defaultPackage = await packageOfThisMachine();
    if (isNode) await installChart(stage, admin);
    else {
      stage.chapter(
        "Installing the operator",
        "It runs as a ServiceAccount with exactly these rights, and in a Deno process that may reach the network,",
        "read files and read seven variables of the environment, and nothing else.",
      );
      if (guest === undefined) {
        const files = MANIFESTS.map((file) => `-f deploy/${file}`).join(" ");
        await stage.run(`kubectl apply --server-side --force-conflicts ${files}`);
      } else {
        // Before anything is created, so that whatever happens, demo:down knows of it.
        await writeGuestRecord(directory, { ...guest, kubeconfig: await Deno.realPath(kubeconfig) });
        await createGuest(admin, guest, { signal, report: (line) => stage.say(line) });
      }
      const account = guest === undefined ? "trust-manager" : guest.run;
      operator = await startAs(stage, admin, directory, defaultPackage, {
        account,
        namespace: names.trustNamespace,
      });
    }
    await playQuickStart({ stage, names, admin, defaultPackage, directory });
    if (isNode) await refuseNonsense(stage);
    if (once && guest === undefined) await clearQuickStart(admin);
  } catch (error) {
    if (!(error instanceof StepError) || signal.aborted) throw error;
    console.error(`\n   [failed] ${error.message}`);
    if (isNode) await stage.run(LOGS).catch(() => {});
    if (operator !== undefined) console.error(`\nThe operator's log ends:\n${await end(operator.logFile)}`);
    return 1;
  }
  stage.chapter(`All ${stage.held} promises were kept`);
  if (!once) console.log(goOn(operator, kubeconfig, names));
  return 0;
}

const LOGS = "kubectl logs --namespace cert-manager deployment/trust-manager --tail 15";

const TRUST_NAMESPACE = JSON.stringify({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "cert-manager" },
});

/** Installs the chart, without cert-manager, and waits until its pod runs. That of a former demo, of an older image, goes first. */
async function installChart(stage: Stage, admin: RestClient): Promise<void> {
  const deployment = "/apis/apps/v1/namespaces/cert-manager/deployments/trust-manager";
  if (await admin.get(deployment) !== undefined) {
    await stage.run("helm uninstall trust-manager --namespace cert-manager --wait");
  }
  stage.chapter(
    "Installing the operator",
    "The chart brings the CRD, exactly the rights that are needed, and a webhook that makes its own certificate.",
  );
  const start = performance.now();
  await stage.run(
    `helm upgrade --install trust-manager deploy/charts/trust-manager \\
  --namespace cert-manager --create-namespace --wait --timeout 2m \\
  --set app.webhook.tls.selfManaged.enabled=true --hide-notes`,
  );
  const pods = await stage.run("kubectl get pods --namespace cert-manager");
  stage.check(
    `the operator's pod runs, ${Math.round((performance.now() - start) / 1000)} s after the command`,
    /^trust-manager-\S+\s+1\/1\s+Running/m.test(pods),
  );
}

/** The webhook at work. Without a node, nothing leads from the API server to it. */
async function refuseNonsense(stage: Stage): Promise<void> {
  stage.chapter(
    "A Bundle that makes no sense",
    "The API server asks the webhook in the pod before it stores a Bundle. Whoever makes a mistake is told at once.",
  );
  const said = await stage.refused(
    `kubectl apply -f - <<EOF
apiVersion: trust.cert-manager.io/v1alpha1
kind: Bundle
metadata:
  name: nonsense
spec:
  sources:
  - useDefaultCAs: false
  target:
    configMap:
      key: trust-bundle.pem
EOF`,
  );
  stage.check("it was refused, with the reason", /denied the request: spec\.sources/.test(said));
}

/** Starts the operator as its ServiceAccount, which may do what it needs and no more, and is in the trust namespace. */
async function startAs(
  stage: Stage,
  admin: RestClient,
  directory: string,
  defaultPackage: { readonly name: string; readonly version: string },
  { account, namespace }: { readonly account: string; readonly namespace: string },
): Promise<BackgroundOperator> {
  const token = await serviceAccountToken(admin, namespace, account);
  const kubeconfig = `${directory}/operator.kubeconfig.yaml`;
  await writeKubeconfig(kubeconfig, admin, token);
  const packageFile = `${directory}/default-package.json`;
  await Deno.writeTextFile(packageFile, JSON.stringify(defaultPackage));
  const start = performance.now();
  const operator = await startOperator(directory, kubeconfig, [
    `--trust-namespace=${namespace}`,
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
async function serviceAccountToken(admin: RestClient, namespace: string, account: string): Promise<string> {
  const { status } = await admin.create<{ status: { token: string } }>(
    `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`,
    { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 86_400 } },
  );
  return status.token;
}

function goOn(
  operator: BackgroundOperator | undefined,
  kubeconfig: string,
  { bundle }: QuickStartNames,
): string {
  const here = (path: string) => path.replace(`${Deno.cwd()}/`, "");
  const look = operator === undefined ? ["kubectl get pods --namespace cert-manager", LOGS] : [
    `curl http://127.0.0.1:${operator.probePort}/readyz`,
    `curl http://127.0.0.1:${operator.metricsPort}/metrics`,
    `tail -f ${here(operator.logFile)}`,
  ];
  return `
The cluster and the operator go on running. To go on yourself:

  export KUBECONFIG=${kubeconfig} PATH=${DIRECTORY}:$PATH
  kubectl get bundles
  kubectl describe bundle ${bundle}
  kubectl get events
  ${look.join("\n  ")}

To end what the demo started, and delete what it created:

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
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const isForUser = error instanceof GoToolchainError || error instanceof GoBuildError ||
      error instanceof OtherClusterError || error instanceof GuestError;
    if (!isForUser) throw error;
    console.error(`   ${error.message}`);
    Deno.exit(1);
  }
}
