import type { RestClient, RestObject } from "../tests/cluster/rest_client.ts";
import { ROOT_1 } from "../tests/builders.ts";
import type { PackageFile } from "../default-ca-package/package_file.ts";
import { type Stage, StepError } from "./stage.ts";

/** Label of what the demo creates, so that it is never mistaken for what is the user's. */
export const DEMO_LABEL: Readonly<Record<string, string>> = {
  "app.kubernetes.io/managed-by": "trust-manager-demo",
};

/** Names of what the quick start creates, and where. */
export interface QuickStartNames {
  readonly bundle: string;
  /** Secret in the trust namespace. */
  readonly caSecret: string;
  /** The namespace that comes later. */
  readonly namespace: string;
  readonly trustNamespace: string;
  /** The namespace whose target is shown. */
  readonly targetNamespace: string;
  /** Labels of the Bundle, the Secret and the namespace. */
  readonly labels: Readonly<Record<string, string>>;
  /** Labels of the namespaces that get a target. Without it, all do. */
  readonly namespaceSelector?: Readonly<Record<string, string>>;
}

/** The names that people know, in a cluster of the demo's own. */
export const OWN_NAMES: QuickStartNames = {
  bundle: "example-bundle",
  caSecret: "trust-manager-example-ca-secret",
  namespace: "team-a",
  trustNamespace: "cert-manager",
  targetNamespace: "default",
  labels: DEMO_LABEL,
};

const bundlePath = ({ bundle }: QuickStartNames) => `/apis/trust.cert-manager.io/v1alpha1/bundles/${bundle}`;
const namespacePath = ({ namespace }: QuickStartNames) => `/api/v1/namespaces/${namespace}`;
const secretPath = ({ trustNamespace, caSecret }: QuickStartNames) =>
  `/api/v1/namespaces/${trustNamespace}/secrets/${caSecret}`;
const targetPath = ({ bundle }: QuickStartNames, namespace: string) =>
  `/api/v1/namespaces/${namespace}/configmaps/${bundle}`;

/** What the quick start plays with. */
export interface QuickStart {
  readonly stage: Stage;
  readonly names: QuickStartNames;
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
export async function playQuickStart(
  { stage, names, admin, defaultPackage, directory }: QuickStart,
): Promise<void> {
  const { bundle: name, caSecret, namespace, trustNamespace, targetNamespace, namespaceSelector } = names;
  const publicCas = count(defaultPackage.bundle);
  const bundle = () => admin.get<BundleView>(bundlePath(names));
  const target = (where: string) => admin.get<TargetView>(targetPath(names, where));
  const inTarget = targetNamespace === "default" ? "" : ` --namespace ${targetNamespace}`;
  const printTarget = `kubectl get configmap ${name}${inTarget} -o "jsonpath={.data['trust-bundle\\.pem']}"`;
  const setLabels = Object.entries(names.labels).map(([key, value]) => `${key}=${value}`).join(" ");
  const createSecret = [
    `kubectl create secret generic ${caSecret} -n ${trustNamespace} --from-file=tls.crt=${directory}/example-ca.crt`,
    `kubectl label secret ${caSecret} -n ${trustNamespace} ${setLabels}`,
  ].join("\n");
  const certificates = async (where: string) =>
    count((await target(where))?.data?.["trust-bundle.pem"] ?? "");

  stage.chapter(
    "A Bundle of the public CAs",
    "One object says which certificates, and where to. It is cluster scoped; without a namespaceSelector",
    "its target, a ConfigMap of the same name, goes into every namespace.",
    ...namespaceSelector === undefined ? [] : ["Here it has one, for the demo's own namespaces."],
  );
  await stage.measure(
    `the target is in namespace ${targetNamespace}`,
    () => stage.run(bundleYaml(names, "- useDefaultCAs: true")),
    async () => await bundle() !== undefined,
    async () => await certificates(targetNamespace) > 0,
  );
  await stage.waitFor("the Bundle says that it is synced", async () => isSynced(await bundle()));
  await stage.run(`kubectl get bundle ${name}`);

  stage.say("");
  stage.say("The status tells which package of public CAs is in use: name, version, hash of its content.");
  const version = await stage.run(`kubectl get bundle ${name} -o jsonpath={.status.defaultCAVersion}`);
  const { name: packageName, version: packageVersion } = defaultPackage;
  stage.check(
    `the version is that of this machine's CA certificates`,
    version.startsWith(`${packageName}-${packageVersion}-`),
  );
  await stage.run(`${printTarget} | head -n 3`);
  const before = await stage.run(`${printTarget} | grep -c BEGIN`);
  stage.check(`all ${publicCas} certificates are in the target`, Number(before) === publicCas);

  stage.chapter(
    "An organisation's own CA joins them",
    `Sources are read from the trust namespace only, here ${trustNamespace}. A private key never leaves it:`,
    "a source that holds anything but certificates is refused as a whole.",
  );
  await makeCa(stage, directory);
  await stage.run(createSecret);
  await stage.measure(
    "the target has the new CA",
    () =>
      stage.run(
        bundleYaml(names, "- useDefaultCAs: true", "- secret:", `    name: ${caSecret}`, "    key: tls.crt"),
      ),
    async () => (await bundle())?.metadata.generation === 2,
    async () => await certificates(targetNamespace) === publicCas + 1,
  );
  const after = await stage.run(`${printTarget} | grep -c BEGIN`);
  stage.check("that is one more than before", Number(after) === publicCas + 1);

  stage.chapter(
    "A namespace is created",
    "It costs one write, however many namespaces there are already.",
  );
  await stage.measure(
    `namespace ${namespace} has the target`,
    () => stage.run(namespaceYaml(names)),
    async () => await admin.get(namespacePath(names)) !== undefined,
    async () => await certificates(namespace) === publicCas + 1,
  );
  await stage.run(`kubectl get configmaps -A -l trust.cert-manager.io/bundle=${name}`);

  stage.chapter("Somebody deletes a target", "What was promised is kept: edits and deletions are repaired.");
  const lost = (await target(namespace))?.metadata.uid;
  await stage.measure(
    "it is back",
    () => stage.run(`kubectl delete configmap ${name} -n ${namespace}`),
    async () => (await target(namespace))?.metadata.uid !== lost,
    async () => await certificates(namespace) === publicCas + 1,
  );

  stage.chapter(
    "A source goes missing",
    "A mistake in the sources changes no target: workloads keep the last good state, and the Bundle says why.",
  );
  await stage.run(`kubectl delete secret ${caSecret} -n ${trustNamespace}`);
  await stage.waitFor("the Bundle says that it is not synced", async () => isSynced(await bundle(), "False"));
  await stage.run(`kubectl get bundle ${name} -o "jsonpath={.status.conditions[0].message}"`);
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
    `kubectl get events -n default --field-selector involvedObject.name=${name} -o custom-columns=TYPE:.type,REASON:.reason,MESSAGE:.message`,
  );
  stage.check(
    "the target still has all its certificates",
    await certificates(targetNamespace) === publicCas + 1,
  );
  await stage.run(createSecret);
  await stage.waitFor("the Bundle is synced again", async () => isSynced(await bundle()));
}

