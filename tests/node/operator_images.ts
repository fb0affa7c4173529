import { OPERATOR_ENVIRONMENT, OPERATOR_FLAGS, SCRIPT } from "../../build.ts";
import { packageOfThisMachine } from "../../default-ca-package/machine_package.ts";
import { encodePackage } from "../../default-ca-package/package_file.ts";
import { findGo, goVersionOf } from "../cluster/go_toolchain.ts";
import type { RestObject } from "../cluster/rest_client.ts";
import { Helm } from "../helm/helm.ts";
import { ROOT } from "../project_files.ts";
import { makeImage, programFiles } from "./image.ts";

const COPIER = `${ROOT}/default-ca-package/copier`;

/** A Deployment, as far as images are concerned. */
interface Deployment extends RestObject {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly { readonly image: string }[];
        readonly initContainers: readonly { readonly image: string }[];
      };
    };
  };
}

/**
 * Makes the images that the chart asks for by default, as archives, since none can be pulled. The operator's holds Deno and the script
 * of `dist/` with the permissions of the binary, where the real one has the binary; that of the default CA package has what
 * this machine trusts.
 *
 * @param dir where to put the archives.
 * @returns their paths.
 */
export async function makeOperatorImages(dir: string, report: (line: string) => void): Promise<string[]> {
  const helm = await Helm.find();
  const deployment = (await helm.render()).find(({ kind }) => kind === "Deployment");
  if (deployment === undefined) throw new Error("The chart renders to no Deployment");
  const { containers: [operator], initContainers: [defaultPackage] } =
    (deployment as Deployment).spec.template.spec;

  const archives = [`${dir}/operator.tar`, `${dir}/package.tar`] as const;
  await makeImage(archives[0], {
    reference: operator?.image ?? "",
    files: {
      ...await programFiles(Deno.execPath(), "/usr/bin/deno"),
      "/trust-manager.js": { from: SCRIPT },
      "/etc/passwd": { text: "nonroot:x:65532:65532::/:/none\n" },
    },
    entrypoint: ["/usr/bin/deno", "run", ...OPERATOR_FLAGS, "/trust-manager.js"],
    env: { ...OPERATOR_ENVIRONMENT, DENO_NO_UPDATE_CHECK: "1" },
    user: "65532:65532",
  });
  await makePackageImage(archives[1], defaultPackage?.image ?? "", report);
  return [...archives];
}

/** Makes the image of the default CA package, as an archive: it has what this machine trusts. */
export async function makePackageImage(
  archive: string,
  reference: string,
  report: (line: string) => void,
): Promise<void> {
  const copier = `${archive}-copier`;
  await buildCopier(copier, report);
  await makeImage(archive, {
    reference,
    files: {
      "/copyandmaybepause": { from: copier },
      "/debian-package/cert-manager-package-debian.json": {
        text: encodePackage(await packageOfThisMachine()).json,
      },
    },
    entrypoint: ["/copyandmaybepause"],
    user: "65532:65532",
  });
}

/** The program of the default CA package's image: copies the package into a folder. */
async function buildCopier(output: string, report: (line: string) => void): Promise<void> {
  const go = await findGo(goVersionOf(await Deno.readTextFile(`${COPIER}/go.mod`)), report);
  const { success, stderr } = await new Deno.Command(go.command, {
    args: ["build", "-trimpath", "-buildvcs=false", "-o", output, "."],
    cwd: COPIER,
    env: { ...go.env, CGO_ENABLED: "0", GOWORK: "off" },
    stdin: "null",
  }).output();
  if (!success) throw new Error(`Failed to build ${COPIER}: ${new TextDecoder().decode(stderr).trim()}`);
}
