import { goModuleDirectory } from "../cluster/go_module.ts";
import { parseManifests, type RestObject } from "../cluster/rest_client.ts";

/** Definitions by the Go module that they are in, which crds/go.mod pins. */
const FILES: Readonly<Record<string, readonly string[]>> = {
  "github.com/cert-manager/cert-manager": [
    "deploy/crds/cert-manager.io_issuers.yaml",
    "deploy/crds/cert-manager.io_certificates.yaml",
  ],
  "github.com/cert-manager/approver-policy": [
    "deploy/crds/policy.cert-manager.io_certificaterequestpolicies.yaml",
  ],
  "github.com/prometheus-operator/prometheus-operator": [
    "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
  ],
};

/**
 * The real CustomResourceDefinitions of all that the chart has objects of besides Kubernetes' own: those of cert-manager,
 * approver-policy and the Prometheus operator.
 */
export async function customResourceDefinitions(): Promise<RestObject[]> {
  const definitions: RestObject[] = [];
  for (const [module, files] of Object.entries(FILES)) {
    const directory = await goModuleDirectory(`${import.meta.dirname}/crds`, module);
    for (const file of files) {
      definitions.push(...parseManifests(await Deno.readTextFile(`${directory}/${file}`)));
    }
  }
  return definitions;
}
