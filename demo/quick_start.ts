import type { RestClient } from "../tests/cluster/rest_client.ts";
import { ROOT_1 } from "../tests/builders.ts";
import type { PackageFile } from "../default-ca-package/package_file.ts";
import type { Stage } from "./stage.ts";

const BUNDLE = "example-bundle";
const CA_SECRET = "trust-manager-example-ca-secret";
const NAMESPACE = "team-a";

const BUNDLE_PATH = `/apis/trust.cert-manager.io/v1alpha1/bundles/${BUNDLE}`;
const targetPath = (namespace: string) => `/api/v1/namespaces/${namespace}/configmaps/${BUNDLE}`;

/** Prints the PEM of the target in namespace `default`. */
const PRINT_TARGET = `kubectl get configmap ${BUNDLE} -o "jsonpath={.data['trust-bundle\\.pem']}"`;

/** What the quick start plays with. */
export interface QuickStart {
  readonly stage: Stage;
  /** Looks at the cluster beside the commands that are shown. */
  readonly admin: RestClient;
  /** The default CA package that the operator runs with. */
  readonly defaultPackage: PackageFile;
  /** For files that commands write. */
  readonly directory: string;
}

interface BundleView {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message: string;
    }[];
    readonly defaultCAVersion?: string;
  };
  readonly metadata: { readonly generation: number; readonly uid: string };
}

interface EventView {
  readonly reason: string;
  readonly regarding: { readonly uid: string };
}

interface TargetView {
  readonly data?: Readonly<Record<string, string>>;
  readonly metadata: { readonly uid: string };
}

/**
 * The quick start: a Bundle with the public CAs, an organisation's own CA added, a namespace created.
 *
 * @throws {StepError} if what is promised does not happen.
 */
export async function playQuickStart({ stage, admin, defaultPackage, directory }: QuickStart): Promise<void> {
  const publicCas = count(defaultPackage.bundle);
  const bundle = () => admin.get<BundleView>(BUNDLE_PATH);
  const target = (namespace: string) => admin.get<TargetView>(targetPath(namespace));
  const certificates = async (namespace: string) =>
    count((await target(namespace))?.data?.["trust-bundle.pem"] ?? "");

  stage.chapter(
    "A Bundle of the public CAs",
    "One object says which certificates, and where to. It is cluster scoped; without a namespaceSelector",
    "its target, a ConfigMap of the same name, goes into every namespace.",
  );
  await stage.measure(
    `the target is in namespace default`,
    () => stage.run(bundleYaml("- useDefaultCAs: true")),
    async () => await bundle() !== undefined,
    async () => await certificates("default") > 0,
  );
  await stage.waitFor("the Bundle says that it is synced", async () => isSynced(await bundle()));
  await stage.run(`kubectl get bundle ${BUNDLE}`);

  stage.say("");
  stage.say("The status tells which package of public CAs is in use: name, version, hash of its content.");
  const version = await stage.run(`kubectl get bundle ${BUNDLE} -o jsonpath={.status.defaultCAVersion}`);
  const { name, version: packageVersion } = defaultPackage;
  stage.check(
    `the version is that of this machine's CA certificates`,
    version.startsWith(`${name}-${packageVersion}-`),
  );
  await stage.run(`${PRINT_TARGET} | head -n 3`);
  const before = await stage.run(`${PRINT_TARGET} | grep -c BEGIN`);
  stage.check(`all ${publicCas} certificates are in the target`, Number(before) === publicCas);

  stage.chapter(
    "An organisation's own CA joins them",
    "Sources are read from the trust namespace only, here cert-manager. A private key never leaves it:",
    "a source that holds anything but certificates is refused as a whole.",
  );
  await makeCa(stage, directory);
  await stage.run(
    `kubectl create secret generic ${CA_SECRET} -n cert-manager --from-file=tls.crt=${directory}/example-ca.crt`,
  );
  await stage.measure(
    "the target has the new CA",
    () =>
      stage.run(
        bundleYaml("- useDefaultCAs: true", "- secret:", `    name: ${CA_SECRET}`, "    key: tls.crt"),
      ),
    async () => (await bundle())?.metadata.generation === 2,
    async () => await certificates("default") === publicCas + 1,
  );
  const after = await stage.run(`${PRINT_TARGET} | grep -c BEGIN`);
  stage.check("that is one more than before", Number(after) === publicCas + 1);

  stage.chapter(
    "A namespace is created",
    "It costs one write, however many namespaces there are already.",
  );
  await stage.measure(
    `namespace ${NAMESPACE} has the target`,
    () => stage.run(`kubectl create namespace ${NAMESPACE}`),
    async () => await admin.get(`/api/v1/namespaces/${NAMESPACE}`) !== undefined,
    async () => await certificates(NAMESPACE) === publicCas + 1,
  );
  await stage.run(`kubectl get configmaps -A -l trust.cert-manager.io/bundle=${BUNDLE}`);

  stage.chapter("Somebody deletes a target", "What was promised is kept: edits and deletions are repaired.");
  const lost = (await target(NAMESPACE))?.metadata.uid;
  await stage.measure(
    "it is back",
    () => stage.run(`kubectl delete configmap ${BUNDLE} -n ${NAMESPACE}`),
    async () => (await target(NAMESPACE))?.metadata.uid !== lost,
    async () => await certificates(NAMESPACE) === publicCas + 1,
  );

  stage.chapter(
    "A source goes missing",
    "A mistake in the sources changes no target: workloads keep the last good state, and the Bundle says why.",
  );
  await stage.run(`kubectl delete secret ${CA_SECRET} -n cert-manager`);
  await stage.waitFor("the Bundle says that it is not synced", async () => isSynced(await bundle(), "False"));
  await stage.run(`kubectl get bundle ${BUNDLE} -o "jsonpath={.status.conditions[0].message}"`);
  const { uid } = (await bundle())?.metadata ?? {};
  await stage.waitFor("an event says so too", async () => {
    const events = await admin.get<{ items: EventView[] }>(
      "/apis/events.k8s.io/v1/namespaces/default/events",
    );
    return events?.items.some(({ regarding, reason }) =>
      regarding.uid === uid && reason === "SourceNotFound"
    ) ?? false;
  });
  await stage.run(
    `kubectl get events --field-selector involvedObject.name=${BUNDLE} -o custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message`,
  );
  stage.check("the target still has all its certificates", await certificates("default") === publicCas + 1);
  await stage.run(
    `kubectl create secret generic ${CA_SECRET} -n cert-manager --from-file=tls.crt=${directory}/example-ca.crt`,
  );
  await stage.waitFor("the Bundle is synced again", async () => isSynced(await bundle()));
}

