import { goModuleDirectory } from "../cluster/go_module.ts";
import type { Helm } from "../helm/helm.ts";
import { parseManifests } from "../cluster/rest_client.ts";
import { buildPeer } from "../peer/build_peer.ts";
import { ROOT } from "../project_files.ts";
import { makeImage } from "./image.ts";
import { makePackageImage } from "./operator_images.ts";

/** The chart of the Go project, of the release that tests/peer pins. */
export async function peerChart(): Promise<string> {
  const module = await goModuleDirectory(`${ROOT}/tests/peer`, "github.com/cert-manager/trust-manager");
  return `${module}/deploy/charts/trust-manager`;
}

/**
 * Makes the images that the Go project's chart asks for by default, as archives, with its real program; the package is that of this
 * machine.
 *
 * @param dir where to put the archives.
 * @returns their paths.
 */
export async function makePeerImages(
  dir: string,
  helm: Helm,
  report: (line: string) => void,
): Promise<string[]> {
  const yaml = await helm.run(["template", "trust-manager", await peerChart()]);
  const deployment = parseManifests(yaml).find(({ kind }) => kind === "Deployment");
  const { containers: [operator], initContainers: [defaultPackage] } =
    Object(deployment?.["spec"]).template.spec;
  const archives = [`${dir}/peer.tar`, `${dir}/peer-package.tar`] as const;
  await makeImage(archives[0], {
    reference: operator.image,
    files: { "/trust-manager": { from: await buildPeer(report) } },
    entrypoint: ["/trust-manager"],
    user: "65532:65532",
  });
  await makePackageImage(archives[1], defaultPackage.image, report);
  return [...archives];
}
