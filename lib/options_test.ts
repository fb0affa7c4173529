import assert from "node:assert/strict";
import { type ClientFlags, helpText, type Options, parseCommandLine, parseDuration } from "./options.ts";

const DEFAULTS: Options = {
  client: { asGroups: [] },
  trustNamespace: "cert-manager",
  defaultPackageLocation: undefined,
  secretTargetsEnabled: false,
  secretTargetNames: [],
  filterExpired: false,
  filterNonCa: false,
  allowNegativeSerialNumbers: false,
  targetNamespaces: [],
  leaderElect: true,
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  readinessProbePort: 6060,
  readinessProbePath: "/readyz",
  metricsPort: 9402,
  logFormat: "text",
  logLevel: 1,
  webhookEnabled: true,
  webhookHost: "0.0.0.0",
  webhookPort: 6443,
  webhookCertificateDir: "/tls",
  webhookCertificateSource: "files",
  webhookSecretName: "trust-manager-webhook",
  webhookServiceName: "trust-manager",
  webhookConfigurationName: "trust-manager",
  tlsMinVersion: "TLSv1.2",
};

function optionsOf(...args: string[]): Options {
  const command = parseCommandLine(args);
  assert.ok(command.run === "operator");
  return command.options;
}

Deno.test("without flags, all is as users of the Go project know it", () => {
  assert.deepEqual(optionsOf(), DEFAULTS);
});

