import { parseManifests } from "../cluster/rest_client.ts";
import { Helm, VALUES_FILE } from "../helm/helm.ts";
import { makeImage } from "../node/image.ts";
import { buildCertManager } from "./build_cert_manager.ts";
import { certManagerChart } from "./run_cert_manager.ts";

/** What cert-manager is here, by the end of the name of its image. */
const PARTS = ["controller", "cainjector", "webhook"];

/** Without the check after the installation, which is a program of its own. */
const VALUES = { crds: { enabled: true }, startupapicheck: { enabled: false } };

/**
 * Makes the images that cert-manager's chart asks for by default, as archives, since none can be pulled.
 *
 * @param dir where to put the archives.
 * @returns their paths.
 * @throws {GoToolchainError} {GoBuildError} if cert-manager cannot be built.
 */
export async function makeCertManagerImages(dir: string): Promise<string[]> {
  const program = await buildCertManager();
  const helm = await Helm.find();
  const yaml = await helm.run(["template", "cert-manager", await certManagerChart()]);
  const references = parseManifests(yaml).filter(({ kind }) => kind === "Deployment").map((deployment) =>
    String(Object(deployment["spec"]).template.spec.containers[0].image)
  );
  return await Promise.all(PARTS.map(async (part) => {
    const reference = references.find((image) => image.includes(`cert-manager-${part}:`));
    if (reference === undefined) throw new Error(`cert-manager's chart has no image of its ${part}`);
    const archive = `${dir}/cert-manager-${part}.tar`;
    await makeImage(archive, {
      reference,
      files: { "/cert-manager": { from: program } },
      entrypoint: ["/cert-manager", part, "--probe-address=:9403"],
      user: "1000:1000",
    });
    return archive;
  }));
}

/**
 * Installs cert-manager with its own chart, on a cluster with a node, and waits until it runs.
 *
 * @throws {HelmError}
 */
export async function installCertManager(helm: Helm): Promise<void> {
  const args = ["install", "cert-manager", await certManagerChart(), "--namespace=cert-manager"];
  await helm.run([...args, "--create-namespace", "--wait", "--timeout=3m", "--values", VALUES_FILE], VALUES);
}
