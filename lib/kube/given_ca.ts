import type { Logger } from "../log.ts";
import { type ClusterConfig, ClusterConfigError } from "./config.ts";
import type { Host } from "./host.ts";

/**
 * Variables by which Deno's `fetch` comes to trust CAs beside those that a client is given, and whether such a value has none. (Without
 * `DENO_TLS_CA_STORE` these are the public CAs that Deno brings.) The runtime reads them itself, whatever the process may read.
 */
const VARIABLES: readonly (readonly [name: string, isHarmless: (value: string | undefined) => boolean])[] = [
  ["DENO_TLS_CA_STORE", (value) => value === ""],
  // An empty one is the name of a file that does not exist, with which `fetch` fails.
  ["DENO_CERT", (value) => value === undefined],
  ["NODE_EXTRA_CA_CERTS", (value) => !value],
];

/**
 * The same configuration, such that the API server's certificate can be of no CA but those that it names, whatever the environment
 * says: where the runtime would trust others too, connections are made by `node:https`, which does not. A configuration that names no CA
 * is left to the runtime: then the environment is what says whom to trust.
 *
 * @throws {ClusterConfigError} if it has a proxy, which `node:https` does not go by.
 */
export function withGivenCaOnly(
  config: ClusterConfig,
  { host, log }: { readonly host: Pick<Host, "env">; readonly log: Logger },
): ClusterConfig {
  const namesCa = config.caCertificates !== undefined || config.caSource !== undefined;
  if (!namesCa || !config.server.startsWith("https:")) return config;
  const variables = VARIABLES.filter(([name, isHarmless]) => !isHarmless(host.env(name))).map(([name]) =>
    name
  );
  if (variables.length === 0) return config;
  if (config.proxyUrl !== undefined) {
    throw new ClusterConfigError(
      `The environment would have the API server trusted by other CAs than its own: set DENO_TLS_CA_STORE to nothing, and unset ` +
        `DENO_CERT and NODE_EXTRA_CA_CERTS (now: ${variables.join(", ")})`,
    );
  }
  log.info(
    "The environment names CAs that the API server is not trusted by; HTTP/1.1 is used for that reason",
    {
      variables: variables.join(", "),
      hint: "Set DENO_TLS_CA_STORE to nothing, and unset DENO_CERT and NODE_EXTRA_CA_CERTS, for HTTP/2",
    },
  );
  return { ...config, givenCaOnly: true };
}