Deno.test("each flag sets its option, and nothing else", async (t) => {
  const client = (flags: Partial<ClientFlags>) => ({ client: { asGroups: [], ...flags } });
  const table: { args: string; sets: Partial<Options> }[] = [
    { args: "--trust-namespace=trust", sets: { trustNamespace: "trust" } },
    { args: "--trust-namespace trust", sets: { trustNamespace: "trust" } },
    { args: "--trust-namespace=a --trust-namespace=b", sets: { trustNamespace: "b" } },
    { args: "--default-package-location=/p/a.json", sets: { defaultPackageLocation: "/p/a.json" } },
    { args: "--default-package-location=/p/a=b.json", sets: { defaultPackageLocation: "/p/a=b.json" } },
    { args: "--default-package-location=", sets: {} },
    { args: "--secret-targets-enabled", sets: { secretTargetsEnabled: true } },
    { args: "--secret-targets-enabled=true", sets: { secretTargetsEnabled: true } },
    { args: "--secret-targets-enabled=T", sets: { secretTargetsEnabled: true } },
    { args: "--secret-targets-enabled=1", sets: { secretTargetsEnabled: true } },
    { args: "--secret-targets-enabled=false", sets: {} },
    { args: "--filter-expired-certificates", sets: { filterExpired: true } },
    { args: "--filter-non-ca-certs", sets: { filterNonCa: true } },
    { args: "--allow-negative-serial-numbers", sets: { allowNegativeSerialNumbers: true } },
    { args: "--allow-negative-serial-numbers=false", sets: {} },
    { args: "--secret-target-names=a,b.c,,a", sets: { secretTargetNames: ["a", "b.c"] } },
    { args: "--secret-target-names=", sets: {} },
    { args: "--target-namespaces=a", sets: { targetNamespaces: ["a"] } },
    { args: "--target-namespaces=a,b,,a", sets: { targetNamespaces: ["a", "b"] } },
    { args: "--target-namespaces=a --target-namespaces b,c", sets: { targetNamespaces: ["a", "b", "c"] } },
    { args: "--target-namespaces=", sets: {} },
    { args: "--leader-elect", sets: {} },
    { args: "--leader-elect=false", sets: { leaderElect: false } },
    { args: "--leader-elect=F", sets: { leaderElect: false } },
    { args: "--leader-elect=0", sets: { leaderElect: false } },
    { args: "--leader-election-lease-duration=1m30s", sets: { leaseDurationMs: 90_000 } },
    { args: "--leader-election-renew-deadline 3s", sets: { renewDeadlineMs: 3_000 } },
    { args: "--readiness-probe-port=8080", sets: { readinessProbePort: 8080 } },
    { args: "--readiness-probe-path=/ready", sets: { readinessProbePath: "/ready" } },
    { args: "--metrics-port=0", sets: { metricsPort: 0 } },
    { args: "--log-format=json", sets: { logFormat: "json" } },
    { args: "--log-format=text", sets: {} },
    { args: "--log-level=5", sets: { logLevel: 5 } },
    { args: "-v=2", sets: { logLevel: 2 } },
    { args: "-v 3", sets: { logLevel: 3 } },
    { args: "-v4", sets: { logLevel: 4 } },
    { args: "-v=0", sets: { logLevel: 0 } }, // not offered, but the Go project takes it
    { args: "--webhook-enabled=false", sets: { webhookEnabled: false } },
    { args: "--webhook-host=127.0.0.1", sets: { webhookHost: "127.0.0.1" } },
    { args: "--webhook-port=65535", sets: { webhookPort: 65535 } },
    { args: "--webhook-certificate-dir=/certs", sets: { webhookCertificateDir: "/certs" } },
    { args: "--webhook-certificate-source=self", sets: { webhookCertificateSource: "self" } },
    { args: "--webhook-secret-name=a", sets: { webhookSecretName: "a" } },
    { args: "--webhook-service-name=a", sets: { webhookServiceName: "a" } },
    { args: "--webhook-configuration-name=a", sets: { webhookConfigurationName: "a" } },
    { args: "--tls-cipher-suites=", sets: {} },
    { args: "--tls-curve-preferences=", sets: {} },
    { args: "--kubeconfig=/k", sets: client({ kubeconfig: "/k" }) },
    { args: "--context=c", sets: client({ context: "c" }) },
    { args: "--cluster=c", sets: client({ cluster: "c" }) },
    { args: "--user=u", sets: client({ user: "u" }) },
    { args: "--server=https://127.0.0.1:1", sets: client({ server: "https://127.0.0.1:1" }) },
    { args: "-s https://127.0.0.1:1", sets: client({ server: "https://127.0.0.1:1" }) },
    { args: "--token=t", sets: client({ token: "t" }) },
    { args: "--token -t-", sets: client({ token: "-t-" }) },
    { args: "--namespace=n", sets: client({ namespace: "n" }) },
    { args: "-n n", sets: client({ namespace: "n" }) },
    { args: "--as=a", sets: client({ as: "a" }) },
    { args: "--as-group=g --as-group=h", sets: client({ asGroups: ["g", "h"] }) },
    { args: "--as-uid=u", sets: client({ asUid: "u" }) },
    { args: "--certificate-authority=/ca", sets: client({ certificateAuthority: "/ca" }) },
    { args: "--client-certificate=/c", sets: client({ clientCertificate: "/c" }) },
    { args: "--client-key=/k", sets: client({ clientKey: "/k" }) },
    { args: "--tls-server-name=n", sets: client({ tlsServerName: "n" }) },
    { args: "--insecure-skip-tls-verify", sets: client({ insecureSkipTlsVerify: true }) },
    { args: "--insecure-skip-tls-verify=false", sets: client({ insecureSkipTlsVerify: false }) },
    { args: "--request-timeout=30s", sets: {} },
    { args: "--request-timeout=30", sets: {} },
    { args: "--cache-dir=/c", sets: {} },
    { args: "--disable-compression", sets: {} },
    { args: "-- ", sets: {} },
    {
      args: "--leader-elect=false -v 2 --trust-namespace t --secret-targets-enabled --metrics-port 1",
      sets: {
        leaderElect: false,
        logLevel: 2,
        trustNamespace: "t",
        secretTargetsEnabled: true,
        metricsPort: 1,
      },
    },
  ];
  for (const { args, sets } of table) {
    await t.step(args, () => {
      assert.deepEqual(optionsOf(...args.split(" ").filter((arg) => arg !== "")), { ...DEFAULTS, ...sets });
    });
  }
});

Deno.test("a TLS version is taken if it is one; older ones come to what the runtime has", () => {
  for (const version of ["VersionTLS10", "VersionTLS11", "VersionTLS12"]) {
    assert.equal(optionsOf(`--tls-min-version=${version}`).tlsMinVersion, "TLSv1.2");
  }
  assert.equal(optionsOf("--tls-min-version=VersionTLS13").tlsMinVersion, "TLSv1.3");
});

