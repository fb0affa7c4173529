import { BUNDLE_LABEL, type LabelSelectorSpec, type TargetKind } from "../lib/api/bundle.ts";
import type { DecodedBundle } from "../lib/api/decode_bundle.ts";
import { targetLimits } from "../lib/api/target_limits.ts";
import { passwordNotices } from "../lib/key_stores.ts";
import type { NamespaceRecord } from "../lib/records/namespace_record.ts";
import type { SourceRecord } from "../lib/records/source_record.ts";

/** What of the cluster is asked for warnings about targets. Each question counts as work. */
export interface TargetSearch {
  /** Whether all objects are known. */
  readonly synced: boolean;
  /** The only namespace whose objects without the bundle label are known; undefined if none is. */
  readonly trustNamespace: string | undefined;
  /** Counts work, in steps: to look at a label or an annotation takes three. */
  spend(steps: number): void;
  /** The object of that kind and name in the trust namespace. */
  source(kind: TargetKind, name: string): SourceRecord | undefined;
  /** The namespaces that are selected and may be written to. */
  namespaces(selector: LabelSelectorSpec): readonly NamespaceRecord[];
}

/** ConfigMaps that others rely on in many clusters, and what for. A Bundle of that name takes them over. */
const WELL_KNOWN: Readonly<Record<string, string>> = {
  "kube-root-ca.crt": "Kubernetes writes into each namespace, for pods to find the API server's CA",
  "openshift-service-ca.crt": "OpenShift writes into each namespace",
  "istio-ca-root-cert": "Istio writes into each namespace, for its proxies",
  "coredns": "configures the cluster's DNS in kube-system",
  "aws-auth": "says who may enter an EKS cluster, in kube-system",
};

/**
 * What a user should know about the targets of a valid Bundle: those that no API server takes, key stores that Java cannot open, and
 * objects of others that they would take over. Of those, only objects in the trust namespace are known, and some names: of other
 * namespaces nothing is read but what carries the bundle label. Pure; the next warning is found only when it is asked for.
 */
export function* targetWarnings({ metadata, spec }: DecodedBundle, search: TargetSearch): Generator<string> {
  const { name } = metadata;
  const { target = {} } = spec;
  const formats = target.additionalFormats ?? {};
  const templates = ([["ConfigMap", target.configMap], ["Secret", target.secret]] as const)
    .flatMap(([kind, template]) => template === undefined ? [] : [{ kind, template }]);
  for (const { kind, template } of templates) {
    const { labels = {}, annotations = {} } = template.metadata ?? {};
    search.spend(1 + 3 * (Object.keys(labels).length + Object.keys(annotations).length));
    const { whole, stores } = targetLimits(name, kind, template, formats);
    for (const problem of whole) yield `nothing can be written: ${problem}`;
    for (const problem of Object.values(stores)) yield `will be left out: ${problem}`;
  }
  if (templates.length > 0) {
    for (const { format, cause } of passwordNotices(formats)) {
      yield `spec.target.additionalFormats.${format}.password: Java cannot open this store: ${cause}; use printable ASCII`;
    }
  }
  const use = target.configMap === undefined || !Object.hasOwn(WELL_KNOWN, name)
    ? undefined
    : WELL_KNOWN[name];
  if (use !== undefined) {
    yield `metadata.name: the ConfigMap ${name} is one that ${use}: the Bundle takes it over; choose another name`;
  }
  const { trustNamespace } = search;
  if (!search.synced || trustNamespace === undefined || templates.length === 0) return;
  for (const { kind, template } of templates) {
    const found = search.source(kind, name);
    if (found === undefined || found.labels[BUNDLE_LABEL] === name) continue;
    const selected = search.namespaces(target.namespaceSelector ?? {});
    if (!selected.some((namespace) => namespace.name === trustNamespace)) return;
    yield `metadata.name: ${kind} ${trustNamespace}/${
      shortName(name)
    } exists already, and is of no Bundle of this name: its key ` +
      `${JSON.stringify(shortName(template.key))} will be overwritten; choose another name`;
  }
}

/** Names are up to 253 characters long, and a warning is cut after 256. */
function shortName(name: string): string {
  return name.length > 60 ? `${name.slice(0, 59)}…` : name;
}
