import { parseArgs } from "node:util";

/** The usual client flags of Kubernetes commands. */
export interface ClientFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly cluster?: string;
  readonly user?: string;
  readonly server?: string;
  readonly token?: string;
  readonly namespace?: string;
  readonly as?: string;
  readonly asGroups: readonly string[];
  readonly asUid?: string;
  readonly certificateAuthority?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify?: boolean;
}

/** What the command line asks for. */
export interface Options {
  readonly client: ClientFlags;
  readonly trustNamespace: string;
  readonly defaultPackageLocation: string | undefined;
  readonly secretTargetsEnabled: boolean;
  /** Names of the Secrets that may be targets. Empty means all. */
  readonly secretTargetNames: readonly string[];
  readonly filterExpired: boolean;
  readonly filterNonCa: boolean;
  readonly allowNegativeSerialNumbers: boolean;
  /** Empty means all. */
  readonly targetNamespaces: readonly string[];
  readonly leaderElect: boolean;
  /** Milliseconds. */
  readonly leaseDurationMs: number;
  /** Milliseconds. */
  readonly renewDeadlineMs: number;
  readonly readinessProbePort: number;
  readonly readinessProbePath: string;
  /** 0 turns metrics off. */
  readonly metricsPort: number;
  readonly logFormat: "text" | "json";
  /** 0 to 5. */
  readonly logLevel: number;
  readonly webhookEnabled: boolean;
  readonly webhookHost: string;
  readonly webhookPort: number;
  readonly webhookCertificateDir: string;
  /** `files`: in that folder. `self`: made, kept and renewed by the operator, in a Secret. */
  readonly webhookCertificateSource: "files" | "self";
  readonly webhookSecretName: string;
  readonly webhookServiceName: string;
  readonly webhookConfigurationName: string;
  /** The runtime has nothing older, so that older minimums come to TLS 1.2. */
  readonly tlsMinVersion: "TLSv1.2" | "TLSv1.3";
}

/** What the user asked for: to run, or one of the commands that only print. `validate-package` reads standard input. */
export type Command =
  | { readonly run: "operator"; readonly options: Options }
  | { readonly run: "help" }
  | { readonly run: "version" }
  | { readonly run: "validate-package" };

/** A command line that cannot be used. The message is one line for the user. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** `list` takes commas and repeats, `words` repeats only. */
type FlagType = "string" | "boolean" | "integer" | "duration" | "list" | "words";

interface Flag {
  readonly type: FlagType;
  readonly short?: string;
  readonly default?: string;
  /** Section of the help. */
  readonly section: string;
  readonly help: string;
}

/** Commands, none of which takes flags. */
const COMMANDS = ["help", "version", "validate-package"] as const;

