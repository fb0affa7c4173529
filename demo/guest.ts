import { parseManifests, type RestClient, RestError, type RestObject } from "../tests/cluster/rest_client.ts";
import { findTrustManager } from "../tests/cluster/installed_trust_manager.ts";
import { DEMO_LABEL, type QuickStartNames } from "./quick_start.ts";

/** What the demo says to whoever asked for something that it does not do. */
export class GuestError extends Error {
  override readonly name = "GuestError";
}

/** One object that a run creates: where it is in the API, and what it is, unless a command of the play creates it. */
export interface PlannedObject {
  readonly path: string;
  readonly object?: RestObject;
}

/** All that a run creates in a cluster that is not its own, in the order in which it is created. */
export interface GuestPlan {
  /** Part of every name, and value of the label {@linkcode RUN_LABEL}. */
  readonly run: string;
  readonly names: QuickStartNames;
  readonly objects: readonly PlannedObject[];
}

/** Label of every object of a run; its value is the run's. */
export const RUN_LABEL = "app.kubernetes.io/instance";

/** Plural and scope of the kinds in the manifests. */
const RESOURCES: Readonly<Record<string, { readonly plural: string; readonly namespaced: boolean }>> = {
  CustomResourceDefinition: { plural: "customresourcedefinitions", namespaced: false },
  Namespace: { plural: "namespaces", namespaced: false },
  ServiceAccount: { plural: "serviceaccounts", namespaced: true },
  ClusterRole: { plural: "clusterroles", namespaced: false },
  ClusterRoleBinding: { plural: "clusterrolebindings", namespaced: false },
  Role: { plural: "roles", namespaced: true },
  RoleBinding: { plural: "rolebindings", namespaced: true },
};

const BUNDLES = "/apis/trust.cert-manager.io/v1alpha1/bundles";
const EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events";

/** A name for a run that no other has. */
export function newRun(): string {
  return `trust-manager-demo-${crypto.getRandomValues(new Uint8Array(4)).toHex()}`;
}

/**
 * What a run creates. Pure.
 *
 * @param manifests YAML of the CRD and of the RBAC, as `deploy/` has it: all but the CRD is renamed, and moved to a namespace of the run.
 */
export function planGuest(run: string, manifests: readonly string[]): GuestPlan {
  const labels = { ...DEMO_LABEL, [RUN_LABEL]: run };
  const team = `${run}-team-a`;
  const renamed = (object: RestObject): RestObject => {
    const { metadata } = object;
    if (object.kind === "CustomResourceDefinition") {
      return { ...object, metadata: { ...metadata, labels: { ...Object(metadata["labels"]), ...labels } } };
    }
    const text = JSON.stringify(object)
      .replaceAll(/"(name|namespace)":"(trust-manager|cert-manager)(:[^"]*)?"/g, `"$1":"${run}$3"`);
    const result: RestObject = JSON.parse(text);
    return { ...result, metadata: { ...result.metadata, labels } };
  };
  const namespace: RestObject = { apiVersion: "v1", kind: "Namespace", metadata: { name: run, labels } };
  const all = manifests.flatMap(parseManifests).map(renamed);
  const isDefinition = ({ kind }: RestObject) => kind === "CustomResourceDefinition";
  const objects = [...all.filter(isDefinition), namespace, ...all.filter((object) => !isDefinition(object))];
  return {
    run,
    names: {
      bundle: `${run}-bundle`,
      caSecret: "trust-manager-example-ca-secret",
      namespace: team,
      trustNamespace: run,
      targetNamespace: run,
      labels,
      namespaceSelector: { [RUN_LABEL]: run },
    },
    objects: [
      ...objects.map((object) => ({ path: pathOf(object), object })),
      { path: `${BUNDLES}/${run}-bundle` },
      { path: `/api/v1/namespaces/${team}` },
    ],
  };
}

function pathOf({ apiVersion, kind, metadata: { name, namespace } }: RestObject): string {
  const resource = RESOURCES[kind];
  if (resource === undefined) throw new TypeError(`The demo does not know how to create a ${kind}`);
  const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const where = resource.namespaced ? `/namespaces/${namespace}` : "";
  return `${group}${where}/${resource.plural}/${name}`;
}

/** The plan for people: where, what is created, and what becomes of it. */
export function describeGuest(
  { run, objects }: Pick<GuestPlan, "run" | "objects">,
  cluster: { readonly context: string; readonly server: string },
): string[] {
  return [
    `The cluster: context ${cluster.context}, ${cluster.server}`,
    "This is created there, each with the label",
    `${RUN_LABEL}=${run}:`,
    ...objects.map(({ path }) => `  ${nameOf(path)}`),
    "and, in these two namespaces, a Secret and the targets of the Bundle. The operator runs on this machine, with the",
    "rights of these roles: it reads ConfigMaps and namespaces of the whole cluster, and writes nothing but these targets.",
    "What is there already is not changed. At the end, all of it is deleted again, the two namespaces with all in them.",
  ];
}

/** `namespaces/x` or `roles/x in namespace y`. */
function nameOf(path: string): string {
  const [, namespace] = /\/namespaces\/([^/]+)\/./.exec(path) ?? [];
  const [plural, name] = path.split("/").slice(-2);
  return `${plural}/${name}${namespace === undefined ? "" : ` in namespace ${namespace}`}`;
}

