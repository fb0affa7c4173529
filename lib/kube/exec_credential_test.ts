import assert from "node:assert/strict";
import { systemClock } from "../clock.ts";
import { FakeClock, settled } from "../../tests/fake_clock.ts";
import { ClusterConfigError } from "./config.ts";
import { execCredentials, type ExecPlugin, readExecCredential } from "./exec_credential.ts";
import { type Host, systemHost } from "./host.ts";
import { makeTestCertificates } from "./test_certificates.ts";
import { TestHost } from "./test_host.ts";

const [later, force] = [{ force: false }, { force: true }];
const v1 = "client.authentication.k8s.io/v1";
const plugin: ExecPlugin = {
  apiVersion: v1,
  command: "login",
  args: ["--cluster", "x"],
  env: { REGION: "y" },
  provideClusterInfo: false,
};
const answer = (status: unknown, fields: Record<string, unknown> = {}) =>
  JSON.stringify({ apiVersion: v1, kind: "ExecCredential", status, ...fields });
const isError = (message: string) => (error: unknown) => {
  assert(error instanceof ClusterConfigError, String(error));
  assert.equal(error.message, `The credential plugin login of user "u" ${message}`);
  return true;
};

const bad: [string, stdout: string, problem: string][] = [
  ["no JSON", "token: hush", "something other than JSON"],
  ["nothing", "", "something other than JSON"],
  ["null", "null", "no ExecCredential"],
  ["another kind", answer({ token: "hush" }, { kind: "Secret" }), "no ExecCredential"],
  [
    "another version",
    answer({ token: "hush" }, { apiVersion: "client.authentication.k8s.io/v1beta1" }),
    `another apiVersion than the kubeconfig's ${v1}`,
  ],
  ["no status", answer(undefined), "neither a token nor a client certificate"],
  ["an empty token", answer({ token: "" }), "neither a token nor a client certificate"],
  ["a numeric token", answer({ token: 4711 }), "a status with a field that is no string"],
  ["a token with a newline", answer({ token: "hush\nhush" }), "a token that an HTTP header cannot carry"],
  [
    "a certificate alone",
    answer({ clientCertificateData: "x" }),
    "only one of clientCertificateData and clientKeyData",
  ],
  [
    "a certificate that is none",
    answer({ clientCertificateData: "hush", clientKeyData: "hush" }),
    "a client certificate that cannot be used: No certificates found in certificate data",
  ],
  [
    "a bad time",
    answer({ token: "hush", expirationTimestamp: "soon" }),
    "an expirationTimestamp that is no time",
  ],
];
for (const [name, stdout, problem] of bad) {
  Deno.test(`readExecCredential refuses ${name}`, () => {
    assert.throws(() => readExecCredential(stdout, plugin, "u"), isError(`returned ${problem}`));
  });
}

Deno.test("readExecCredential reads tokens, certificates and expiry", async () => {
  assert.deepEqual(readExecCredential(answer({ token: "t", expirationTimestamp: null }), plugin, "u"), {
    credentials: { authorization: "Bearer t" },
  });
  const { clients: [{ certificate, key }] } = await makeTestCertificates();
  const status = {
    clientCertificateData: certificate,
    clientKeyData: key,
    expirationTimestamp: "2030-01-01T02:00:00+01:00",
  };
  assert.deepEqual(readExecCredential(answer(status), plugin, "u"), {
    credentials: { clientCertificate: { certificate, key } },
    expiresAt: Date.parse("2030-01-01T01:00:00Z"),
  });
});

Deno.test("execCredentials runs the plugin when its credential has expired, and when it was refused", async () => {
  const host = new TestHost();
  const clock = new FakeClock("2030-01-01T00:00:00Z");
  host.onRun = () => {
    const expirationTimestamp = new Date(clock.now() + 3_600_000).toISOString();
    return { code: 0, stdout: answer({ token: `t${host.runs.length}`, expirationTimestamp }) };
  };
  const source = execCredentials(plugin, {}, "u", { host, clock });
  assert.deepEqual(await source(later), { authorization: "Bearer t1" });
  assert.equal(await source(later), await source(later));
  await clock.advance(3_594_999);
  assert.deepEqual(await source(later), { authorization: "Bearer t1" });
  await clock.advance(1);
  assert.deepEqual(await source(later), { authorization: "Bearer t2" });
  assert.deepEqual(await source(force), { authorization: "Bearer t3" });
  assert.equal(host.runs.length, 3);
  assert.equal(clock.timers, 0);
});

