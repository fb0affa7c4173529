import { buildControlPlane, findKubectl, type Program } from "./build_control_plane.ts";
import { freePorts } from "./free_ports.ts";
import { findTrustManager } from "./installed_trust_manager.ts";
import { isReady } from "./is_ready.ts";
import { RestClient } from "./rest_client.ts";
import { ServerProcess } from "./server_process.ts";

/** How to start a control plane. */
export interface ControlPlaneOptions {
  /**
   * YAML that is applied before the controllers start. Custom resource definitions belong here: the garbage collector
   * looks for new kinds only every 30 s after its start.
   */
  readonly manifests?: readonly string[];
  /** More flags of kube-apiserver. */
  readonly apiServerArgs?: readonly string[];
  /**
   * A kubeconfig file of a cluster of the user's own, to be used instead. Default `$TEST_KUBECONFIG`; unset or empty means to
   * start a control plane.
   */
  readonly kubeconfig?: string;
  /** Lets the processes outlive this one; {@linkcode ControlPlane.stop} still ends them. Default false. */
  readonly outlive?: boolean;
  /** Is given lines of progress while programs are built. By default they go to standard error. */
  readonly report?: (line: string) => void;
}

/** A running API server with what it needs, and no nodes. */
export interface ControlPlane extends AsyncDisposable {
  /** Base URL. */
  readonly server: string;
  /** Kubeconfig file of a cluster administrator. */
  readonly kubeconfig: string;
  /** Path of the kubectl command. */
  readonly kubectl: string;
  /** Directory for files that go with the control plane; removed with it. */
  readonly dir: string;
  /** A client with an administrator's rights. */
  readonly admin: RestClient;
  /** Only of a control plane that was started here, not of a cluster of the user's own. */
  readonly own?: OwnControlPlane;
  /** Ends the processes and removes {@linkcode dir}. A second call does nothing. */
  stop(): Promise<void>;
}

/** What can be done to a control plane that was started here. */
export interface OwnControlPlane {
  /** CA certificates of the API server, PEM. */
  readonly caFile: string;
  /** One JSON line a request, see audit.ts. */
  readonly auditLog: string;
  /** Process ids at this moment. */
  readonly pids: () => Readonly<Record<"etcd" | "kube-apiserver" | "kube-controller-manager", number>>;
  /**
   * Ends the API server and starts it again, with the same address and state. All connections break.
   *
   * @param signal `SIGTERM`, the default, ends watches properly.
   */
  readonly restartApiServer: (signal?: "SIGTERM" | "SIGKILL") => Promise<void>;
  /** Kills etcd and starts it again, with the same address and state. */
  readonly restartEtcd: () => Promise<void>;
  /** Drops etcd's history up to now, and returns when its space is free again. Watches go on; they are served from memory. */
  readonly compactEtcd: () => Promise<void>;
  /**
   * Gives the API server a new serving certificate of a new CA, and restarts it and the controllers. `admin`, {@linkcode caFile} and
   * the administrator's kubeconfig are those of the new CA from then on; what others have of the old one is worth nothing.
   */
  readonly replaceServingCa: () => Promise<void>;
}

/**
 * Starts etcd, kube-apiserver and kube-controller-manager on free ports of 127.0.0.1, with an empty state of their own, and
 * returns when all three work. Builds the programs first where they are not there yet.
 *
 * As close to a cluster as is possible without nodes: RBAC, audit log, service accounts with bound tokens, namespace
 * deletion, garbage collection, quotas. Also turns on the admission plugin OwnerReferencesPermissionEnforcement, which
 * OpenShift has. The service range is 127.1.0.0/16, so that this machine can serve a Service.
 *
 * @throws {Error} with the end of the log of the program that did not start, or if trust-manager is installed in the user's own cluster.
 * @throws {GoToolchainError} {GoBuildError} if the programs cannot be built.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const kubeconfig = options.kubeconfig ?? Deno.env.get("TEST_KUBECONFIG");
  if (kubeconfig) return await useCluster(kubeconfig, options);

  const programs = await buildControlPlane(options.report);
  // A port that was free may be taken by the time it is used.
  for (let attempt = 1;; attempt++) {
    const launch = new Launch(programs, options);
    try {
      return await launch.run();
    } catch (error) {
      await launch.stop();
      const clash = error instanceof Error && error.message.includes("address already in use");
      if (!clash || attempt === 3) throw error;
    }
  }
}

/** Takes a cluster of the user's own. */
async function useCluster(kubeconfig: string, options: ControlPlaneOptions): Promise<ControlPlane> {
  const admin = await RestClient.fromKubeconfig(kubeconfig);
  // Its Bundles would be taken for those of tests, and its namespaces be written to.
  const installed = (await findTrustManager(admin)).find(({ kind }) => kind === "Deployment");
  if (installed !== undefined) {
    admin[Symbol.dispose]();
    throw new Error(`${admin.config.server} is not for tests: ${installed.text}`);
  }
  const kubectl = await findKubectl(options.report);
  const dir = await Deno.makeTempDir({ prefix: "trust-manager-cluster-" });
  for (const manifest of options.manifests ?? []) await admin.apply(manifest);
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    admin[Symbol.dispose]();
    await Deno.remove(dir, { recursive: true });
  };
  return { server: admin.config.server, kubeconfig, kubectl, dir, admin, stop, [Symbol.asyncDispose]: stop };
}

