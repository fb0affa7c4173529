/**
 * Brings a cluster of one node up, with cert-manager's images and those of this project loaded, or finds it:
 * `deno run -A tests/node/up.ts`. Takes root on Linux.
 */
import { ROOT } from "../project_files.ts";
import { makeCertManagerImages } from "../cert_manager/install_cert_manager.ts";
import { startNode } from "./node.ts";
import { makeOperatorImages } from "./operator_images.ts";
import { readNodeRecord, writeNodeRecord } from "./node_record.ts";

const directory = `${ROOT}/bin`;
if (await readNodeRecord(directory) === undefined) {
  const report = (line: string) => console.error(line);
  const dir = await Deno.makeTempDir({ prefix: "trust-manager-images-" });
  try {
    const images = [...await makeOperatorImages(dir, report), ...await makeCertManagerImages(dir)];
    const node = await startNode({ images, outlive: true, report });
    await writeNodeRecord(directory, node);
    node.admin[Symbol.dispose]();
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
console.log(`Running: a cluster of one node

  export KUBECONFIG=$PWD/bin/node.kubeconfig.yaml
  bin/kubectl get nodes

To end it: deno run -A tests/node/down.ts`);