Deno.test("execCredentials without an expiry runs once", async () => {
  const host = new TestHost();
  const clock = new FakeClock();
  host.onRun = () => ({ code: 0, stdout: answer({ token: "t" }) });
  const source = execCredentials(plugin, {}, "u", { host, clock });
  await source(later);
  await clock.advance(1_000_000_000);
  await source(later);
  assert.equal(host.runs.length, 1);
});

Deno.test("execCredentials tells the plugin of the cluster if it wants that", async () => {
  const host = new TestHost();
  host.onRun = () => ({ code: 0, stdout: answer({ token: "t" }) });
  const deps = { host, clock: new FakeClock() };
  const cluster = { server: "https://127.0.0.1" };
  await execCredentials(plugin, cluster, "u", deps)(later);
  await execCredentials({ ...plugin, provideClusterInfo: true }, cluster, "u", deps)(later);
  const infos = host.runs.map(({ env }) => JSON.parse(env["KUBERNETES_EXEC_INFO"] ?? ""));
  assert.deepEqual(infos, [
    { apiVersion: v1, kind: "ExecCredential", spec: { interactive: false } },
    { apiVersion: v1, kind: "ExecCredential", spec: { interactive: false, cluster } },
  ]);
  assert.deepEqual(host.runs[0]?.args, plugin.args);
  assert.equal(host.runs[0]?.env["REGION"], "y");
});

const failures: [string, run: Host["run"], hint: string | undefined, message: string][] = [
  [
    "is missing",
    () => Promise.reject(new Deno.errors.NotFound("x")),
    " get it:\n  apt install login ",
    "is not installed. Its hint: get it: apt install login",
  ],
  [
    "is missing, without a hint",
    () => Promise.reject(new Deno.errors.NotFound("x")),
    undefined,
    "is not installed",
  ],
  [
    "is not permitted",
    () => Promise.reject(new Deno.errors.NotCapable("x")),
    undefined,
    "may not be run: start Deno with --allow-run=login, or use a token or a client certificate",
  ],
  [
    "is not executable",
    () => Promise.reject(new Deno.errors.PermissionDenied("denied")),
    undefined,
    "cannot be run: denied",
  ],
  [
    "fails",
    () => Promise.resolve({ code: 3, stdout: "hush" }),
    undefined,
    "failed with exit code 3; standard error says more",
  ],
];
for (const [name, run, installHint, message] of failures) {
  Deno.test(`execCredentials: the plugin ${name}`, async () => {
    const host = new TestHost();
    host.onRun = run;
    const hinted = installHint === undefined ? plugin : { ...plugin, installHint };
    await assert.rejects(
      execCredentials(hinted, {}, "u", { host, clock: new FakeClock() })(later),
      isError(message),
    );
  });
}

Deno.test("execCredentials kills a plugin that does not end", async () => {
  const host = new TestHost();
  const clock = new FakeClock();
  host.onRun = ({ signal }) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("killed"))));
  const failed = assert.rejects(
    execCredentials(plugin, {}, "u", { host, clock })(later),
    isError("did not end within 60 seconds"),
  );
  await settled();
  await clock.advance(60_000);
  await failed;
  assert.equal(host.runs[0]?.signal.aborted, true);
});

Deno.test("execCredentials runs a real program", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const command = `${directory}/login`;
    const script = `#!/bin/sh
read line && exit 9
echo "$KUBERNETES_EXEC_INFO" > ${directory}/info
printf '{"apiVersion":"${v1}","kind":"ExecCredential","status":{"token":"%s-%s"}}' "$1" "$SUFFIX"
`;
    await Deno.writeTextFile(command, script, { mode: 0o755 });
    const real: ExecPlugin = {
      ...plugin,
      command,
      args: ["a"],
      env: { SUFFIX: "b" },
      provideClusterInfo: true,
    };
    const source = execCredentials(real, { server: "s" }, "u", { host: systemHost, clock: systemClock });
    assert.deepEqual(await source(later), { authorization: "Bearer a-b" });
    assert.equal(JSON.parse(await Deno.readTextFile(`${directory}/info`)).spec.cluster.server, "s");
    await Deno.writeTextFile(command, "#!/bin/sh\nexit 4\n");
    await assert.rejects(source(force), /failed with exit code 4/);
    const missing = { ...real, command: `${directory}/none`, installHint: "get it" };
    await assert.rejects(
      execCredentials(missing, {}, "u", { host: systemHost, clock: systemClock })(later),
      /none of user "u" is not installed. Its hint: get it$/,
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
