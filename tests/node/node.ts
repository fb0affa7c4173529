import { type ControlPlane, writeKubeconfig } from "../cluster/control_plane.ts";
import { freePort } from "../cluster/free_ports.ts";
import { RestClient } from "../cluster/rest_client.ts";
import { ServerProcess } from "../cluster/server_process.ts";
import { buildNode } from "./build_node.ts";
import { makeCgroups, removeCgroups } from "./cgroups.ts";
import { ensurePackages, type Needed } from "./debian_packages.ts";
import { makeImage } from "./image.ts";
import { FILES, type InsideOptions, PAUSE_IMAGE } from "./inside.ts";
import { exists } from "../project_files.ts";
import { until } from "../until.ts";

/** How to start a node. */
export interface NodeOptions {
  /** Archives of images that pods may use, as {@linkcode makeImage} and `docker save` write them. Nothing can be pulled. */
  readonly images?: readonly string[];
  /** Lets the processes outlive this one; {@linkcode ClusterNode.stop} and {@linkcode endNode} still end them. Default false. */
  readonly outlive?: boolean;
  /** Gives the start up: what has been started is ended, and the reason thrown. Of no effect once the node runs. */
  readonly signal?: AbortSignal;
  /** Is given lines of progress. By default they go to standard error. */
  readonly report?: (line: string) => void;
}

/** A cluster of one node that runs pods. */
export interface ClusterNode
  extends Pick<ControlPlane, "server" | "kubeconfig" | "kubectl" | "dir" | "admin">, AsyncDisposable {
  /** One JSON line for each request of others than administrators and the node. */
  readonly auditLog: string;
  /** What {@linkcode endNode} needs. */
  readonly record: NodeRecord;
  /** Ends all processes, takes down namespaces and mounts, and removes {@linkcode dir}. A second call does nothing. */
  stop(): Promise<void>;
}

/** What is to be known of a node to end it. */
export interface NodeRecord {
  readonly dir: string;
  /** Process ids, of what holds the namespaces and of what leads to the API server. */
  readonly pids: readonly number[];
}

