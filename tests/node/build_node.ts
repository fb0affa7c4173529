import { buildControlPlane, KUBERNETES_VERSION, type Program } from "../cluster/build_control_plane.ts";
import { areBuilt, buildGoPrograms, cacheDirectory, type GoBuild } from "../cluster/go_programs.ts";

/** What a node needs beside a control plane. */
export type NodeProgram = keyof typeof OF_KUBERNETES | keyof typeof OF_CONTAINERD;

const OF_KUBERNETES = {
  "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
  "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
  "kubelet": "k8s.io/kubernetes/cmd/kubelet",
};

const OF_CONTAINERD = {
  "pause": "./pause",
  "ctr": "github.com/containerd/containerd/v2/cmd/ctr",
  "containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
  "containerd": "github.com/containerd/containerd/v2/cmd/containerd",
};

/**
 * Finds the programs of a control plane and builds those of a node, from the Go modules that the `go.mod` files here pin, into the
 * cache.
 *
 * @param report is given lines of progress; by default they go to standard error.
 * @returns the path of each program.
 * @throws {GoToolchainError} {GoBuildError}
 */
export async function buildNode(
  report: (line: string) => void = (line) => console.error(line),
): Promise<Readonly<Record<Program | NodeProgram, string>>> {
  const controlPlane = await buildControlPlane(report);
  const [ofKubernetes, ofContainerd] = builds(report);
  const kubernetes = await buildGoPrograms(ofKubernetes);
  const containerd = await buildGoPrograms(ofContainerd);
  return {
    ...controlPlane,
    "kube-scheduler": `${kubernetes}/kube-scheduler`,
    "kube-proxy": `${kubernetes}/kube-proxy`,
    "kubelet": `${kubernetes}/kubelet`,
    "pause": `${containerd}/pause`,
    "ctr": `${containerd}/ctr`,
    "containerd-shim-runc-v2": `${containerd}/containerd-shim-runc-v2`,
    "containerd": `${containerd}/containerd`,
  };
}

/** Whether {@linkcode buildNode} has nothing to build, the control plane left out. */
export async function isNodeBuilt(): Promise<boolean> {
  return (await Promise.all(builds(() => {}).map(areBuilt))).every(Boolean);
}

function builds(report: (line: string) => void): readonly [kubernetes: GoBuild, containerd: GoBuild] {
  const cache = cacheDirectory();
  const stamp = "-X k8s.io/component-base/version.git";
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(KUBERNETES_VERSION) ?? [];
  return [{
    module: `${import.meta.dirname}/kubernetes`,
    cache: `${cache}/node`,
    programs: OF_KUBERNETES,
    ldflags: `-s -w ${stamp}Version=${KUBERNETES_VERSION} ${stamp}Major=${major} ${stamp}Minor=${minor}`,
    report,
  }, {
    module: `${import.meta.dirname}/containerd`,
    cache: `${cache}/containerd`,
    programs: OF_CONTAINERD,
    ldflags: "-s -w",
    report,
  }];
}

if (import.meta.main) {
  for (const [name, path] of Object.entries(await buildNode())) console.log(`${name}: ${path}`);
}
