import { DefaultPackageError, parseDefaultPackage } from "./lib/certs/default_package.ts";
import { systemClock } from "./lib/clock.ts";
import { takeDebuggerPort } from "./lib/debugger_port.ts";
import { ListenError } from "./lib/http_server.ts";
import { ClusterConfigError } from "./lib/kube/config.ts";
import { withGivenCaOnly } from "./lib/kube/given_ca.ts";
import { systemHost } from "./lib/kube/host.ts";
import { podNamespace } from "./lib/kube/in_cluster.ts";
import { loadClusterConfig } from "./lib/kube/load_config.ts";
import { createLogger } from "./lib/log.ts";
import { Metrics } from "./lib/metrics.ts";
import { runOperator, StartError } from "./lib/operator.ts";
import { helpText, type Options, parseCommandLine, UsageError } from "./lib/options.ts";
import { VERSION } from "./lib/version.ts";

/** Runs the command line `args` and returns the exit code: 0 done, 1 failed, 2 a command line that cannot be used. */
async function main(args: readonly string[]): Promise<number> {
  try {
    const command = parseCommandLine(args);
    switch (command.run) {
      case "help":
        console.log(helpText());
        return 0;
      case "version":
        console.log(`trust-manager v${VERSION}`);
        return 0;
      case "validate-package":
        return await validatePackage();
      case "operator":
        return await operate(command.options);
    }
  } catch (error) {
    if (!isForUser(error)) throw error;
    console.error(`trust-manager: ${error.message}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Errors whose message is one line for the user; all others are defects, and keep their stack. */
function isForUser(error: unknown): error is Error {
  return [UsageError, StartError, ListenError, ClusterConfigError, DefaultPackageError]
    .some((type) => error instanceof type);
}

/** Checks the default CA package on standard input as the operator would, and prints what it is. */
async function validatePackage(): Promise<number> {
  const json = await new Response(Deno.stdin.readable).text();
  const { id, certificates, warnings } = parseDefaultPackage(json);
  for (const warning of warnings) console.error(`trust-manager: ${warning}`);
  console.log(`${id}: ${certificates.length} certificates`);
  return 0;
}

async function operate(options: Options): Promise<number> {
  const clock = systemClock;
  const start = clock.now() - clock.monotonic();
  const log = createLogger({
    format: options.logFormat,
    level: options.logLevel,
    write: (line) => console.log(line),
    clock,
  });
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => {
      log.info("Stopping", { signal });
      stop.abort(new Error(`Received ${signal}`));
    });
  }
  const debuggerPort = takeDebuggerPort();
  Deno.addSignalListener("SIGUSR1", () => {
    if (debuggerPort !== undefined) {
      log.info("Ignored a signal that asks for a debugger", { signal: "SIGUSR1" });
      return;
    }
    // Whoever has the port may have let go of it, so that a debugger may be getting in just now. To end is what the signal means
    // to most programs.
    log.info("Ending, because a signal asks for a debugger", { signal: "SIGUSR1" });
    Deno.exit(1);
  });
  log.info("Starting", { version: VERSION });
  const loaded = await loadClusterConfig(options.client, { host: systemHost, clock, log });
  const cluster = withGivenCaOnly(loaded, { host: systemHost, log });
  const ending = await runOperator({
    options,
    cluster,
    podNamespace: await podNamespace(systemHost),
    hostname: Deno.hostname(),
    userAgent: `trust-manager/v${VERSION}`,
    clock,
    random: Math.random,
    log,
    metrics: new Metrics(start, VERSION),
  }, stop.signal);
  log.info("Ended", { ending });
  return ending === "stopped" ? 0 : 1;
}

Deno.exit(await main(Deno.args));