/** Why a run is not possible in this cluster: what of trust-manager is there, and what has a name of the plan. Empty if it is. */
export async function whyNoGuest(admin: RestClient, plan: GuestPlan): Promise<string[]> {
  const reasons = (await findTrustManager(admin)).map(({ text }) => text);
  for (const { path, object } of plan.objects) {
    if (object?.kind === "CustomResourceDefinition") continue; // told already
    if (await admin.get(path) !== undefined) reasons.push(`${nameOf(path)} exists`);
  }
  return reasons;
}

/**
 * Asks whether the plan may be carried out.
 *
 * @param options.yes whether the user has said so on the command line.
 * @param options.ask asks on the terminal; undefined if there is none.
 * @throws {GuestError} if it may not.
 */
export function obtainConsent(
  options: { readonly yes: boolean; readonly ask: (() => boolean) | undefined },
): void {
  if (options.yes) return;
  if (options.ask === undefined) {
    throw new GuestError(
      "Nothing was created: there is no terminal to ask on. If the plan above is what you want, add --yes",
    );
  }
  if (!options.ask()) throw new GuestError("Nothing was created");
}

/** Creates what no command of the play creates. Never changes what is there: a name that is taken ends it. */
export async function createGuest(
  admin: RestClient,
  plan: GuestPlan,
  options: { readonly signal: AbortSignal; readonly report: (line: string) => void },
): Promise<void> {
  for (const { path, object } of plan.objects) {
    if (object === undefined) continue;
    options.signal.throwIfAborted();
    try {
      await admin.create(path.replace(/\/[^/]*$/, ""), object);
    } catch (error) {
      if (error instanceof RestError) {
        throw new GuestError(`Failed to create ${nameOf(path)}: ${error.message}`);
      }
      throw error;
    }
    options.report(`created ${nameOf(path)}`);
    if (object.kind === "CustomResourceDefinition") {
      await listBundles(admin);
    }
  }
}

/**
 * Deletes what a run has created and nothing else: objects that carry the label of the run, and that are still the ones that were looked
 * at. The CRD stays if there are Bundles of others, who would lose them.
 *
 * @returns what of the plan stays, and why; empty if nothing does.
 */
export async function removeGuest(
  admin: RestClient,
  { run, objects }: Pick<GuestPlan, "run" | "objects">,
): Promise<string[]> {
  const stays: string[] = [];
  for (const { path } of objects.toReversed()) {
    const found = await admin.get(path);
    if (found === undefined) continue;
    if (Object(found.metadata["labels"])[RUN_LABEL] !== run) {
      stays.push(`${nameOf(path)}: it does not carry the label of this run`);
      continue;
    }
    if (path.includes("/customresourcedefinitions/")) {
      const others = await listBundles(admin);
      if (others.length > 0) {
        const names = others.map(({ metadata }) => metadata.name).join(", ");
        stays.push(`${nameOf(path)}: there are Bundles that this run has not created: ${names}`);
        continue;
      }
    }
    const { uid } = found.metadata;
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      preconditions: { uid },
      propagationPolicy: "Background",
    };
    await admin.request("DELETE", path, { body }).catch((error) => {
      if (!(error instanceof RestError && [404, 409].includes(error.status))) throw error;
    });
    await admin.waitFor(path, "is gone", (now) => now?.metadata["uid"] !== uid, 120_000);
  }
  await removeEvents(admin, `${run}-bundle`);
  return stays;
}

/** All Bundles, of a CRD that is there. Waits until the API server serves them: right after its CRD, a kind is yet to be set up. */
async function listBundles(admin: RestClient): Promise<RestObject[]> {
  const deadline = performance.now() + 30_000;
  while (true) {
    try {
      return (await admin.request<{ items: RestObject[] }>("GET", BUNDLES)).items;
    } catch (error) {
      const isUnready = error instanceof RestError && [404, 429, 503].includes(error.status);
      if (!isUnready || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Events about the run's Bundle, which are in namespace `default`. */
async function removeEvents(admin: RestClient, bundle: string): Promise<void> {
  type Event = RestObject & { regarding?: { kind?: string; name?: string } };
  const events = await admin.get<{ items: Event[] }>(EVENTS);
  for (const { metadata, regarding } of events?.items ?? []) {
    if (regarding?.kind === "Bundle" && regarding.name === bundle) {
      await admin.delete(`${EVENTS}/${metadata.name}`);
    }
  }
}

/** What a run that is left running needs to be ended. */
export interface GuestRecord extends Pick<GuestPlan, "run" | "objects"> {
  /** Path of the kubeconfig file that the user gave. */
  readonly kubeconfig: string;
}

const recordFile = (directory: string) => `${directory}/guest.json`;

/** Notes a run before it creates anything. */
export async function writeGuestRecord(directory: string, record: GuestRecord): Promise<void> {
  const objects = record.objects.map(({ path }) => ({ path }));
  await Deno.mkdir(directory, { recursive: true });
  await Deno.writeTextFile(recordFile(directory), JSON.stringify({ ...record, objects }, null, 2) + "\n");
}

/** The run that was left running, or was interrupted; undefined if there is none. */
export async function readGuestRecord(directory: string): Promise<GuestRecord | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(recordFile(directory)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Forgets a run that has been removed. */
export async function forgetGuest(directory: string): Promise<void> {
  await Deno.remove(recordFile(directory)).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