/** All flags. Names and defaults are contract with users of the Go project. */
const FLAGS = {
  "trust-namespace": {
    type: "string",
    default: "cert-manager",
    section: "Bundle",
    help: "Namespace that sources are read from.",
  },
  "default-package-location": {
    type: "string",
    section: "Bundle",
    help: "Path of the JSON file with the default CA package. If set, it must hold a valid package.",
  },
  "secret-targets-enabled": {
    type: "boolean",
    default: "false",
    section: "Bundle",
    help: "Allow Bundles to write to Secrets.",
  },
  "secret-target-names": {
    type: "list",
    section: "Bundle",
    help: "Comma-separated names of the Secrets to watch as targets, and no others. All, if empty.",
  },
  "filter-expired-certificates": {
    type: "boolean",
    default: "false",
    section: "Bundle",
    help: "Leave expired certificates out of targets.",
  },
  "filter-non-ca-certs": {
    type: "boolean",
    default: "false",
    section: "Bundle",
    help: "Leave certificates that are no CA out of targets.",
  },
  "allow-negative-serial-numbers": {
    type: "boolean",
    default: "false",
    section: "Bundle",
    help: "Take certificates whose serial number is negative, as Go does with GODEBUG=x509negativeserial=1.",
  },
  "target-namespaces": {
    type: "list",
    section: "Bundle",
    help: "Comma-separated namespaces to write to and watch targets in. All, if empty.",
  },
  "leader-elect": {
    type: "boolean",
    default: "true",
    section: "App",
    help: "Let only one replica write at a time.",
  },
  "leader-election-lease-duration": {
    type: "duration",
    default: "15s",
    section: "App",
    help: "How long other replicas wait before they take over a lease that is not renewed.",
  },
  "leader-election-renew-deadline": {
    type: "duration",
    default: "10s",
    section: "App",
    help: "How long the leader tries to renew its lease before it gives up.",
  },
  "readiness-probe-port": { type: "integer", default: "6060", section: "App", help: "Port of the probes." },
  "readiness-probe-path": {
    type: "string",
    default: "/readyz",
    section: "App",
    help: "HTTP path of the readiness probe. The liveness probe is /healthz.",
  },
  "metrics-port": {
    type: "integer",
    default: "9402",
    section: "App",
    help: "Port of Prometheus metrics, on /metrics. 0 turns them off.",
  },
  "log-format": { type: "string", default: "text", section: "Logging", help: "text or json." },
  "log-level": {
    type: "integer",
    short: "v",
    default: "1",
    section: "Logging",
    help: "0 (quiet) to 5 (everything).",
  },
  "webhook-enabled": {
    type: "boolean",
    default: "true",
    section: "Webhook",
    help: "Serve the admission webhook.",
  },
  "webhook-host": {
    type: "string",
    default: "0.0.0.0",
    section: "Webhook",
    help: "Address the webhook listens on. 0.0.0.0 stands for all addresses, of IPv6 too.",
  },
  "webhook-port": {
    type: "integer",
    default: "6443",
    section: "Webhook",
    help: "Port the webhook listens on.",
  },
  "webhook-certificate-dir": {
    type: "string",
    default: "/tls",
    section: "Webhook",
    help: "Folder with tls.crt and tls.key.",
  },
  "webhook-certificate-source": {
    type: "string",
    default: "files",
    section: "Webhook",
    help: "files: the certificate is in --webhook-certificate-dir. self: the operator makes and renews it.",
  },
  "webhook-secret-name": {
    type: "string",
    default: "trust-manager-webhook",
    section: "Webhook",
    help: "Secret for the certificate that the operator makes, in the operator's own namespace.",
  },
  "webhook-service-name": {
    type: "string",
    default: "trust-manager",
    section: "Webhook",
    help: "Service that the certificate is made for, in the operator's own namespace.",
  },
  "webhook-configuration-name": {
    type: "string",
    default: "trust-manager",
    section: "Webhook",
    help: "ValidatingWebhookConfiguration to write the CA into.",
  },
  "tls-min-version": {
    type: "string",
    section: "TLS",
    help: "Minimum TLS version: VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13.",
  },
  "tls-cipher-suites": {
    type: "list",
    section: "TLS",
    help: "Not supported: the runtime cannot enforce it, so setting it stops the start.",
  },
  "tls-curve-preferences": {
    type: "list",
    section: "TLS",
    help: "Not supported: the runtime cannot enforce it, so setting it stops the start.",
  },
  "kubeconfig": { type: "string", section: "Kubernetes", help: "Path of the kubeconfig file." },
  "context": { type: "string", section: "Kubernetes", help: "Context of the kubeconfig to use." },
  "cluster": { type: "string", section: "Kubernetes", help: "Cluster of the kubeconfig to use." },
  "user": { type: "string", section: "Kubernetes", help: "User of the kubeconfig to use." },
  "server": { type: "string", short: "s", section: "Kubernetes", help: "URL of the API server." },
  "token": { type: "string", section: "Kubernetes", help: "Bearer token." },
  "namespace": { type: "string", short: "n", section: "Kubernetes", help: "Namespace of the context." },
  "as": { type: "string", section: "Kubernetes", help: "User to impersonate." },
  "as-group": { type: "words", section: "Kubernetes", help: "Groups to impersonate." },
  "as-uid": { type: "string", section: "Kubernetes", help: "UID to impersonate." },
  "certificate-authority": { type: "string", section: "Kubernetes", help: "File with the API server's CA." },
  "client-certificate": { type: "string", section: "Kubernetes", help: "File with the client certificate." },
  "client-key": { type: "string", section: "Kubernetes", help: "File with the client key." },
  "tls-server-name": {
    type: "string",
    section: "Kubernetes",
    help: "Name to verify the API server against.",
  },
  "insecure-skip-tls-verify": {
    type: "boolean",
    section: "Kubernetes",
    help: "Do not verify the API server's certificate.",
  },
  "request-timeout": {
    type: "duration",
    section: "Kubernetes",
    help: "Accepted; each request has its own limit.",
  },
  "cache-dir": { type: "string", section: "Kubernetes", help: "Accepted; nothing is cached on disk." },
  "disable-compression": {
    type: "boolean",
    section: "Kubernetes",
    help: "Accepted; answers are not compressed.",
  },
} as const satisfies Record<string, Flag>;

