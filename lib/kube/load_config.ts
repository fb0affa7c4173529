import {
  type ClientCertificate,
  type ClusterConfig,
  ClusterConfigError,
  type CredentialSource,
} from "./config.ts";
import {
  asBearer,
  bothCredentials,
  clientCertificateFiles,
  type FileSourceDeps,
  fixedCredentials,
  readText,
  tokenFile,
} from "./credentials.ts";
import { defined } from "./defined.ts";
import { execCredentials, runPermissionError } from "./exec_credential.ts";
import { type Host, readFailure } from "./host.ts";
import { isInCluster, readInCluster } from "./in_cluster.ts";
import {
  type ClusterEntry,
  type Kubeconfig,
  mergeKubeconfigs,
  parseKubeconfig,
  type UserEntry,
} from "./kubeconfig.ts";
import { reread, type Source } from "./reread.ts";
import { tlsProblem } from "./tls_problem.ts";

/** What the usual client flags say. An empty string is no value. Each comes before what a kubeconfig or the pod says. */
export interface ClusterOptions {
  /** Path of the only kubeconfig to read. */
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly cluster?: string | undefined;
  readonly user?: string | undefined;
  readonly server?: string | undefined;
  readonly token?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Path of a PEM file, as the two below. */
  readonly certificateAuthority?: string | undefined;
  readonly clientCertificate?: string | undefined;
  readonly clientKey?: string | undefined;
  readonly tlsServerName?: string | undefined;
  readonly insecureSkipTlsVerify?: boolean | undefined;
  readonly proxyUrl?: string | undefined;
  readonly namespace?: string | undefined;
  readonly as?: string | undefined;
  readonly asGroups?: readonly string[] | undefined;
  readonly asUid?: string | undefined;
  readonly asUserExtra?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Milliseconds; 0 is no value. */
  readonly requestTimeoutMs?: number | undefined;
}

/** A cluster, a user and a namespace, wherever they come from. */
interface Chosen {
  readonly cluster: ClusterEntry;
  readonly user: UserEntry;
  readonly namespace?: string;
  /** Names for messages. */
  readonly clusterName: string;
  readonly userName: string;
}

/**
 * Finds out which API server to talk to, and as whom. Read is the first of these that there is: the kubeconfig that
 * `options` names, those that `KUBECONFIG` lists (merged; missing ones are skipped), what a pod is told of its cluster,
 * `~/.kube/config`. That order is controller-runtime's. Files are read, but nothing is connected to and no plugin runs.
 * Which server, and which files, is settled here; the files of CA certificates, tokens and client certificates are read again
 * while the configuration is in use.
 *
 * @param deps.log is told when one of those cannot be used any more.
 * @throws {ClusterConfigError} if there is none, or it cannot be used.
 */
export async function loadClusterConfig(
  options: ClusterOptions,
  deps: FileSourceDeps,
): Promise<ClusterConfig> {
  const { cluster, user, namespace, clusterName, userName } = withOptions(
    await choose(options, deps.host),
    options,
  );
  const server = readServer(cluster, clusterName);
  const { caCertificates, caSource } = await certificateAuthority(cluster, clusterName, deps);
  checkProxy(cluster, clusterName);
  const overNodeHttps = cluster.tlsServerName !== undefined || cluster.insecureSkipTlsVerify === true;
  if (overNodeHttps && cluster.proxyUrl !== undefined) {
    throw new ClusterConfigError(
      `Cluster "${clusterName}" has proxy-url together with tls-server-name or insecure-skip-tls-verify, which is not supported`,
    );
  }
  return defined({
    server,
    caCertificates,
    caSource,
    ...await authentication(user, userName, execCluster(server, caCertificates, cluster), deps),
    proxyUrl: cluster.proxyUrl,
    tlsServerName: cluster.tlsServerName,
    insecureSkipTlsVerify: cluster.insecureSkipTlsVerify,
    impersonate: impersonation(user, userName),
    namespace,
    requestTimeoutMs: options.requestTimeoutMs || undefined,
  });
}

