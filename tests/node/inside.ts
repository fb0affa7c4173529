/**
 * What runs inside of the namespaces of a node, started by node.ts: `inside.ts FILE`, where the file holds {@linkcode InsideOptions}.
 * Makes the machine look as the kubelet wants it, starts all that a node and its control plane consist of, loads images, and says
 * that it is ready by a file. When it ends, all ends.
 */
import type { Program } from "../cluster/build_control_plane.ts";
import { isReady } from "../cluster/is_ready.ts";
import { RestClient } from "../cluster/rest_client.ts";
import { ServerProcess } from "../cluster/server_process.ts";
import type { NodeProgram } from "./build_node.ts";
import { forward } from "./forward.ts";

/** What {@linkcode startInside} works with. */
export interface InsideOptions {
  /** Directory for all files. */
  readonly dir: string;
  readonly programs: Readonly<Record<Program | NodeProgram, string>>;
  /** Control group that pods are put in, below the root. */
  readonly cgroup: string;
  readonly adminToken: string;
  readonly nodeToken: string;
}

/** Names of files in {@linkcode InsideOptions.dir}. */
export const FILES = {
  /** Archives of images to be loaded. */
  images: "images",
  /** There once pods can be run. */
  ready: "ready",
  /** Leads to the API server, from any network namespace. */
  apiSocket: "api.sock",
  /** Certificate of the API server, which is its own CA. */
  caCertificate: "certs/apiserver.crt",
  auditLog: "audit.log",
} as const;

/** The image that holds the namespaces of each pod. */
export const PAUSE_IMAGE = "localhost/pause:1";

const NODE = "node";
const NODE_IP = "10.250.0.1";
/** Address of the Service `kubernetes`. The API server listens at it, so that pods reach it even before kube-proxy has started. */
const API_IP = "10.96.0.1";
const SERVICE_RANGE = "10.96.0.0/16";
const POD_RANGE = "10.244.0.0/24";
const ETCD = "http://127.0.0.1:2379";

/** What the kubelet sets for the whole machine, and here must only find. */
const KERNEL_SETTINGS = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

