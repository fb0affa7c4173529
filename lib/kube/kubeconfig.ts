import { ClusterConfigError } from "./config.ts";
import { defined } from "./defined.ts";
import type { ExecPlugin } from "./exec_credential.ts";

/** A `clusters` entry. Paths are absolute, or relative to the working directory. */
export interface ClusterEntry {
  readonly server?: string;
  readonly certificateAuthority?: string;
  /** Base64 of PEM. */
  readonly certificateAuthorityData?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  /** The `client.authentication.k8s.io/exec` extension: given to exec plugins as it is. */
  readonly execConfig?: unknown;
}

/** A `users` entry. Paths as in {@linkcode ClusterEntry}. */
export interface UserEntry {
  readonly token?: string;
  readonly tokenFile?: string;
  readonly username?: string;
  readonly password?: string;
  readonly clientCertificate?: string;
  readonly clientCertificateData?: string;
  readonly clientKey?: string;
  readonly clientKeyData?: string;
  readonly exec?: ExecPlugin;
  /** Name of the `auth-provider`, which Kubernetes 1.26 removed. */
  readonly authProvider?: string;
  readonly as?: string;
  readonly asUid?: string;
  readonly asGroups?: readonly string[];
  readonly asUserExtra?: Readonly<Record<string, readonly string[]>>;
}

/** A `contexts` entry. */
export interface ContextEntry {
  readonly cluster?: string;
  readonly user?: string;
  readonly namespace?: string;
}

/** What one or several kubeconfig files say. */
export interface Kubeconfig {
  /** Where it was read from, for messages. */
  readonly files: readonly string[];
  readonly currentContext?: string;
  readonly clusters: ReadonlyMap<string, ClusterEntry>;
  readonly users: ReadonlyMap<string, UserEntry>;
  readonly contexts: ReadonlyMap<string, ContextEntry>;
}

/**
 * Reads the text of a kubeconfig (`v1`, `Config`; YAML or JSON). Relative paths in it are taken relative to `file`.
 *
 * @throws {ClusterConfigError} if it is not one. The message quotes names and positions, never values.
 */
export async function parseKubeconfig(text: string, file: string): Promise<Kubeconfig> {
  const config = new Fields(await parseYaml(text, file), "", file);
  const kind = config.text("kind");
  if (kind !== undefined && kind !== "Config") {
    throw new ClusterConfigError(`${file} is no kubeconfig: its kind is not Config`);
  }
  const directory = file.slice(0, file.lastIndexOf("/") + 1);
  const path = (value: string | undefined) =>
    value === undefined || value.startsWith("/") ? value : directory + value;
  return {
    files: [file],
    ...defined({ currentContext: config.text("current-context") }),
    clusters: config.named("clusters", "cluster", (cluster) =>
      defined({
        server: cluster.text("server"),
        certificateAuthority: path(cluster.text("certificate-authority")),
        certificateAuthorityData: cluster.text("certificate-authority-data"),
        insecureSkipTlsVerify: cluster.flag("insecure-skip-tls-verify"),
        tlsServerName: cluster.text("tls-server-name"),
        proxyUrl: cluster.text("proxy-url"),
        execConfig: cluster.list("extensions")
          .find((extension) => extension.text("name") === "client.authentication.k8s.io/exec")?.raw(
            "extension",
          ),
      })),
    users: config.named("users", "user", (user) =>
      defined({
        token: user.text("token"),
        tokenFile: path(user.text("tokenFile")),
        username: user.text("username"),
        password: user.text("password"),
        clientCertificate: path(user.text("client-certificate")),
        clientCertificateData: user.text("client-certificate-data"),
        clientKey: path(user.text("client-key")),
        clientKeyData: user.text("client-key-data"),
        exec: readExec(user.child("exec"), path),
        authProvider: user.child("auth-provider")?.text("name"),
        as: user.text("as"),
        asUid: user.text("as-uid"),
        asGroups: user.texts("as-groups"),
        asUserExtra: user.child("as-user-extra")?.textLists(),
      })),
    contexts: config.named("contexts", "context", (context) =>
      defined({
        cluster: context.text("cluster"),
        user: context.text("user"),
        namespace: context.text("namespace"),
      })),
  };
}

/** Several kubeconfigs as one, as `KUBECONFIG` means it: of each name, and of the current context, the first counts. */
export function mergeKubeconfigs(configs: readonly Kubeconfig[]): Kubeconfig {
  const firstWins = <T>(maps: ReadonlyMap<string, T>[]) =>
    new Map(maps.toReversed().flatMap((entries) => [...entries]));
  return {
    files: configs.flatMap((config) => config.files),
    ...defined({
      currentContext: configs.find((config) => config.currentContext !== undefined)?.currentContext,
    }),
    clusters: firstWins(configs.map((config) => config.clusters)),
    users: firstWins(configs.map((config) => config.users)),
    contexts: firstWins(configs.map((config) => config.contexts)),
  };
}