/** Reads the source that counts. */
async function choose(options: ClusterOptions, host: Host): Promise<Chosen> {
  if (options.kubeconfig) {
    return fromKubeconfig(
      await parseKubeconfig(await readKubeconfig(host, options.kubeconfig), options.kubeconfig),
      options,
    );
  }
  const listed = (host.env("KUBECONFIG") ?? "").split(":").filter((path) => path !== "");
  if (listed.length > 0) {
    const found = await readExisting(host, listed);
    if (found !== undefined) return fromKubeconfig(found, options);
  }
  // Who names a context, a cluster or a user means a kubeconfig.
  let noPod = "KUBERNETES_SERVICE_HOST is not set";
  if (!options.context && !options.cluster && !options.user && isInCluster(host)) {
    try {
      const entries = await readInCluster(host);
      return { ...entries, clusterName: "in-cluster", userName: "in-cluster" };
    } catch (error) {
      if (!(error instanceof ClusterConfigError)) throw error;
      noPod = error.message;
    }
  }
  const home = host.env("HOME");
  const usual = listed.length > 0 || !home ? [] : [`${home}/.kube/config`];
  const found = await readExisting(host, usual);
  if (found !== undefined) return fromKubeconfig(found, options);
  if (options.server && !options.context && !options.cluster && !options.user) {
    return { cluster: {}, user: {}, clusterName: "", userName: "" };
  }
  const missing = [...listed, ...usual].map((path) => `${path} does not exist`);
  throw new ClusterConfigError(
    `No cluster to connect to: ${
      [...missing, noPod].join(", ")
    }. Name a kubeconfig, set KUBECONFIG, or run in a cluster`,
  );
}

async function readKubeconfig(host: Host, path: string): Promise<string> {
  try {
    return await host.readTextFile(path);
  } catch (error) {
    throw new ClusterConfigError(`Cannot read the kubeconfig ${path}: ${readFailure(error)}`);
  }
}

/** Those of `paths` that exist, merged; undefined if there is none, or nothing in them. */
async function readExisting(host: Host, paths: readonly string[]): Promise<Kubeconfig | undefined> {
  const configs: Kubeconfig[] = [];
  for (const path of paths) {
    let text: string;
    try {
      text = await host.readTextFile(path);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      throw new ClusterConfigError(`Cannot read the kubeconfig ${path}: ${readFailure(error)}`);
    }
    configs.push(await parseKubeconfig(text, path));
  }
  const merged = mergeKubeconfigs(configs);
  return merged.clusters.size + merged.users.size + merged.contexts.size === 0 ? undefined : merged;
}

/** The cluster, user and namespace of the context that is chosen. */
function fromKubeconfig(config: Kubeconfig, options: ClusterOptions): Chosen {
  const where = config.files.join(", ");
  const known = (entries: ReadonlyMap<string, unknown>) =>
    entries.size === 0 ? "none" : [...entries.keys()].join(", ");
  const contextName = options.context || config.currentContext;
  const context = contextName === undefined ? undefined : config.contexts.get(contextName);
  if (contextName !== undefined && context === undefined) {
    throw new ClusterConfigError(
      `There is no context "${contextName}" in ${where}: choose another (there are: ${
        known(config.contexts)
      })`,
    );
  }
  const clusterName = options.cluster || context?.cluster;
  const userName = options.user || context?.user;
  if (contextName === undefined && !clusterName && !options.server) {
    throw new ClusterConfigError(
      `There is no current-context in ${where}: choose a context (there are: ${known(config.contexts)})`,
    );
  }
  const cluster = clusterName === undefined ? {} : config.clusters.get(clusterName);
  if (cluster === undefined) {
    throw new ClusterConfigError(
      `There is no cluster "${clusterName}" in ${where}: add it, or choose another context (clusters: ${
        known(config.clusters)
      })`,
    );
  }
  const user = userName === undefined ? {} : config.users.get(userName);
  if (user === undefined) {
    throw new ClusterConfigError(
      `There is no user "${userName}" in ${where}: add it, or choose another context (users: ${
        known(config.users)
      })`,
    );
  }
  return {
    cluster,
    user,
    ...(context?.namespace === undefined ? {} : { namespace: context.namespace }),
    clusterName: clusterName ?? "",
    userName: userName ?? "",
  };
}

