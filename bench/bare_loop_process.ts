import { BUNDLE_API_VERSION, BUNDLE_LABEL, HASH_ANNOTATION } from "../lib/api/bundle.ts";
import { RestClient } from "../tests/cluster/rest_client.ts";
import type { BareLoopOrder } from "./bare_loop.ts";
import type { BenchCluster } from "./bench_cluster.ts";
import { TextLineStream } from "./text_line_stream.ts";
import type { TargetData } from "./trust_content.ts";

const PROGRAM = new URL("./bare_loop.ts", import.meta.url).pathname;

/** A bare loop, ready to start. It ends with this process, or when it is disposed of. */
export class BareLoopProcess implements AsyncDisposable {
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: ReadableStreamDefaultReader<string>;

  private constructor(child: Deno.ChildProcess) {
    this.pid = child.pid;
    this.#child = child;
    this.#input = child.stdin.getWriter();
    this.#output = child.stdout
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream())
      .getReader();
  }

  /**
   * Starts the process, which then waits.
   *
   * @param bundle owner of what is written.
   * @param atOnce how many requests are on their way at the same time.
   */
  static async start(
    cluster: BenchCluster,
    bundle: { readonly name: string; readonly uid: string },
    target: TargetData,
    atOnce: number,
  ): Promise<BareLoopProcess> {
    using client = await RestClient.fromKubeconfig(cluster.kubeconfig);
    const { server, caCertificates = "", token = "" } = client.config;
    const order: BareLoopOrder = {
      server,
      caCertificates,
      token,
      namespaces: cluster.namespaces,
      name: bundle.name,
      body: bodyOf(bundle, target),
      atOnce,
    };
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-net=127.0.0.1", "--no-check", PROGRAM],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const loop = new BareLoopProcess(child);
    try {
      await loop.#send(JSON.stringify(order));
      await loop.#line();
      return loop;
    } catch (error) {
      await loop[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Writes all targets once.
   *
   * @returns how many seconds that took, by the clock of the process.
   */
  async run(): Promise<number> {
    await this.#send("");
    return Number(await this.#line());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Without input, it ends.
    await this.#input.close().catch(() => {});
    await this.#child.status;
    await this.#output.cancel();
  }

  async #send(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
  }

  async #line(): Promise<string> {
    const { value } = await this.#output.read();
    if (value === undefined) throw new Error("The bare loop ended early; its error stands above");
    return value;
  }
}

/** The body that the operator would send. */
function bodyOf({ name, uid }: { name: string; uid: string }, target: TargetData): unknown {
  const owner = { apiVersion: BUNDLE_API_VERSION, kind: "Bundle", name, uid };
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name,
      labels: { [BUNDLE_LABEL]: name },
      annotations: { [HASH_ANNOTATION]: target.hash },
      ownerReferences: [{ ...owner, controller: true, blockOwnerDeletion: true }],
    },
    data: target.data,
    ...(target.binaryData === undefined ? {} : { binaryData: target.binaryData }),
  };
}