type FlagName = keyof typeof FLAGS;

/**
 * Reads a command line: Go-style flags (`--name=value`, `--name value`, `--bool`, `--bool=false`), or `--help`, or one of the
 * commands that take no flags.
 *
 * @throws {UsageError} on unknown flags, bad numbers and bad durations, and on what cannot be enforced.
 */
export function parseCommandLine(args: readonly string[]): Command {
  const values = new Map<FlagName, string>();
  const lists = new Map<FlagName, string[]>();
  for (const token of tokenize(args)) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      if (isCommand(token.value) && args.length === 1) return { run: token.value };
      throw new UsageError(
        `Unknown argument ${JSON.stringify(token.value)}: only flags are taken; see --help`,
      );
    }
    if (token.name === "help" || token.name === "h") return { run: "help" };
    if (token.name === "version") return { run: "version" };
    if (!isFlag(token.name)) throw new UsageError(`Unknown flag ${token.rawName}: see --help for all flags`);
    const flag: Flag = FLAGS[token.name];
    // `-v=2` arrives as "=2"; a boolean without a value is true.
    const value = token.value?.replace(/^=/, token.rawName.startsWith("--") ? "=" : "") ??
      (flag.type === "boolean" ? "true" : undefined);
    if (value === undefined) throw new UsageError(`Flag ${token.rawName} needs a value`);
    if (flag.type === "words") lists.set(token.name, [...lists.get(token.name) ?? [], value]);
    else if (flag.type === "list") {
      lists.set(token.name, [...lists.get(token.name) ?? [], ...splitList(value)]);
    } else values.set(token.name, value);
  }
  return { run: "operator", options: readOptions(values, lists) };
}

function tokenize(args: readonly string[]) {
  const options: Record<string, { type: "string" | "boolean"; short?: string; multiple: true }> = {
    help: { type: "boolean", short: "h", multiple: true },
    version: { type: "boolean", multiple: true },
  };
  for (const [name, flag] of Object.entries<Flag>(FLAGS)) {
    options[name] = {
      type: flag.type === "boolean" ? "boolean" : "string",
      multiple: true,
      ...(flag.short === undefined ? {} : { short: flag.short }),
    };
  }
  return parseArgs({ args: [...args], options, strict: false, allowPositionals: true, tokens: true }).tokens;
}

function isCommand(name: string): name is (typeof COMMANDS)[number] {
  return COMMANDS.some((command) => command === name);
}

function isFlag(name: string): name is FlagName {
  return Object.hasOwn(FLAGS, name);
}

function splitList(value: string): string[] {
  return value.split(",").map((item) => item.trim()).filter((item) => item !== "");
}