/** `chosen` with the flags put in. A flag also takes the place of what contradicts it. */
function withOptions(chosen: Chosen, options: ClusterOptions): Chosen {
  const cluster = { ...chosen.cluster };
  if (options.server) cluster.server = options.server;
  if (options.tlsServerName) cluster.tlsServerName = options.tlsServerName;
  if (options.proxyUrl) cluster.proxyUrl = options.proxyUrl;
  if (options.insecureSkipTlsVerify !== undefined) {
    cluster.insecureSkipTlsVerify = options.insecureSkipTlsVerify;
  }
  if (options.insecureSkipTlsVerify === true || options.certificateAuthority) {
    delete cluster.certificateAuthority;
    delete cluster.certificateAuthorityData;
  }
  if (options.certificateAuthority) {
    cluster.certificateAuthority = options.certificateAuthority;
    if (options.insecureSkipTlsVerify === undefined) delete cluster.insecureSkipTlsVerify;
  }

  const user = { ...chosen.user };
  if (options.token || options.username) {
    delete user.token;
    delete user.tokenFile;
    delete user.username;
    delete user.password;
    delete user.authProvider;
  }
  if (options.token) user.token = options.token;
  if (options.username) user.username = options.username;
  if (options.password) user.password = options.password;
  if (options.clientCertificate) {
    delete user.clientCertificateData;
    user.clientCertificate = options.clientCertificate;
  }
  if (options.clientKey) {
    delete user.clientKeyData;
    user.clientKey = options.clientKey;
  }
  if (options.as) {
    delete user.asUid;
    delete user.asGroups;
    delete user.asUserExtra;
    user.as = options.as;
  }
  if (options.asUid) user.asUid = options.asUid;
  if (options.asGroups?.length) user.asGroups = options.asGroups;
  if (options.asUserExtra) user.asUserExtra = options.asUserExtra;

  const namespace = options.namespace || chosen.namespace;
  return { ...chosen, cluster, user, ...(namespace === undefined ? {} : { namespace }) };
}

/** The base URL. Without a scheme it is https if the cluster has anything of TLS, else http, as in the Go client. */
function readServer(cluster: ClusterEntry, name: string): string {
  if (cluster.server === undefined) throw new ClusterConfigError(`Cluster "${name}" has no server`);
  const tls = cluster.certificateAuthority ?? cluster.certificateAuthorityData ??
    cluster.insecureSkipTlsVerify;
  const text = cluster.server.includes("://")
    ? cluster.server
    : `${tls ? "https" : "http"}://${cluster.server}`;
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new ClusterConfigError(`The server of cluster "${name}" is not an http or https URL`);
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new ClusterConfigError(`The server URL of cluster "${name}" must have no user, query or fragment`);
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** PEM of the cluster's CA certificates, as they are now; and where they are read again, if they are in a file. */
async function certificateAuthority(
  cluster: ClusterEntry,
  name: string,
  deps: FileSourceDeps,
): Promise<{ readonly caCertificates?: string; readonly caSource?: Source<string> }> {
  const { certificateAuthority: file, certificateAuthorityData: data } = cluster;
  if (file === undefined && data === undefined) return {};
  if (cluster.insecureSkipTlsVerify) {
    throw new ClusterConfigError(
      `Cluster "${name}" has both insecure-skip-tls-verify and a certificate authority: remove one of them`,
    );
  }
  const usable = (pem: string): string => {
    const problem = tlsProblem({ caCertificates: pem });
    if (problem === undefined) return pem;
    throw new ClusterConfigError(`The certificate authority of cluster "${name}" cannot be used: ${problem}`);
  };
  if (data !== undefined) {
    return { caCertificates: usable(decode(data, `certificate-authority-data of cluster "${name}"`)) };
  }
  const read = async () =>
    usable(await readText(deps.host, file ?? "", `the certificate authority of cluster "${name}"`));
  const caSource = reread(deps, read, (a, b) => a === b);
  return { caCertificates: await caSource({ force: false }), caSource };
}

function checkProxy(cluster: ClusterEntry, name: string): void {
  if (cluster.proxyUrl === undefined) return;
  const url = URL.parse(cluster.proxyUrl);
  if (url === null || !/^(https?|socks5h?):$/.test(url.protocol) || url.hostname === "") {
    throw new ClusterConfigError(`The proxy-url of cluster "${name}" is not an http, https or socks5 URL`);
  }
}

/** How requests are authenticated: at most one kind of `Authorization` header, and a client certificate. */
async function authentication(
  user: UserEntry,
  name: string,
  cluster: Readonly<Record<string, unknown>>,
  deps: FileSourceDeps,
): Promise<{ clientCertificate?: ClientCertificate; credentials?: CredentialSource }> {
  if (user.authProvider !== undefined) {
    throw new ClusterConfigError(
      `User "${name}" has the auth-provider ${user.authProvider}, which Kubernetes 1.26 removed: use its exec plugin`,
    );
  }
  const sources: CredentialSource[] = [];
  const token = user.tokenFile ?? user.token;
  if (token !== undefined && user.username !== undefined) {
    throw new ClusterConfigError(`User "${name}" has both a token and a username: remove one of them`);
  }
  if (user.tokenFile !== undefined) {
    sources.push(tokenFile(user.tokenFile, deps));
  } else if (user.token !== undefined) {
    const authorization = asBearer(user.token);
    if (authorization === undefined) {
      throw new ClusterConfigError(
        `The token of user "${name}" has characters that an HTTP header cannot carry`,
      );
    }
    sources.push(fixedCredentials({ authorization }));
  } else if (user.username !== undefined) {
    const pair = new TextEncoder().encode(`${user.username}:${user.password ?? ""}`);
    sources.push(fixedCredentials({ authorization: `Basic ${pair.toBase64()}` }));
  }
  const certificate = await clientCertificate(user, name, deps);
  if (typeof certificate === "function") sources.push(certificate);
  // What is said here in so many words is read now, so that what cannot be used is said at the start.
  for (const source of sources) await source({ force: false });
  if (token === undefined && user.username === undefined && user.exec !== undefined) {
    if (!deps.host.mayRun(user.exec.command)) throw runPermissionError(user.exec, name);
    sources.unshift(execCredentials(user.exec, cluster, name, deps));
  }
  const [first, second] = sources;
  return defined({
    clientCertificate: typeof certificate === "object" ? certificate : undefined,
    credentials: first === undefined || second === undefined ? first : bothCredentials(first, second),
  });
}

/** A certificate that is written in the kubeconfig, or the source of one that is in files. */
async function clientCertificate(
  user: UserEntry,
  name: string,
  deps: FileSourceDeps,
): Promise<ClientCertificate | CredentialSource | undefined> {
  const part = (data: string | undefined, file: string | undefined, what: string) => {
    if (data !== undefined) {
      const text = decode(data, `${what}-data of user "${name}"`);
      return () => Promise.resolve(text);
    }
    return file === undefined ? undefined : () => readText(deps.host, file, `the ${what} of user "${name}"`);
  };
  const certificate = part(user.clientCertificateData, user.clientCertificate, "client-certificate");
  const key = part(user.clientKeyData, user.clientKey, "client-key");
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new ClusterConfigError(
      `User "${name}" has a client ${
        certificate === undefined ? "key without its certificate" : "certificate without its key"
      }`,
    );
  }
  if (user.clientCertificateData === undefined || user.clientKeyData === undefined) {
    return clientCertificateFiles({ certificate, key }, name, deps);
  }
  const pair = { certificate: await certificate(), key: await key() };
  const problem = tlsProblem({ clientCertificate: pair });
  if (problem !== undefined) {
    throw new ClusterConfigError(`The client certificate of user "${name}" cannot be used: ${problem}`);
  }
  return pair;
}