/** Removes what the quick start made, so that it can be played again. */
export async function clearQuickStart(admin: RestClient): Promise<void> {
  const namespace = `/api/v1/namespaces/${NAMESPACE}`;
  await admin.delete(`/api/v1/namespaces/cert-manager/secrets/${CA_SECRET}`);
  await admin.delete(BUNDLE_PATH);
  await admin.delete(namespace);
  await admin.waitUntilGone(BUNDLE_PATH);
  await admin.waitUntilGone(namespace, 120_000);
  // The garbage collector removes the targets of a Bundle that is gone.
  await admin.waitUntilGone(targetPath("default"), 120_000);
}

function bundleYaml(...sources: string[]): string {
  return [
    "kubectl apply -f - <<EOF",
    "apiVersion: trust.cert-manager.io/v1alpha1",
    "kind: Bundle",
    "metadata:",
    `  name: ${BUNDLE}`,
    "spec:",
    "  sources:",
    ...sources.map((line) => `  ${line}`),
    "  target:",
    "    configMap:",
    "      key: trust-bundle.pem",
    "EOF",
  ].join("\n");
}

/** A CA certificate. With cert-manager in the cluster, a Certificate with `isCA: true` would do the same. */
async function makeCa(stage: Stage, directory: string): Promise<void> {
  const file = `${directory}/example-ca.crt`;
  if (await hasOpenssl()) {
    await stage.run(
      `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \\
  -subj "/CN=trust-manager-example-ca" -keyout /dev/null -out ${file} 2>/dev/null`,
    );
    return;
  }
  await Deno.writeTextFile(file, `${ROOT_1.pem}\n`);
  stage.say("There is no openssl here to make one, so a CA that this project's tests use stands in.");
}

async function hasOpenssl(): Promise<boolean> {
  try {
    return (await new Deno.Command("openssl", { args: ["version"], stdin: "null" }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function count(pem: string): number {
  return pem.split("-----BEGIN CERTIFICATE-----").length - 1;
}

/** Whether the `Synced` condition says so. */
function isSynced(bundle: BundleView | undefined, status = "True"): boolean {
  return bundle?.status?.conditions?.some((condition) =>
    condition.type === "Synced" && condition.status === status
  ) ?? false;
}