/** What a node needs of the machine. */
export const NODE_PACKAGES: readonly Needed[] = [
  { anyOf: ["/usr/lib/cni/bridge", "/opt/cni/bin/bridge"], package: "containernetworking-plugins" },
  {
    anyOf: ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc", "/usr/local/bin/runc"],
    package: "runc",
  },
  { anyOf: ["/usr/sbin/iptables", "/sbin/iptables"], package: "iptables" },
  { anyOf: ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"], package: "iproute2" },
  { anyOf: ["/usr/sbin/sysctl", "/sbin/sysctl"], package: "procps" },
  { anyOf: ["/usr/bin/openssl"], package: "openssl" },
];

/** Namespaces of their own for processes, network and mounts. All that is in them goes with their first process, and that with `unshare`. */
const UNSHARE = [
  "--net",
  "--mount",
  "--propagation=private",
  "--pid",
  "--fork",
  "--kill-child",
  "--mount-proc",
];

/** The first process also buries what its children leave behind. */
const FIRST_PROCESS = ["sh", "-c", '"$@" & wait $!', "sh"];

/**
 * Starts a cluster of one node: etcd, API server, controllers, scheduler, kubelet, containerd and kube-proxy, in namespaces of their
 * own. Pods really run, and Services, probes, security contexts and image volumes work; there is no DNS, and nothing reaches the
 * machine's network. Returns when pods can be created. From outside, only the API server is reached, at a port of 127.0.0.1.
 *
 * Takes root on Linux. On Debian and its kin, missing packages are installed.
 *
 * @throws {Error} that says what is missing, or with the end of the log of what did not start.
 * @throws the reason of `signal`.
 * @throws {GoToolchainError} {GoBuildError} if the programs cannot be built.
 */
export async function startNode(options: NodeOptions = {}): Promise<ClusterNode> {
  const { images = [], outlive = false, signal, report = (line) => console.error(line) } = options;
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) {
    throw new Error("Cannot start a node: that takes root on Linux, for namespaces of its own");
  }
  await ensurePackages(NODE_PACKAGES, report);
  const programs = await buildNode(report);
  signal?.throwIfAborted();

  const dir = await Deno.makeTempDir({ prefix: "trust-manager-node-" });
  const cgroup = `/${dir.replace(/.*\//, "")}`;
  const processes: ServerProcess[] = [];
  const record = () => ({ dir, pids: processes.map(({ pid }) => pid) });
  const start = (name: string, args: readonly string[], program = Deno.execPath()) => {
    const process = ServerProcess.start({ name, program, args, logFile: `${dir}/${name}.log`, outlive });
    processes.push(process);
    return process;
  };
  let admin: RestClient | undefined;
  const stop = async () => {
    admin?.[Symbol.dispose]();
    admin = undefined;
    await endNode(record());
    await Promise.all(processes.splice(0).map(({ ended }) => ended));
  };
  try {
    await makeCgroups(cgroup);
    await Deno.mkdir(`${dir}/${FILES.images}`);
    await makeImage(`${dir}/${FILES.images}/pause.tar`, {
      reference: PAUSE_IMAGE,
      files: { "/pause": { from: programs.pause } },
      entrypoint: ["/pause"],
      user: "65535:65535",
    });
    for (const [index, image] of images.entries()) {
      await Deno.symlink(await Deno.realPath(image), `${dir}/${FILES.images}/${index}.tar`);
    }
    const inside: InsideOptions = { dir, programs, cgroup, adminToken: token(), nodeToken: token() };
    await Deno.writeTextFile(`${dir}/inside.json`, JSON.stringify(inside), { mode: 0o600 });
    const unlessAborted = (condition: () => Promise<boolean>) => () => {
      signal?.throwIfAborted();
      return condition();
    };

    const script = (name: string) => `${import.meta.dirname}/${name}`;
    const deno = [Deno.execPath(), "run", "--allow-all", "--no-check"];
    const node = start(
      "node",
      [...UNSHARE, ...FIRST_PROCESS, ...deno, script("inside.ts"), `${dir}/inside.json`],
      "unshare",
    );
    report(`Starting a node in ${dir}`);
    await node.waitUntil(
      "pods can be run",
      unlessAborted(() => exists(`${dir}/${FILES.ready}`)),
      120_000,
    );

    const port = freePort();
    const [, ...args] = deno;
    const server = `https://localhost:${port}`;
    const forwarder = start("forward", [
      ...args,
      script("forward.ts"),
      String(port),
      `${dir}/${FILES.apiSocket}`,
    ]);
    admin = new RestClient({
      server,
      caCertificates: await Deno.readTextFile(`${dir}/${FILES.caCertificate}`),
      token: inside.adminToken,
    });
    const client = admin;
    await forwarder.waitUntil(
      "the API server answers",
      unlessAborted(() => client.text("/readyz").then(() => true, () => false)),
    );
    const kubeconfig = `${dir}/kubeconfig.yaml`;
    await writeKubeconfig(kubeconfig, client, inside.adminToken);
    return {
      server,
      kubeconfig,
      kubectl: programs.kubectl,
      dir,
      admin,
      auditLog: `${dir}/${FILES.auditLog}`,
      record: record(),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Gives a node that runs more images, or newer ones of the same name, which new pods take. As `images` of {@linkcode NodeOptions}. */
export async function loadImages({ dir }: NodeRecord, images: readonly string[]): Promise<void> {
  const { ctr } = await buildNode();
  for (const image of images) {
    const { success, stderr } = await new Deno.Command(ctr, {
      args: [`--address=${dir}/containerd.sock`, "--namespace=k8s.io", "images", "import", image],
      stdin: "null",
      stdout: "null",
    }).output();
    if (!success) {
      throw new Error(`Failed to load ${image} into the node: ${new TextDecoder().decode(stderr).trim()}`);
    }
  }
}

/** Ends a node that was started here or by another process, with all that is in it. One that has ended is fine. */
export async function endNode({ dir, pids }: NodeRecord): Promise<void> {
  for (const pid of pids) {
    // The numbers may be those of others by now.
    if (!(await commandLine(pid)).includes(dir)) continue;
    // With the first process of its namespace, the kernel ends all others.
    const children = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`).catch(() => "");
    const targets = [...children.trim().split(" ").filter(Boolean).map(Number), pid];
    targets.forEach(kill);
    // The first process of a namespace is gone when all others are.
    for (const target of targets) await until(() => hasEnded(target), `process ${target} has ended`);
  }
  await removeCgroups(`/${dir.replace(/.*\//, "")}`);
  await Deno.remove(dir, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Empty if there is no such process, or it has ended. */
async function commandLine(pid: number): Promise<string> {
  return await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
}

/** Whether there is no such process any more, or nobody but a parent that has yet to ask how it ended (proc(5), state Z). */
async function hasEnded(pid: number): Promise<boolean> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "");
  return stat === "" || /\) [ZX] [^)]*$/.test(stat);
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function token(): string {
  return crypto.getRandomValues(new Uint8Array(24)).toHex();
}