const CONTROLLERS = [
  "namespace-controller",
  "garbage-collector-controller",
  "serviceaccount-controller",
  "serviceaccount-token-controller",
  "root-ca-certificate-publisher-controller",
  "resourcequota-controller",
];

/**
 * One line for each request of others than the control plane itself, once its answer has been sent; for a watch, once it
 * has begun.
 */
const AUDIT_POLICY = {
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  rules: [
    { level: "None", users: ["system:apiserver", "kube-controller-manager"] },
    { level: "Metadata", verbs: ["watch"], omitStages: ["RequestReceived", "ResponseComplete"] },
    { level: "Metadata", omitStages: ["RequestReceived", "ResponseStarted"] },
  ],
};

/** A control plane, from nothing to running. */
class Launch {
  readonly #programs: Readonly<Record<Program, string>>;
  readonly #options: ControlPlaneOptions;
  readonly #processes = new Map<Program, ServerProcess>();
  #dir = "";
  #admin: RestClient | undefined;

  constructor(programs: Readonly<Record<Program, string>>, options: ControlPlaneOptions) {
    this.#programs = programs;
    this.#options = options;
  }

  async run(): Promise<ControlPlane> {
    const dir = this.#dir = await Deno.makeTempDir({ prefix: "trust-manager-control-plane-" });
    const [etcdPort, port] = freePorts(2);
    const etcdUrl = `http://127.0.0.1:${etcdPort}`;
    const server = `https://127.0.0.1:${port}`;
    const caFile = `${dir}/certs/apiserver.crt`;
    const auditLog = `${dir}/audit.log`;
    const [adminToken, controllerToken] = [randomToken(), randomToken()];
    await Promise.all([
      Deno.writeTextFile(`${dir}/service-account.key`, await newPrivateKey(), { mode: 0o600 }),
      Deno.writeTextFile(`${dir}/audit-policy.yaml`, JSON.stringify(AUDIT_POLICY)),
      Deno.writeTextFile(
        `${dir}/tokens.csv`,
        `${adminToken},admin,admin,system:masters\n` +
          `${controllerToken},kube-controller-manager,kube-controller-manager,system:masters\n`,
        { mode: 0o600 },
      ),
    ]);

    const startEtcd = async () => {
      const etcd = this.#start("etcd", [
        `--data-dir=${dir}/etcd`,
        `--listen-client-urls=${etcdUrl}`,
        `--advertise-client-urls=${etcdUrl}`,
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=error",
      ]);
      await etcd.waitUntil("it is healthy", () => isReady(`${etcdUrl}/health`));
    };
    await startEtcd();
    const startApiServer = async (): Promise<RestClient> => {
      const process = this.#start("kube-apiserver", [
        `--etcd-servers=${etcdUrl}`,
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        `--secure-port=${port}`,
        `--cert-dir=${dir}/certs`,
        "--authorization-mode=RBAC",
        `--token-auth-file=${dir}/tokens.csv`,
        `--service-account-key-file=${dir}/service-account.key`,
        `--service-account-signing-key-file=${dir}/service-account.key`,
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=127.1.0.0/16",
        "--endpoint-reconciler-type=none",
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
        `--audit-policy-file=${dir}/audit-policy.yaml`,
        `--audit-log-path=${auditLog}`,
        "--audit-log-mode=blocking-strict",
        "--audit-log-maxsize=0",
        ...this.#options.apiServerArgs ?? [],
      ]);
      // The API server makes its certificate by itself, and a CA for it, if there is none.
      await process.waitUntil("its certificate is there", () => exists(caFile));
      const caCertificates = await Deno.readTextFile(caFile);
      const admin = this.#admin ??= new RestClient({ server, caCertificates, token: adminToken });
      admin.reconnect({ caCertificates });
      await process.waitUntil("it is ready", () => answers(admin, "/readyz"));
      await process.waitUntil(
        "namespace default is there",
        () => answers(admin, "/api/v1/namespaces/default"),
      );
      return admin;
    };
    const admin = await startApiServer();
    for (const manifest of this.#options.manifests ?? []) await admin.apply(manifest);

    const kubeconfig = `${dir}/kubeconfig.yaml`;
    const startControllers = async () => {
      await writeKubeconfig(kubeconfig, admin, adminToken);
      await writeKubeconfig(`${dir}/controllers.yaml`, admin, controllerToken);
      const controllers = this.#start("kube-controller-manager", [
        `--kubeconfig=${dir}/controllers.yaml`,
        `--controllers=${CONTROLLERS.join(",")}`,
        `--service-account-private-key-file=${dir}/service-account.key`,
        `--root-ca-file=${caFile}`,
        "--use-service-account-credentials=false",
        "--leader-elect=false",
        "--secure-port=0",
        // So that hundreds of namespaces come and go quickly.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-namespace-syncs=20",
        "--concurrent-gc-syncs=20",
      ]);
      await controllers.waitUntil(
        "it publishes the root CA",
        () => answers(admin, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt"),
      );
    };
    await startControllers();

    const stop = () => this.stop();
    return {
      server,
      kubeconfig,
      kubectl: this.#programs.kubectl,
      dir,
      admin,
      own: {
        caFile,
        auditLog,
        pids: () => ({
          "etcd": this.#process("etcd").pid,
          "kube-apiserver": this.#process("kube-apiserver").pid,
          "kube-controller-manager": this.#process("kube-controller-manager").pid,
        }),
        restartApiServer: async (signal = "SIGTERM") => {
          // Time to end the watches properly, but not to wait until the last idle connection is gone.
          await this.#process("kube-apiserver").end(signal, 2_000);
          await startApiServer();
        },
        restartEtcd: async () => {
          await this.#process("etcd").end("SIGKILL");
          await startEtcd();
        },
        compactEtcd: () => compactEtcd(etcdUrl),
        replaceServingCa: async () => {
          await Promise.all([
            this.#process("kube-apiserver").end("SIGKILL"),
            this.#process("kube-controller-manager").end("SIGKILL"),
          ]);
          // It makes another pair, and another CA.
          await Deno.remove(`${dir}/certs`, { recursive: true });
          await startApiServer();
          await startControllers();
        },
      },
      stop,
      [Symbol.asyncDispose]: stop,
    };
  }

  /** Ends what has been started, and removes the directory. */
  async stop(): Promise<void> {
    const processes = [...this.#processes.values()];
    this.#processes.clear();
    // Nothing is to be saved.
    await Promise.all(processes.map((process) => process.end("SIGKILL")));
    this.#admin?.[Symbol.dispose]();
    this.#admin = undefined;
    if (this.#dir !== "") await Deno.remove(this.#dir, { recursive: true });
    this.#dir = "";
  }

  #start(name: Program, args: readonly string[]): ServerProcess {
    const process = ServerProcess.start({
      name,
      program: this.#programs[name],
      args,
      logFile: `${this.#dir}/${name}.log`,
      outlive: this.#options.outlive ?? false,
    });
    this.#processes.set(name, process);
    return process;
  }

  #process(name: Program): ServerProcess {
    const process = this.#processes.get(name);
    if (process === undefined) throw new Error(`${name} is not running: the control plane was stopped`);
    return process;
  }
}

