import { freePorts } from "../cluster/free_ports.ts";
import { isReady } from "../cluster/is_ready.ts";
import { ServerProcess } from "../cluster/server_process.ts";
import { buildPeer } from "./build_peer.ts";

/** How to start the Go trust-manager. */
export interface PeerOptions {
  /** Kubeconfig file; its user's rights are all that the peer has. */
  readonly kubeconfig: string;
  /** Default `cert-manager`. */
  readonly trustNamespace?: string;
  /** More flags. */
  readonly args?: readonly string[];
}

/** A running Go trust-manager. */
export interface Peer extends AsyncDisposable {
  readonly pid: number;
  /** `https://127.0.0.1:<port>` of its webhook. */
  readonly webhookUrl: string;
  /** CA certificates of the webhook, PEM. */
  readonly webhookCa: string;
  /** `http://127.0.0.1:<port>/metrics`. */
  readonly metricsUrl: string;
  /** The end of its log. */
  log(lines?: number): Promise<string>;
  /** Ends it as Kubernetes would, with SIGTERM. A second call does nothing. */
  stop(): Promise<void>;
}

/**
 * Starts the real Go trust-manager, without leader election, and returns when it is ready: it then has its first lists. The
 * webhook has a throw-away certificate, made with openssl.
 *
 * @throws {Error} with the end of its log, if it does not become ready.
 */
export async function startPeer(options: PeerOptions): Promise<Peer> {
  const program = await buildPeer();
  const dir = await Deno.makeTempDir({ prefix: "trust-manager-peer-" });
  let server: ServerProcess | undefined;
  const stop = async () => {
    await server?.end("SIGTERM");
    server = undefined;
    await Deno.remove(dir, { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  };
  try {
    await makeCertificate(dir);
    const [webhook, metrics, probes] = freePorts(3);
    server = ServerProcess.start({
      name: "peer",
      program,
      logFile: `${dir}/peer.log`,
      args: [
        `--kubeconfig=${options.kubeconfig}`,
        `--trust-namespace=${options.trustNamespace ?? "cert-manager"}`,
        "--leader-elect=false",
        "--webhook-host=127.0.0.1",
        `--webhook-port=${webhook}`,
        `--webhook-certificate-dir=${dir}`,
        `--metrics-port=${metrics}`,
        `--readiness-probe-port=${probes}`,
        ...options.args ?? [],
      ],
    });
    const started = server;
    await started.waitUntil("it is ready", () => isReady(`http://127.0.0.1:${probes}/readyz`));
    return {
      pid: started.pid,
      webhookUrl: `https://127.0.0.1:${webhook}`,
      webhookCa: await Deno.readTextFile(`${dir}/tls.crt`),
      metricsUrl: `http://127.0.0.1:${metrics}/metrics`,
      log: (lines) => started.logTail(lines),
      stop,
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function makeCertificate(dir: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("openssl", {
    args: ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
      .concat("-keyout", `${dir}/tls.key`, "-out", `${dir}/tls.crt`)
      .concat("-subj", "/CN=trust-manager", "-addext", "subjectAltName=IP:127.0.0.1"),
    stdin: "null",
    stdout: "null",
  }).output();
  if (!success) throw new Error(`Failed to make a certificate: ${new TextDecoder().decode(stderr)}`);
}
