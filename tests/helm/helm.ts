import { buildGoPrograms, cacheDirectory } from "../cluster/go_programs.ts";
import { parseManifests, type RestObject } from "../cluster/rest_client.ts";
import { ROOT } from "../project_files.ts";

/** Folder of the chart. */
export const CHART = `${ROOT}/deploy/charts/trust-manager`;

/** Helm refused something. The message is what it said. */
export class HelmError extends Error {
  override readonly name = "HelmError";
}

/** How to render the chart. */
export interface RenderOptions {
  /** Values, as in a values file. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Default `cert-manager`. */
  readonly namespace?: string;
  /** More arguments. */
  readonly args?: readonly string[];
}

/** Helm, the real one. */
export class Helm {
  /** Path of the program. */
  readonly program: string;
  readonly #kubeconfig: string;

  private constructor(program: string, kubeconfig: string) {
    this.program = program;
    this.#kubeconfig = kubeconfig;
  }

  /**
   * Builds Helm from the Go module that go.mod pins, into the cache, if it is not there yet.
   *
   * @param kubeconfig of the cluster that it talks to; none by default.
   * @throws {GoToolchainError} {GoBuildError}
   */
  static async find(kubeconfig = ""): Promise<Helm> {
    const directory = await buildGoPrograms({
      module: import.meta.dirname ?? ".",
      cache: `${cacheDirectory()}/helm`,
      programs: { helm: "helm.sh/helm/v4/cmd/helm" },
      ldflags: "-s -w",
      report: (line) => console.error(line),
    });
    return new Helm(`${directory}/helm`, kubeconfig);
  }

  /**
   * Runs Helm and returns its standard output.
   *
   * @throws {HelmError}
   */
  async run(args: readonly string[], values: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const dir = await Deno.makeTempDir({ prefix: "trust-manager-helm-" });
    try {
      // JSON is YAML.
      await Deno.writeTextFile(`${dir}/values.yaml`, JSON.stringify(values));
      const { success, stdout, stderr } = await new Deno.Command(this.program, {
        args: args.map((arg) => arg === VALUES_FILE ? `${dir}/values.yaml` : arg),
        clearEnv: true,
        env: {
          HOME: dir,
          HELM_CACHE_HOME: `${dir}/cache`,
          HELM_CONFIG_HOME: `${dir}/config`,
          HELM_DATA_HOME: `${dir}/data`,
          KUBECONFIG: this.#kubeconfig || `${dir}/none`,
        },
        stdin: "null",
      }).output();
      const decoder = new TextDecoder();
      if (!success) throw new HelmError(`${decoder.decode(stderr)}${decoder.decode(stdout)}`.trim());
      return decoder.decode(stdout);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  }

  /** The manifests that the chart renders to, as text. */
  template({ values = {}, namespace = "cert-manager", args = [] }: RenderOptions = {}): Promise<string> {
    return this.run(
      ["template", "trust-manager", CHART, `--namespace=${namespace}`, "--values", VALUES_FILE, ...args],
      values,
    );
  }

  /** The objects that the chart renders to. */
  async render(options: RenderOptions = {}): Promise<RestObject[]> {
    return parseManifests(await this.template(options));
  }

  /** What is told to the user after an installation. */
  async notes({ values = {}, namespace = "cert-manager", args = [] }: RenderOptions = {}): Promise<string> {
    const output = await this.run(
      [
        "install",
        "trust-manager",
        CHART,
        `--namespace=${namespace}`,
        "--dry-run=client",
        "--values",
        VALUES_FILE,
        ...args,
      ],
      values,
    );
    return output.slice(output.indexOf("\nNOTES:\n") + "\nNOTES:\n".length);
  }
}

/** Stands for the path of the file with the values in arguments of {@linkcode Helm.run}. */
export const VALUES_FILE = "{values}";