Deno.test("what cannot be used gets one clear line", async (t) => {
  const duration = "a duration such as 15s or 1m30s";
  const versions = "one of VersionTLS10, VersionTLS11, VersionTLS12, VersionTLS13";
  const notEnforced = (flag: string) =>
    `Flag --${flag} cannot be enforced: the TLS server of this runtime ignores it. ` +
    "Remove it, or restrict TLS with --tls-min-version=VersionTLS13";
  const table: { args: string; message: string }[] = [
    { args: "--no-such-flag", message: "Unknown flag --no-such-flag: see --help for all flags" },
    { args: "--no-such-flag=secret", message: "Unknown flag --no-such-flag: see --help for all flags" },
    { args: "--no-leader-elect", message: "Unknown flag --no-leader-elect: see --help for all flags" },
    { args: "--Metrics-Port=1", message: "Unknown flag --Metrics-Port: see --help for all flags" },
    { args: "--toString", message: "Unknown flag --toString: see --help for all flags" },
    { args: "-x", message: "Unknown flag -x: see --help for all flags" },
    { args: "run", message: 'Unknown argument "run": only flags are taken; see --help' },
    {
      args: "validate-package package.json",
      message: 'Unknown argument "validate-package": only flags are taken; see --help',
    },
    {
      args: "version --log-level=1",
      message: 'Unknown argument "version": only flags are taken; see --help',
    },
    // As with the Go project's flags, a boolean takes its value only after "=".
    { args: "--leader-elect false", message: 'Unknown argument "false": only flags are taken; see --help' },
    { args: "--trust-namespace", message: "Flag --trust-namespace needs a value" },
    { args: "-v", message: "Flag -v needs a value" },
    { args: "--target-namespaces", message: "Flag --target-namespaces needs a value" },
    {
      args: "--secret-target-names=a,x=y",
      message: 'Flag --secret-target-names: "x=y" is not the name of an object',
    },
    { args: "--leader-elect=yes", message: 'Flag --leader-elect: "yes" is not a boolean (true or false)' },
    { args: "--leader-elect=", message: 'Flag --leader-elect: "" is not a boolean (true or false)' },
    {
      args: "--insecure-skip-tls-verify=no",
      message: 'Flag --insecure-skip-tls-verify: "no" is not a boolean (true or false)',
    },
    {
      args: "--disable-compression=x",
      message: 'Flag --disable-compression: "x" is not a boolean (true or false)',
    },
    { args: "--metrics-port=http", message: 'Flag --metrics-port: "http" is not a port (0 to 65535)' },
    { args: "--metrics-port=", message: 'Flag --metrics-port: "" is not a port (0 to 65535)' },
    { args: "--metrics-port=1.5", message: 'Flag --metrics-port: "1.5" is not a port (0 to 65535)' },
    { args: "--metrics-port==1", message: 'Flag --metrics-port: "=1" is not a port (0 to 65535)' },
    {
      args: "--readiness-probe-port=65536",
      message: 'Flag --readiness-probe-port: "65536" is not a port (0 to 65535)',
    },
    { args: "--webhook-port=-1", message: 'Flag --webhook-port: "-1" is not a port (0 to 65535)' },
    {
      args: "--readiness-probe-path=ready",
      message: 'Flag --readiness-probe-path: "ready" is not a path that starts with /',
    },
    { args: "--log-format=xml", message: 'Flag --log-format: "xml" is not text or json' },
    { args: "--log-level=6", message: 'Flag --log-level: "6" is not a number from 0 to 5' },
    { args: "-v=debug", message: 'Flag --log-level: "debug" is not a number from 0 to 5' },
    {
      args: "--leader-election-lease-duration=15",
      message: `Flag --leader-election-lease-duration: "15" is not ${duration}`,
    },
    {
      args: "--leader-election-renew-deadline=-3s",
      message: `Flag --leader-election-renew-deadline: "-3s" is not ${duration}`,
    },
    { args: "--request-timeout=soon", message: `Flag --request-timeout: "soon" is not ${duration}` },
    {
      args: "--leader-election-lease-duration=10s",
      message: "Flag --leader-election-renew-deadline must be shorter than --leader-election-lease-duration",
    },
    {
      args: "--leader-election-renew-deadline=2999ms",
      message: "Flag --leader-election-renew-deadline must be at least 3s",
    },
    {
      args: "--webhook-certificate-source=cert-manager",
      message: 'Flag --webhook-certificate-source: "cert-manager" is not files or self',
    },
    { args: "--tls-min-version=1.2", message: `Flag --tls-min-version: "1.2" is not ${versions}` },
    {
      args: "--tls-min-version=VersionTLS14",
      message: `Flag --tls-min-version: "VersionTLS14" is not ${versions}`,
    },
    { args: "--tls-cipher-suites=TLS_AES_128_GCM_SHA256", message: notEnforced("tls-cipher-suites") },
    { args: "--tls-curve-preferences=23,29", message: notEnforced("tls-curve-preferences") },
  ];
  for (const { args, message } of table) {
    await t.step(args, () => {
      assert.throws(() => parseCommandLine(args.split(" ")), { name: "UsageError", message });
    });
  }
});

