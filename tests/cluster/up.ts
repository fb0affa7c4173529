/** Brings up the cluster of this checkout, or finds it: `up.ts [--kubeconfig FILE]`. */
import { parseArgs } from "node:util";
import { clusterUp } from "./running_cluster.ts";
import { StopRequested, stopSignal } from "./stop_signal.ts";

const { values: { kubeconfig } } = parseArgs({ options: { kubeconfig: { type: "string" } } });
try {
  const { description } = await clusterUp({
    signal: stopSignal(),
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
  });
  console.log(`Running: ${description}

  export KUBECONFIG=$PWD/bin/kubeconfig.yaml
  bin/kubectl get namespaces

To end it: deno task cluster:down`);
} catch (error) {
  if (!(error instanceof StopRequested)) throw error;
  console.error("Given up: what was started has been ended");
  Deno.exit(130);
}
