import { clusterDown } from "../tests/cluster/running_cluster.ts";
import { RestClient } from "../tests/cluster/rest_client.ts";
import { stopOperator } from "./background_operator.ts";
import { forgetGuest, readGuestRecord, removeGuest } from "./guest.ts";

/**
 * Ends what a demo started: its operator, what it created in a cluster of the user's own, and a cluster that was brought up for it.
 *
 * @param directory of what the demo keeps.
 * @returns what was done and what stays, for people.
 * @throws {Error} if a cluster cannot be reached. What is to be removed there stays noted, so that it can be tried again.
 */
export async function endDemo(directory: string): Promise<string[]> {
  const lines: string[] = [];
  if (await stopOperator(directory)) lines.push("Stopped the operator");
  const guest = await readGuestRecord(directory);
  if (guest !== undefined) {
    using admin = await RestClient.fromKubeconfig(guest.kubeconfig, "trust-manager-demo");
    const stays = await removeGuest(admin, guest);
    await forgetGuest(directory);
    lines.push(
      ...stays.length === 0
        ? [`Deleted all that the demo created at ${admin.config.server}; nothing of it stays`]
        : [
          `Deleted what the demo created at ${admin.config.server}. This stays:`,
          ...stays.map((line) => `  ${line}`),
        ],
    );
  }
  const cluster = await clusterDown({ directory });
  if (cluster !== undefined) lines.push(cluster);
  return lines;
}