/** Headers of user impersonation. */
function impersonation(user: UserEntry, name: string): [string, string][] | undefined {
  const { as, asUid, asGroups = [], asUserExtra = {} } = user;
  if (as === undefined) {
    if (asUid === undefined && asGroups.length === 0 && Object.keys(asUserExtra).length === 0) {
      return undefined;
    }
    throw new ClusterConfigError(`User "${name}" impersonates a uid, groups or extras, but no user`);
  }
  const headers: [string, string][] = [["Impersonate-User", as]];
  if (asUid !== undefined) headers.push(["Impersonate-Uid", asUid]);
  for (const group of asGroups) headers.push(["Impersonate-Group", group]);
  for (const [key, values] of Object.entries(asUserExtra)) {
    // The API server decodes the percent-encoding and lowers the case of names.
    for (const value of values) {
      headers.push([`Impersonate-Extra-${encodeURIComponent(key).replace(/[()]/g, escapeByte)}`, value]);
    }
  }
  if (headers.some(([, value]) => !/^[\x20-\x7e]*$/.test(value))) {
    throw new ClusterConfigError(
      `User "${name}" impersonates with characters that an HTTP header cannot carry`,
    );
  }
  return headers;
}

function escapeByte(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** The cluster as exec plugins are told of it. */
function execCluster(server: string, ca: string | undefined, cluster: ClusterEntry): Record<string, unknown> {
  return defined({
    server,
    "tls-server-name": cluster.tlsServerName,
    "insecure-skip-tls-verify": cluster.insecureSkipTlsVerify,
    "certificate-authority-data": ca === undefined ? undefined : new TextEncoder().encode(ca).toBase64(),
    "proxy-url": cluster.proxyUrl,
    config: cluster.execConfig,
  });
}

/** @throws {ClusterConfigError} if `base64` is not. */
function decode(base64: string, what: string): string {
  try {
    return new TextDecoder().decode(Uint8Array.fromBase64(base64));
  } catch {
    throw new ClusterConfigError(`${what} is not base64`);
  }
}
