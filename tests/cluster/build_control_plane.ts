import { buildGoPrograms, cacheDirectory } from "./go_programs.ts";

/** The Kubernetes release that go.mod pins; without the stamp the API server takes itself for v0.0.0 and refuses features. */
export const KUBERNETES_VERSION = "v1.37.2";

/** What a control plane consists of here. */
export type Program = "etcd" | "kube-apiserver" | "kube-controller-manager" | "kubectl";

const PACKAGES: Readonly<Record<Program, string>> = {
  "etcd": "go.etcd.io/etcd/server/v3",
  "kubectl": "k8s.io/kubernetes/cmd/kubectl",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
};

/** Standard error, so that what a program prints for others stays clean. */
const toStderr = (line: string) => console.error(line);

/**
 * Finds the programs of a control plane: in `$KUBEBUILDER_ASSETS` what is there, all else built from the Go modules that
 * go.mod pins, into the cache.
 *
 * @param report is given lines of progress; by default they go to standard error.
 * @returns the path of each program.
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function buildControlPlane(report = toStderr): Promise<Readonly<Record<Program, string>>> {
  const assets = await assetPrograms();
  const built = await build(
    Object.keys(PACKAGES).filter(isProgram).filter((name) => !assets.has(name)),
    report,
  );
  const path = (name: Program) => assets.get(name) ?? `${built}/${name}`;
  return {
    "etcd": path("etcd"),
    "kubectl": path("kubectl"),
    "kube-apiserver": path("kube-apiserver"),
    "kube-controller-manager": path("kube-controller-manager"),
  };
}

/**
 * Finds kubectl for a cluster that somebody else runs: in `$KUBEBUILDER_ASSETS`, on `PATH`, or built.
 *
 * @returns its path.
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function findKubectl(report = toStderr): Promise<string> {
  const asset = (await assetPrograms()).get("kubectl");
  if (asset !== undefined) return asset;
  for (const directory of (Deno.env.get("PATH") ?? "").split(":")) {
    const path = `${directory}/kubectl`;
    if (await Deno.stat(path).then((info) => info.isFile, () => false)) return path;
  }
  return `${await build(["kubectl"], report)}/kubectl`;
}

/** Returns the directory of the programs. */
async function build(names: readonly Program[], report: (line: string) => void): Promise<string> {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(KUBERNETES_VERSION) ?? [];
  const stamp = "-X k8s.io/component-base/version.git";
  return await buildGoPrograms({
    module: import.meta.dirname ?? ".",
    cache: `${cacheDirectory()}/control-plane`,
    programs: Object.fromEntries(names.map((name) => [name, PACKAGES[name]])),
    ldflags: `-s -w ${stamp}Version=${KUBERNETES_VERSION} ${stamp}Major=${major} ${stamp}Minor=${minor}`,
    report,
  });
}

/** Programs in `$KUBEBUILDER_ASSETS`, as controller-runtime's envtest lays them out. It has no kube-controller-manager. */
async function assetPrograms(): Promise<ReadonlyMap<Program, string>> {
  const found = new Map<Program, string>();
  const directory = Deno.env.get("KUBEBUILDER_ASSETS");
  if (!directory) return found;
  for await (const { name } of Deno.readDir(directory)) {
    if (isProgram(name)) found.set(name, `${directory}/${name}`);
  }
  return found;
}

function isProgram(name: string): name is Program {
  return Object.hasOwn(PACKAGES, name);
}

if (import.meta.main) {
  for (const [name, path] of Object.entries(await buildControlPlane())) console.log(`${name}: ${path}`);
}