/** Starts everything. Returns when the node is ready. */
async function startInside(options: InsideOptions): Promise<void> {
  const { dir, programs } = options;
  const start = (name: string, program: string, args: readonly string[], env = {}) =>
    ServerProcess.start({ name, program, args, env, logFile: `${dir}/${name}.log` });

  await prepareMounts(dir);
  await prepareNetwork();
  await writeFiles(options);

  const etcd = start("etcd", programs["etcd"], [
    `--data-dir=${dir}/etcd`,
    `--listen-client-urls=${ETCD}`,
    `--advertise-client-urls=${ETCD}`,
    "--listen-peer-urls=http://127.0.0.1:0",
    "--unsafe-no-fsync",
    "--log-level=error",
  ]);
  const containerdPath = programs["containerd"].replace(/\/[^/]*$/, "");
  const containerd = start("containerd", programs["containerd"], [`--config=${dir}/containerd.toml`], {
    PATH: `${containerdPath}:${Deno.env.get("PATH") ?? ""}`,
  });
  const ctr = (...args: string[]) =>
    run(programs["ctr"], `--address=${dir}/containerd.sock`, "--namespace=k8s.io", ...args);
  await containerd.waitUntil("it answers", () => ctr("version").then(() => true, () => false));
  const images = Array.fromAsync(Deno.readDir(`${dir}/${FILES.images}`)).then(async (entries) => {
    for (const { name } of entries) await ctr("images", "import", `${dir}/${FILES.images}/${name}`);
  });

  await etcd.waitUntil("it is healthy", () => isReady(`${ETCD}/health`));
  const apiServer = start("kube-apiserver", programs["kube-apiserver"], [
    `--etcd-servers=${ETCD}`,
    "--bind-address=0.0.0.0",
    `--advertise-address=${NODE_IP}`,
    "--secure-port=443",
    `--cert-dir=${dir}/certs`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
    `--token-auth-file=${dir}/tokens.csv`,
    `--service-account-key-file=${dir}/service-account.key`,
    `--service-account-signing-key-file=${dir}/service-account.key`,
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-cluster-ip-range=${SERVICE_RANGE}`,
    "--allow-privileged=true",
    // Asks webhooks at the addresses of their pods, as if it were no pod itself.
    "--enable-aggregator-routing=true",
    "--kubelet-preferred-address-types=InternalIP",
    `--audit-policy-file=${dir}/audit-policy.json`,
    `--audit-log-path=${dir}/${FILES.auditLog}`,
    "--audit-log-maxsize=0",
  ]);
  await apiServer.waitUntil("its certificate is there", () => exists(`${dir}/${FILES.caCertificate}`));
  using admin = await RestClient.fromKubeconfig(`${dir}/admin.json`);
  const answers = (path: string) => () => admin.text(path).then(() => true, () => false);
  await apiServer.waitUntil("it is ready", answers("/readyz"));

  start("kube-controller-manager", programs["kube-controller-manager"], [
    `--kubeconfig=${dir}/admin.json`,
    `--root-ca-file=${dir}/${FILES.caCertificate}`,
    `--service-account-private-key-file=${dir}/service-account.key`,
    "--use-service-account-credentials=false",
    "--leader-elect=false",
    "--secure-port=0",
  ]);
  start("kube-scheduler", programs["kube-scheduler"], [
    `--kubeconfig=${dir}/admin.json`,
    "--leader-elect=false",
    "--secure-port=0",
  ]);
  await images;
  const kubelet = start("kubelet", programs["kubelet"], [
    `--config=${dir}/kubelet-config.json`,
    `--kubeconfig=${dir}/kubelet.json`,
    `--root-dir=${dir}/kubelet`,
    `--cert-dir=${dir}/kubelet-certs`,
    `--hostname-override=${NODE}`,
    `--node-ip=${NODE_IP}`,
  ]);
  start("kube-proxy", programs["kube-proxy"], [
    `--kubeconfig=${dir}/admin.json`,
    `--hostname-override=${NODE}`,
    "--proxy-mode=iptables",
    `--cluster-cidr=${POD_RANGE}`,
    // Settings of the whole machine.
    "--conntrack-max-per-core=0",
    "--conntrack-tcp-timeout-established=0",
    "--conntrack-tcp-timeout-close-wait=0",
  ]);
  await kubelet.waitUntil("its node is ready", () => isNodeReady(admin));
  await kubelet.waitUntil(
    "pods can have tokens",
    answers("/api/v1/namespaces/default/configmaps/kube-root-ca.crt"),
  );
  await kubelet.waitUntil(
    "pods can be created",
    answers("/api/v1/namespaces/default/serviceaccounts/default"),
  );
}

/** What programs write to fixed places of the machine goes to places of this mount namespace. */
async function prepareMounts(dir: string): Promise<void> {
  for (const path of ["/run", "/var/log", "/var/lib/kubelet", "/var/lib/cni"]) {
    await Deno.mkdir(path, { recursive: true });
    await run("mount", "-t", "tmpfs", "none", path);
  }
  await Deno.mkdir(`${dir}/kernel-settings`);
  for (const [setting, value] of Object.entries(KERNEL_SETTINGS)) {
    const file = `${dir}/kernel-settings/${setting.replaceAll("/", ".")}`;
    await Deno.writeTextFile(file, `${value}\n`);
    await run("mount", "--bind", file, `/proc/sys/${setting}`);
  }
}

async function prepareNetwork(): Promise<void> {
  await run("ip", "link", "set", "lo", "up");
  await run("ip", "link", "add", "node0", "type", "bridge");
  for (const address of [`${NODE_IP}/24`, `${API_IP}/32`]) {
    await run("ip", "address", "add", address, "dev", "node0");
  }
  await run("ip", "link", "set", "node0", "up");
  await run("ip", "route", "add", SERVICE_RANGE, "dev", "node0");
  await run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1");
}

async function writeFiles({ dir, cgroup, adminToken, nodeToken }: InsideOptions): Promise<void> {
  // JSON is YAML, and TOML has to be written by hand.
  const write = (name: string, content: unknown) =>
    Deno.writeTextFile(
      `${dir}/${name}`,
      typeof content === "string" ? content : JSON.stringify(content, null, 1),
      { mode: 0o600 },
    );
  await run("openssl", "genrsa", "-out", `${dir}/service-account.key`, "2048");
  await write(
    "tokens.csv",
    `${adminToken},admin,admin,system:masters\n${nodeToken},system:node:${NODE},node,system:nodes\n`,
  );
  await write("admin.json", kubeconfig(dir, adminToken));
  await write("kubelet.json", kubeconfig(dir, nodeToken));
  await write("audit-policy.json", {
    apiVersion: "audit.k8s.io/v1",
    kind: "Policy",
    rules: [{ level: "None", userGroups: ["system:masters", "system:nodes"] }, {
      level: "Metadata",
      omitStages: ["RequestReceived", "ResponseStarted"],
    }],
  });
  await write("resolv.conf", "nameserver 127.0.0.1\n");
  await Deno.mkdir(`${dir}/cni`);
  await write("cni/node.conflist", {
    cniVersion: "0.4.0",
    name: NODE,
    plugins: [{
      type: "bridge",
      bridge: "cni0",
      isGateway: true,
      hairpinMode: true,
      ipam: {
        type: "host-local",
        dataDir: `${dir}/cni-addresses`,
        ranges: [[{ subnet: POD_RANGE }]],
        routes: [{ dst: "0.0.0.0/0" }],
      },
    }, { type: "portmap", capabilities: { portMappings: true } }],
  });
  await write("containerd.toml", containerdConfig(dir));
  await write("kubelet-config.json", {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    containerRuntimeEndpoint: `unix://${dir}/containerd.sock`,
    cgroupDriver: "cgroupfs",
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    // Nothing but this node's own pods can reach it.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    resolvConf: `${dir}/resolv.conf`,
    clusterDomain: "cluster.local",
    volumePluginDir: `${dir}/volume-plugins`,
    podLogsDir: `${dir}/pod-logs`,
    makeIPTablesUtilChains: false,
    // Tests look at secrets and probes often, and fill disks.
    syncFrequency: "5s",
    configMapAndSecretChangeDetectionStrategy: "Watch",
    imageGCHighThresholdPercent: 100,
    evictionHard: { "nodefs.available": "0%", "imagefs.available": "0%", "memory.available": "50Mi" },
  });
}

