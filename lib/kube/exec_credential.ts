import { type Clock, delay } from "../clock.ts";
import { ClusterConfigError, type Credentials, type CredentialSource } from "./config.ts";
import { asBearer } from "./credentials.ts";
import type { Host } from "./host.ts";
import { kept } from "./reread.ts";
import { tlsProblem } from "./tls_problem.ts";

/** A plugin that a kubeconfig names (`users[].user.exec`), client.authentication.k8s.io/v1 or v1beta1. */
export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly provideClusterInfo: boolean;
  /** What its author tells those who lack it. */
  readonly installHint?: string;
}

/** The cluster as `ExecCredential.spec.cluster` tells plugins of it. */
export type ExecCluster = Readonly<Record<string, unknown>>;

/** What a plugin answered. */
export interface ExecAnswer {
  readonly credentials: Credentials;
  /** Milliseconds since the Unix epoch; undefined if it holds until it is refused. */
  readonly expiresAt?: number;
}

/** Milliseconds after which a plugin that has not ended is killed. It may have to ask a cloud, but nobody answers prompts. */
const PLUGIN_DEADLINE = 60_000;

/** Milliseconds before its expiry from which a credential is not used any more, so that it does not expire on its way. */
const EXPIRY_MARGIN = 5_000;

/**
 * Credentials of an exec plugin. It runs at the first use, when its credential has expired, and when that was refused;
 * all that ask meanwhile wait for the same run.
 *
 * @param cluster given to the plugin if it asks for it.
 * @param user the plugin's user in the kubeconfig, for messages.
 */
export function execCredentials(
  plugin: ExecPlugin,
  cluster: ExecCluster,
  user: string,
  { host, clock }: { readonly host: Host; readonly clock: Clock },
): CredentialSource {
  let last: ExecAnswer | undefined;
  return kept(
    () => clock.now() < (last?.expiresAt ?? Infinity) - EXPIRY_MARGIN ? last?.credentials : undefined,
    async () => {
      last = readExecCredential(await run(plugin, cluster, user, host, clock), plugin, user);
      return last.credentials;
    },
  );
}

/** Runs the plugin and returns its standard output. */
async function run(
  plugin: ExecPlugin,
  cluster: ExecCluster,
  user: string,
  host: Host,
  clock: Clock,
): Promise<string> {
  const info = {
    apiVersion: plugin.apiVersion,
    kind: "ExecCredential",
    spec: { interactive: false, ...(plugin.provideClusterInfo ? { cluster } : {}) },
  };
  const deadline = new AbortController();
  const ended = new AbortController();
  const timeOut = delay(clock, PLUGIN_DEADLINE, ended.signal).then(() => {
    const error = pluginError(plugin, user, `did not end within ${PLUGIN_DEADLINE / 1000} seconds`);
    deadline.abort(error);
    throw error;
  });
  try {
    const running = host.run({
      command: plugin.command,
      args: plugin.args,
      env: { ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) },
      signal: deadline.signal,
    });
    const { code, stdout } = await Promise.race([running, timeOut]);
    if (code !== 0) {
      throw pluginError(plugin, user, `failed with exit code ${code}; standard error says more`);
    }
    return stdout;
  } catch (error) {
    if (error instanceof ClusterConfigError) throw error;
    if (error instanceof Deno.errors.NotFound) {
      const hint = plugin.installHint === undefined
        ? ""
        : `. Its hint: ${plugin.installHint.trim().replace(/\s+/g, " ")}`;
      throw pluginError(plugin, user, `is not installed${hint}`);
    }
    if (error instanceof Deno.errors.NotCapable) throw runPermissionError(plugin, user);
    throw pluginError(
      plugin,
      user,
      `cannot be run: ${error instanceof Error ? error.message : String(error)}`,
    );
  } finally {
    timeOut.catch(() => {});
    ended.abort();
  }
}

/**
 * Reads what a plugin wrote to standard output. Pure.
 *
 * @throws {ClusterConfigError} if it is no `ExecCredential` of the plugin's version with a token or a client certificate.
 * The message quotes nothing of it.
 */
export function readExecCredential(stdout: string, plugin: ExecPlugin, user: string): ExecAnswer {
  const fail = (problem: string) => pluginError(plugin, user, `returned ${problem}`);
  let answer: unknown;
  try {
    answer = JSON.parse(stdout);
  } catch {
    throw fail("something other than JSON");
  }
  const { apiVersion, kind, status } = record(answer) ?? {};
  if (kind !== "ExecCredential") throw fail("no ExecCredential");
  if (apiVersion !== plugin.apiVersion) {
    throw fail(`another apiVersion than the kubeconfig's ${plugin.apiVersion}`);
  }
  const { token, clientCertificateData: certificate, clientKeyData: key, expirationTimestamp } =
    record(status) ?? {};
  for (const value of [token, certificate, key, expirationTimestamp]) {
    if (value !== undefined && value !== null && typeof value !== "string") {
      throw fail("a status with a field that is no string");
    }
  }
  if (Boolean(certificate) !== Boolean(key)) {
    throw fail("only one of clientCertificateData and clientKeyData");
  }
  if (!token && !certificate) throw fail("neither a token nor a client certificate");
  const authorization = token ? asBearer(String(token)) : "";
  if (authorization === undefined) throw fail("a token that an HTTP header cannot carry");
  const clientCertificate = { certificate: String(certificate), key: String(key) };
  const problem = certificate ? tlsProblem({ clientCertificate }) : undefined;
  if (problem !== undefined) throw fail(`a client certificate that cannot be used: ${problem}`);
  const expiresAt = expirationTimestamp ? Date.parse(String(expirationTimestamp)) : undefined;
  if (Number.isNaN(expiresAt)) throw fail("an expirationTimestamp that is no time");
  return {
    credentials: { ...(token ? { authorization } : {}), ...(certificate ? { clientCertificate } : {}) },
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

/** The refusal to a plugin that this process has no permission to run. */
export function runPermissionError(plugin: ExecPlugin, user: string): ClusterConfigError {
  return pluginError(
    plugin,
    user,
    `may not be run: start Deno with --allow-run=${plugin.command}, or use a token or a client certificate`,
  );
}

function pluginError(plugin: ExecPlugin, user: string, problem: string): ClusterConfigError {
  return new ClusterConfigError(`The credential plugin ${plugin.command} of user "${user}" ${problem}`);
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
}