function readOptions(values: ReadonlyMap<FlagName, string>, lists: ReadonlyMap<FlagName, string[]>): Options {
  const flagOf = (name: FlagName): Flag => FLAGS[name];
  const text = (name: FlagName): string | undefined => values.get(name) || flagOf(name).default;
  const required = (name: FlagName): string => text(name) ?? "";
  const parsed = <T>(name: FlagName, what: string, parse: (value: string) => T | undefined): T => {
    const value = values.get(name) ?? flagOf(name).default ?? "";
    const result = parse(value);
    if (result === undefined) throw new UsageError(`Flag --${name}: ${JSON.stringify(value)} is not ${what}`);
    return result;
  };
  const boolean = (name: FlagName) => parsed(name, "a boolean (true or false)", parseBoolean);
  const port = (name: FlagName) =>
    parsed(name, "a port (0 to 65535)", (value) => parseInteger(value, 0, 65535));
  const objectNames = (name: FlagName): string[] => {
    const names = [...new Set(lists.get(name))];
    // They become part of field selectors.
    const bad = names.find((item) => !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(item));
    if (bad === undefined) return names;
    throw new UsageError(`Flag --${name}: ${JSON.stringify(bad)} is not the name of an object`);
  };
  const duration = (name: FlagName) => parsed(name, "a duration such as 15s or 1m30s", parseDuration);

  for (const name of ["tls-cipher-suites", "tls-curve-preferences"] as const) {
    if ((lists.get(name)?.length ?? 0) > 0) {
      throw new UsageError(
        `Flag --${name} cannot be enforced: the TLS server of this runtime ignores it. ` +
          "Remove it, or restrict TLS with --tls-min-version=VersionTLS13",
      );
    }
  }
  const tlsMinVersion = parsed(
    "tls-min-version",
    "one of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13",
    (value) => {
      if (value === "VersionTLS13") return "TLSv1.3";
      return value === "" || /^VersionTLS1[0-2]$/.test(value) ? "TLSv1.2" : undefined;
    },
  );
  for (const name of ["request-timeout", "disable-compression"] as const) {
    if (values.has(name)) name === "request-timeout" ? requestTimeout(required(name)) : boolean(name);
  }

  const leaseDurationMs = duration("leader-election-lease-duration");
  const renewDeadlineMs = duration("leader-election-renew-deadline");
  if (renewDeadlineMs >= leaseDurationMs) {
    throw new UsageError(
      "Flag --leader-election-renew-deadline must be shorter than --leader-election-lease-duration",
    );
  }
  if (renewDeadlineMs < 3_000) {
    // The lease is renewed every 2 s (client-go wants the deadline above 1.2 times that).
    throw new UsageError("Flag --leader-election-renew-deadline must be at least 3s");
  }
  const optional = <K extends keyof ClientFlags>(key: K, name: FlagName) => {
    const value = text(name);
    return value === undefined ? {} : { [key]: value } as Pick<ClientFlags, K>;
  };
  return {
    client: {
      asGroups: lists.get("as-group") ?? [],
      ...optional("kubeconfig", "kubeconfig"),
      ...optional("context", "context"),
      ...optional("cluster", "cluster"),
      ...optional("user", "user"),
      ...optional("server", "server"),
      ...optional("token", "token"),
      ...optional("namespace", "namespace"),
      ...optional("as", "as"),
      ...optional("asUid", "as-uid"),
      ...optional("certificateAuthority", "certificate-authority"),
      ...optional("clientCertificate", "client-certificate"),
      ...optional("clientKey", "client-key"),
      ...optional("tlsServerName", "tls-server-name"),
      ...(values.has("insecure-skip-tls-verify")
        ? { insecureSkipTlsVerify: boolean("insecure-skip-tls-verify") }
        : {}),
    },
    trustNamespace: required("trust-namespace"),
    defaultPackageLocation: text("default-package-location"),
    secretTargetsEnabled: boolean("secret-targets-enabled"),
    secretTargetNames: objectNames("secret-target-names"),
    filterExpired: boolean("filter-expired-certificates"),
    filterNonCa: boolean("filter-non-ca-certs"),
    allowNegativeSerialNumbers: boolean("allow-negative-serial-numbers"),
    targetNamespaces: [...new Set(lists.get("target-namespaces"))],
    leaderElect: boolean("leader-elect"),
    leaseDurationMs,
    renewDeadlineMs,
    readinessProbePort: port("readiness-probe-port"),
    readinessProbePath: parsed(
      "readiness-probe-path",
      "a path that starts with /",
      (value) => value.startsWith("/") ? value : undefined,
    ),
    metricsPort: port("metrics-port"),
    logFormat: parsed(
      "log-format",
      "text or json",
      (value) => value === "text" || value === "json" ? value : undefined,
    ),
    logLevel: parsed("log-level", "a number from 0 to 5", (value) => parseInteger(value, 0, 5)),
    webhookEnabled: boolean("webhook-enabled"),
    webhookHost: required("webhook-host"),
    webhookPort: port("webhook-port"),
    webhookCertificateDir: required("webhook-certificate-dir"),
    webhookCertificateSource: parsed(
      "webhook-certificate-source",
      "files or self",
      (value) => value === "files" || value === "self" ? value : undefined,
    ),
    webhookSecretName: required("webhook-secret-name"),
    webhookServiceName: required("webhook-service-name"),
    webhookConfigurationName: required("webhook-configuration-name"),
    tlsMinVersion,
  };
}

