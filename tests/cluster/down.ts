/** Ends the cluster of this checkout. */
import { clusterDown } from "./running_cluster.ts";

console.log(await clusterDown() ?? "No cluster is running");
