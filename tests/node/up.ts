/**
 * Brings a cluster of one node up, with cert-manager's images and those of this project loaded, or finds it. Takes root on Linux, and
 * builds what is not built yet.
 */
import { makeCertManagerImages } from "../cert_manager/install_cert_manager.ts";
import { StopRequested, stopSignal } from "../cluster/stop_signal.ts";
import { ROOT } from "../project_files.ts";
import { startNode } from "./node.ts";
import { readNodeRecord, writeNodeRecord } from "./node_record.ts";
import { makeOperatorImages } from "./operator_images.ts";

const directory = `${ROOT}/bin`;
const signal = stopSignal();
try {
  if (await readNodeRecord(directory) === undefined) await up();
  console.log(`Running: a cluster of one node

  export KUBECONFIG=$PWD/bin/node.kubeconfig.yaml
  bin/kubectl get nodes

To end it: deno task node:down`);
} catch (error) {
  if (!(error instanceof StopRequested)) throw error;
  console.error("Given up: what was started has been ended");
  Deno.exit(130);
}

async function up(): Promise<void> {
  const report = (line: string) => console.error(line);
  const dir = await Deno.makeTempDir({ prefix: "trust-manager-images-" });
  try {
    const images = [...await makeOperatorImages(dir, report), ...await makeCertManagerImages(dir)];
    const node = await startNode({ images, outlive: true, signal, report });
    await writeNodeRecord(directory, node);
    node.admin[Symbol.dispose]();
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
