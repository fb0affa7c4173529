/** Brings up the cluster of this checkout, or finds it: `up.ts [--kubeconfig FILE]`. */
import { parseArgs } from "node:util";
import { clusterUp } from "./running_cluster.ts";

const { values } = parseArgs({ options: { kubeconfig: { type: "string" } } });
const { description } = await clusterUp(
  values.kubeconfig === undefined ? {} : { kubeconfig: values.kubeconfig },
);
console.log(`Running: ${description}

  export KUBECONFIG=$PWD/bin/kubeconfig.yaml
  bin/kubectl get namespaces

To end it: deno task cluster:down`);