/** Reads a user's `exec`. A command with a slash is a path, any other is searched in `PATH`. */
function readExec(
  exec: Fields | undefined,
  path: (value: string | undefined) => string | undefined,
): ExecPlugin | undefined {
  if (exec === undefined) return undefined;
  const command = exec.text("command");
  if (command === undefined) throw exec.error("has no command");
  const apiVersion = exec.text("apiVersion");
  if (
    apiVersion !== "client.authentication.k8s.io/v1" && apiVersion !== "client.authentication.k8s.io/v1beta1"
  ) {
    throw exec.error(
      "has an apiVersion other than client.authentication.k8s.io/v1 and v1beta1: update the plugin's configuration",
    );
  }
  // Nobody sits in front of an operator. `IfAvailable`, the default of v1beta1, leaves the choice to the client.
  if (exec.text("interactiveMode") === "Always") {
    throw exec.error("has interactiveMode Always, but this process cannot ask its user anything");
  }
  return {
    apiVersion,
    command: command.includes("/") ? path(command) ?? command : command,
    args: exec.texts("args") ?? [],
    env: Object.fromEntries(
      exec.list("env").map((variable) => [variable.text("name") ?? "", variable.text("value") ?? ""]),
    ),
    provideClusterInfo: exec.flag("provideClusterInfo") ?? false,
    ...defined({ installHint: exec.text("installHint") }),
  };
}

/** Aliases that a kubeconfig may have; usual ones have none. */
const MOST_ALIASES = 100;

async function parseYaml(text: string, file: string): Promise<unknown> {
  // Not needed in a cluster, where memory counts.
  const { isScalar, LineCounter, parseDocument, visit } = await import("yaml");
  const lineCounter = new LineCounter();
  const error = (at: number, code: string): ClusterConfigError => {
    const { line, col } = lineCounter.linePos(at);
    return new ClusterConfigError(`${file} is not YAML: line ${line}, column ${col}: ${code}`);
  };
  const document = parseDocument(text, {
    lineCounter,
    // Not its own messages: they quote the lines around the error, and these may hold a token.
    prettyErrors: false,
    logLevel: "silent",
    // It compares each key with each other one: the check below takes less time.
    uniqueKeys: false,
  });
  const [problem] = document.errors;
  if (problem !== undefined) throw error(problem.pos[0], problem.code);
  const badAliases = new ClusterConfigError(
    `${file} is not YAML: it has an alias without its anchor, or too many aliases`,
  );
  let aliases = 0;
  visit(document, {
    Alias() {
      // To follow one, the parser looks through all anchors.
      if (++aliases > MOST_ALIASES) throw badAliases;
    },
    Map(_, { items }) {
      const seen = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) throw error(key.range?.[0] ?? 0, "DUPLICATE_KEY");
        seen.add(key.value);
      }
    },
  });
  try {
    return document.toJS() ?? {};
  } catch {
    throw badAliases;
  }
}

/** A mapping of the file, read with types checked. Empty strings and null count as absent, as in the Go client. */
class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #where: string;
  readonly #file: string;

  constructor(value: unknown, where: string, file: string) {
    this.#where = where;
    this.#file = file;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.error("must be a mapping");
    }
    this.#values = value as Readonly<Record<string, unknown>>;
  }

  error(problem: string): ClusterConfigError {
    return new ClusterConfigError(
      `${this.#where === "" ? this.#file : `${this.#where} in ${this.#file}`} ${problem}`,
    );
  }

  raw(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? this.#values[name] ?? undefined : undefined;
  }

  text(name: string): string | undefined {
    const value = this.raw(name);
    if (value === undefined || value === "") return undefined;
    if (typeof value !== "string") {
      throw this.#typeError(name, "a string (in quotes if it looks like a number)");
    }
    return value;
  }

  flag(name: string): boolean | undefined {
    const value = this.raw(name);
    if (value !== undefined && typeof value !== "boolean") throw this.#typeError(name, "true or false");
    return value;
  }

  texts(name: string): string[] | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
      throw this.#typeError(name, "a list of strings");
    }
    return value;
  }

  /** All fields, each a list of strings. */
  textLists(): Record<string, string[]> {
    return Object.fromEntries(Object.keys(this.#values).map((name) => [name, this.texts(name) ?? []]));
  }

  child(name: string): Fields | undefined {
    const value = this.raw(name);
    return value === undefined ? undefined : new Fields(value, this.#path(name), this.#file);
  }

  list(name: string): Fields[] {
    const value = this.raw(name) ?? [];
    if (!Array.isArray(value)) throw this.#typeError(name, "a list");
    return value.map((item, index) => new Fields(item, `${this.#path(name)}[${index}]`, this.#file));
  }

  /** A list of `{name, [content]: …}` as a map. */
  named<T>(name: string, content: string, read: (fields: Fields) => T): Map<string, T> {
    const entries = new Map<string, T>();
    for (const entry of this.list(name)) {
      const key = entry.text("name");
      if (key === undefined) throw entry.error("has no name");
      if (entries.has(key)) throw this.error(`has two ${name} named "${key}"`);
      entries.set(key, read(new Fields(entry.raw(content) ?? {}, `${name}[${key}].${content}`, this.#file)));
    }
    return entries;
  }

  #path(name: string): string {
    return this.#where === "" ? name : `${this.#where}.${name}`;
  }

  #typeError(name: string, wanted: string): ClusterConfigError {
    return new ClusterConfigError(`${this.#path(name)} in ${this.#file} must be ${wanted}`);
  }
}