/** Writes a kubeconfig file for the cluster of `client` and another token. */
export async function writeKubeconfig(path: string, client: RestClient, token: string): Promise<void> {
  const { server, caCertificates } = client.config;
  const ca = caCertificates === undefined
    ? {}
    : { "certificate-authority-data": new TextEncoder().encode(caCertificates).toBase64() };
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    clusters: [{ name: "test", cluster: { server, ...ca } }],
    users: [{ name: "test", user: { token } }],
  };
  // JSON is YAML.
  await Deno.writeTextFile(path, JSON.stringify(kubeconfig, null, 2) + "\n", { mode: 0o600 });
}

function randomToken(): string {
  return crypto.getRandomValues(new Uint8Array(24)).toHex();
}

/** PEM of a new RSA key (PKCS#8), to sign the tokens of service accounts with. */
async function newPrivateKey(): Promise<string> {
  const pair = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign"],
  );
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const lines = der.toBase64().match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).size > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Whether the API server answers with success; not while it does not listen yet. */
async function answers(client: RestClient, path: string): Promise<boolean> {
  try {
    await client.text(path);
    return true;
  } catch {
    return false;
  }
}

/** By etcd's JSON gateway (etcd API reference, KV.Range and KV.Compact). */
async function compactEtcd(etcdUrl: string): Promise<void> {
  const post = async (path: string, body: unknown): Promise<string> => {
    const response = await fetch(`${etcdUrl}/v3/kv/${path}`, { method: "POST", body: JSON.stringify(body) });
    const text = await response.text();
    // Nothing has been written since the last time.
    if (!response.ok && !text.includes("required revision has been compacted")) {
      throw new Error(`etcd refused ${path} with ${response.status}: ${text}`);
    }
    return text;
  };
  const { header: { revision } } = JSON.parse(await post("range", { key: btoa("\0"), limit: 1 }));
  await post("compaction", { revision, physical: true });
}