/**
 * Removes what the quick start made in a cluster of the demo's own, so that it can be played again.
 *
 * @throws {StepError} if anything has such a name and was not made by the demo. Nothing is removed then.
 */
export async function clearQuickStart(admin: RestClient, names: QuickStartNames = OWN_NAMES): Promise<void> {
  const paths = [secretPath(names), bundlePath(names), namespacePath(names)];
  const isOurs = ({ metadata }: RestObject) =>
    Object.entries(names.labels).every(([key, value]) => Object(metadata["labels"])[key] === value);
  const isTarget = ({ metadata }: RestObject) =>
    Object(metadata["labels"])["trust.cert-manager.io/bundle"] === names.bundle;
  const target = targetPath(names, names.targetNamespace);
  for (const path of [...paths, target]) {
    const found = await admin.get(path);
    if (found === undefined || (path === target ? isTarget(found) : isOurs(found))) continue;
    throw new StepError(
      `${path} exists, and was not created by the demo: move it out of the way, and try again`,
    );
  }
  for (const path of paths) await admin.delete(path);
  await admin.waitUntilGone(bundlePath(names));
  await admin.waitUntilGone(namespacePath(names), 120_000);
  // The garbage collector removes the targets of a Bundle that is gone.
  await admin.waitUntilGone(target, 120_000);
}

function metadataYaml(name: string, labels: Readonly<Record<string, string>>): string[] {
  return [
    "metadata:",
    `  name: ${name}`,
    "  labels:",
    ...Object.entries(labels).map(([key, value]) => `    ${key}: ${value}`),
  ];
}

function bundleYaml({ bundle, labels, namespaceSelector }: QuickStartNames, ...sources: string[]): string {
  return [
    "kubectl apply -f - <<EOF",
    "apiVersion: trust.cert-manager.io/v1alpha1",
    "kind: Bundle",
    ...metadataYaml(bundle, labels),
    "spec:",
    "  sources:",
    ...sources.map((line) => `  ${line}`),
    "  target:",
    "    configMap:",
    "      key: trust-bundle.pem",
    ...namespaceSelector === undefined ? [] : [
      "    namespaceSelector:",
      "      matchLabels:",
      ...Object.entries(namespaceSelector).map(([key, value]) => `        ${key}: ${value}`),
    ],
    "EOF",
  ].join("\n");
}

function namespaceYaml({ namespace, labels }: QuickStartNames): string {
  return [
    "kubectl create -f - <<EOF",
    "apiVersion: v1",
    "kind: Namespace",
    ...metadataYaml(namespace, labels),
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
