/** Ends the cluster that up.ts brought up, with all that is in it. */
import { ROOT } from "../project_files.ts";
import { endNode } from "./node.ts";
import { readNodeRecord, removeNodeRecord } from "./node_record.ts";

const directory = `${ROOT}/bin`;
const record = await readNodeRecord(directory);
if (record === undefined) console.log("No node is running");
else {
  await endNode(record);
  await removeNodeRecord(directory);
  console.log("Stopped the node");
}