function kubeconfig(dir: string, token: string): unknown {
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": NODE,
    contexts: [{ name: NODE, context: { cluster: NODE, user: NODE } }],
    clusters: [{
      name: NODE,
      cluster: { server: `https://${NODE_IP}:443`, "certificate-authority": `${dir}/${FILES.caCertificate}` },
    }],
    users: [{ name: NODE, user: { token } }],
  };
}

function containerdConfig(dir: string): string {
  return `
version = 3
root = "${dir}/containerd/root"
state = "${dir}/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${dir}/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "${PAUSE_IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
  # Lowering it takes a right that containers lack that are machines themselves.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni", "/opt/cni/bin"]
    conf_dir = "${dir}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
}

async function isNodeReady(admin: RestClient): Promise<boolean> {
  type Node = { status?: { conditions?: { type: string; status: string }[] } };
  const node = await admin.get<Node>(`/api/v1/nodes/${NODE}`);
  return node?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
}

/** @throws {Error} with what it said, if it fails. */
async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args, stdin: "null", stdout: "null" })
    .output();
  if (!success) {
    throw new Error(`${command} ${args.join(" ")} failed: ${new TextDecoder().decode(stderr).trim()}`);
  }
}

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(({ size }) => size > 0, () => false);
}

if (import.meta.main) {
  const options: InsideOptions = JSON.parse(await Deno.readTextFile(Deno.args[0] ?? ""));
  const socket = Deno.listen({ transport: "unix", path: `${options.dir}/${FILES.apiSocket}` });
  await startInside(options);
  await Deno.writeTextFile(`${options.dir}/${FILES.ready}`, "ready\n");
  await forward(socket, () => Deno.connect({ hostname: NODE_IP, port: 443 }));
}