/** As Go's `strconv.ParseBool`. */
function parseBoolean(value: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(value)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(value) ? false : undefined;
}

function parseInteger(value: string, min: number, max: number): number | undefined {
  if (!/^[+-]?\d+$/.test(value)) return undefined;
  const number = Number(value);
  return number >= min && number <= max ? number : undefined;
}

/** kubectl's `--request-timeout` also takes plain seconds. */
function requestTimeout(value: string): void {
  if (!/^\d+$/.test(value) && parseDuration(value) === undefined) {
    throw new UsageError(
      `Flag --request-timeout: ${JSON.stringify(value)} is not a duration such as 15s or 1m30s`,
    );
  }
}

/** Milliseconds of each unit of a Go duration. */
const UNITS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "µs": 1e-3,
  "μs": 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * Milliseconds of a Go duration such as `1m30s` or `1.5h`; undefined if it is none, or negative.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { parseDuration } from "./options.ts";
 *
 * assert.equal(parseDuration("1m30s"), 90_000);
 * assert.equal(parseDuration("15"), undefined);
 * ```
 */
export function parseDuration(value: string): number | undefined {
  if (value === "0") return 0;
  const part = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/y;
  let sum = 0;
  let end = value.startsWith("+") ? 1 : 0;
  if (end === value.length) return undefined;
  while (end < value.length) {
    part.lastIndex = end;
    const match = part.exec(value);
    if (match === null) return undefined;
    sum += Number(match[1]) * (UNITS[match[2] ?? ""] ?? 0);
    end = part.lastIndex;
  }
  return sum;
}

/** The text of `--help`. */
export function helpText(): string {
  const lines = [
    "trust-manager distributes trust bundles to namespaces.",
    "",
    "Usage:",
    "  trust-manager [flags]",
    "  trust-manager version",
    "  trust-manager validate-package < package.json",
  ];
  const sections = new Map<string, [string, Flag][]>();
  for (const [name, flag] of Object.entries<Flag>(FLAGS)) {
    sections.set(flag.section, [...sections.get(flag.section) ?? [], [name, flag]]);
  }
  for (const [section, flags] of sections) {
    lines.push("", `${section} flags:`);
    for (const [name, flag] of flags) {
      const value = flag.type === "boolean" ? "" : ` ${flag.type === "words" ? "string" : flag.type}`;
      lines.push(`  ${flag.short === undefined ? "    " : `-${flag.short}, `}--${name}${value}`);
      lines.push(`        ${flag.help}${flag.default === undefined ? "" : ` Default: ${flag.default}.`}`);
    }
  }
  return lines.join("\n");
}