Deno.test("commands that only print", async (t) => {
  const table: { args: string[]; run: string }[] = [
    { args: ["--help"], run: "help" },
    { args: ["-h"], run: "help" },
    { args: ["help"], run: "help" },
    { args: ["--metrics-port=1", "--help"], run: "help" },
    { args: ["version"], run: "version" },
    { args: ["--version"], run: "version" },
    { args: ["validate-package"], run: "validate-package" },
  ];
  for (const { args, run } of table) {
    await t.step(args.join(" "), () => assert.deepEqual(parseCommandLine(args), { run }));
  }
});

Deno.test("durations are Go's", async (t) => {
  const table: [value: string, ms: number | undefined][] = [
    ["0", 0],
    ["0s", 0],
    ["15s", 15_000],
    ["+15s", 15_000],
    ["1m30s", 90_000],
    ["1.5h", 5_400_000],
    ["1h0m0.5s", 3_600_500],
    [".5s", 500],
    ["1.s", 1_000],
    ["250ms", 250],
    ["1500us", 1.5],
    ["1500µs", 1.5], // micro sign
    ["1500μs", 1.5], // Greek mu
    ["1000000ns", 1],
    ["1s1s", 2_000],
    ["", undefined],
    ["+", undefined],
    ["15", undefined],
    ["s", undefined],
    [".s", undefined],
    ["-15s", undefined],
    ["15 s", undefined],
    [" 15s", undefined],
    ["15s ", undefined],
    ["15S", undefined],
    ["1d", undefined],
    ["1e3s", undefined],
    ["1,5s", undefined],
    ["1m30", undefined],
    ["forever", undefined],
  ];
  for (const [value, ms] of table) {
    await t.step(JSON.stringify(value), () => assert.equal(parseDuration(value), ms));
  }
});

Deno.test("the help names every flag, with its default", async (t) => {
  const help = helpText();
  const table = [
    ["--trust-namespace string", "Default: cert-manager."],
    ["--default-package-location string", ""],
    ["--secret-targets-enabled", "Default: false."],
    ["--filter-expired-certificates", "Default: false."],
    ["--filter-non-ca-certs", "Default: false."],
    ["--allow-negative-serial-numbers", "Default: false."],
    ["--secret-target-names list", ""],
    ["--target-namespaces list", ""],
    ["--leader-elect", "Default: true."],
    ["--leader-election-lease-duration duration", "Default: 15s."],
    ["--leader-election-renew-deadline duration", "Default: 10s."],
    ["--readiness-probe-port integer", "Default: 6060."],
    ["--readiness-probe-path string", "Default: /readyz."],
    ["--metrics-port integer", "Default: 9402."],
    ["--log-format string", "Default: text."],
    ["-v, --log-level integer", "Default: 1."],
    ["--webhook-enabled", "Default: true."],
    ["--webhook-host string", "Default: 0.0.0.0."],
    ["--webhook-port integer", "Default: 6443."],
    ["--webhook-certificate-dir string", "Default: /tls."],
    ["--webhook-certificate-source string", "Default: files."],
    ["--webhook-secret-name string", "Default: trust-manager-webhook."],
    ["--webhook-service-name string", "Default: trust-manager."],
    ["--webhook-configuration-name string", "Default: trust-manager."],
    ["--tls-min-version string", ""],
    ["--tls-cipher-suites list", ""],
    ["--tls-curve-preferences list", ""],
    ["--kubeconfig string", ""],
    ["--context string", ""],
    ["--cluster string", ""],
    ["--user string", ""],
    ["-s, --server string", ""],
    ["--token string", ""],
    ["-n, --namespace string", ""],
    ["--as string", ""],
    ["--as-group string", ""],
    ["--as-uid string", ""],
    ["--certificate-authority string", ""],
    ["--client-certificate string", ""],
    ["--client-key string", ""],
    ["--tls-server-name string", ""],
    ["--insecure-skip-tls-verify", ""],
    ["--request-timeout duration", ""],
    ["--cache-dir string", ""],
    ["--disable-compression", ""],
  ] as const;
  const lines = help.split("\n");
  for (const [flag, value] of table) {
    await t.step(flag, () => {
      const at = lines.findIndex((line) => line.trim() === flag);
      assert.ok(at >= 0, "not in the help");
      const text = lines[at + 1]?.trim() ?? "";
      assert.match(text, /^\S.*\.$/);
      assert.ok(text.endsWith(value));
      assert.equal(text.includes("Default:"), value !== "");
    });
  }
  // A flag that is not in the table above is not tested either.
  assert.equal(help.match(/^ +(-\w, )?--/gm)?.length, table.length);
});
