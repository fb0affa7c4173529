import assert from "node:assert/strict";
import { FakeClock } from "../../tests/fake_clock.ts";
import { createLogger } from "../log.ts";
import { type ClusterConfig, ClusterConfigError } from "./config.ts";
import { type ClusterOptions, loadClusterConfig } from "./load_config.ts";
import { makeTestCertificates } from "./test_certificates.ts";
import { TestHost } from "./test_host.ts";

const certificates = await makeTestCertificates();
const { ca, otherCa, clients: [client, otherClient] } = certificates;
const base64 = (text: string) => new TextEncoder().encode(text).toBase64();

const account = "/var/run/secrets/kubernetes.io/serviceaccount";
const pod = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" };
const podFiles = {
  [`${account}/token`]: "pod-token\n",
  [`${account}/ca.crt`]: ca,
  [`${account}/namespace`]: "pod-ns",
};
/** A kubeconfig with one context, that of `server`. */
const simple = (server: string) => kubeconfig({ server }, { token: "hush" });

function kubeconfig(
  cluster: Record<string, unknown>,
  user: Record<string, unknown>,
  namespace?: string,
): string {
  return JSON.stringify({
    "current-context": "x",
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u", namespace } }],
  });
}

function load(options: ClusterOptions, host: TestHost): Promise<ClusterConfig> {
  return loadClusterConfig(options, { host, clock: new FakeClock() });
}

/** What the requests of `config` carry. */
async function sent(config: ClusterConfig) {
  const given = await config.credentials?.({ force: false });
  return {
    certificate: given?.clientCertificate ?? config.clientCertificate,
    authorization: given?.authorization,
  };
}

const flag = { "/flag": simple("https://flag") };
const listed = { "/a": simple("https://a"), "/b": simple("https://b") };
const home = { "/home/.kube/config": simple("https://home") };
const HOME = "/home";
const sources: [
  string,
  options: ClusterOptions,
  files: Record<string, string>,
  variables: Record<string, string>,
  server: string,
][] = [
  [
    "a named kubeconfig comes before all",
    { kubeconfig: "/flag" },
    { ...flag, ...listed, ...podFiles, ...home },
    { KUBECONFIG: "/a", HOME, ...pod },
    "https://flag",
  ],
  ["KUBECONFIG comes before the pod", {}, { ...listed, ...podFiles, ...home }, {
    KUBECONFIG: "/a",
    HOME,
    ...pod,
  }, "https://a"],
  ["missing files of KUBECONFIG are skipped", {}, listed, { KUBECONFIG: "/none::/b:/a" }, "https://b"],
  [
    "a KUBECONFIG of missing files leaves the pod",
    {},
    { ...podFiles, ...home },
    { KUBECONFIG: "/none", HOME, ...pod },
    "https://10.0.0.1:443",
  ],
  [
    "the pod comes before the home directory",
    {},
    { ...podFiles, ...home },
    { HOME, ...pod },
    "https://10.0.0.1:443",
  ],
  [
    "an IPv6 address gets brackets",
    {},
    podFiles,
    { ...pod, KUBERNETES_SERVICE_HOST: "fd00::1" },
    "https://[fd00::1]:443",
  ],
  [
    "a context means a kubeconfig",
    { context: "x" },
    { ...podFiles, ...home },
    { HOME, ...pod },
    "https://home",
  ],
  ["a pod without token leaves the home directory", {}, home, { HOME, ...pod }, "https://home"],
  ["the home directory", {}, home, { HOME }, "https://home"],
  ["the server alone", { server: "https://127.0.0.1:1" }, {}, { HOME }, "https://127.0.0.1:1"],
  ["another server for the pod", { server: "https://127.0.0.1:1" }, podFiles, pod, "https://127.0.0.1:1"],
];
for (const [name, options, files, variables, server] of sources) {
  Deno.test(`loadClusterConfig: ${name}`, async () => {
    const config = await load(options, new TestHost(files, variables));
    assert.equal(config.server, server.replace(/:443$/, ""));
  });
}

Deno.test("loadClusterConfig: in a pod, as its service account", async () => {
  const host = new TestHost(podFiles, pod);
  const { credentials, caSource, ...config } = await load({}, host);
  assert.deepEqual(config, { server: "https://10.0.0.1", caCertificates: ca, namespace: "pod-ns" });
  assert.equal(await caSource?.({ force: false }), ca);
  assert.deepEqual(await credentials?.({ force: false }), { authorization: "Bearer pod-token" });
  host.files[`${account}/token`] = "next";
  assert.deepEqual(await credentials?.({ force: true }), { authorization: "Bearer next" });
});

Deno.test("loadClusterConfig: a pod without CA file trusts the system's", async () => {
  const config = await load({}, new TestHost({ [`${account}/token`]: "t" }, pod));
  assert.equal(config.caCertificates, undefined);
});

Deno.test("loadClusterConfig merges the files of KUBECONFIG", async () => {
  const users = JSON.stringify({ users: [{ name: "u", user: { token: "other" } }] });
  const host = new TestHost({ "/users": users, "/a": simple("https://a") }, { KUBECONFIG: "/users:/a" });
  const config = await load({}, host);
  assert.equal(config.server, "https://a");
  assert.equal((await sent(config)).authorization, "Bearer other");
});

const servers: [server: string, tls: boolean, expected: string][] = [
  ["https://127.0.0.1:6443/", false, "https://127.0.0.1:6443"],
  ["https://127.0.0.1/k8s/clusters/c-1/", false, "https://127.0.0.1/k8s/clusters/c-1"],
  ["127.0.0.1:8080", false, "http://127.0.0.1:8080"],
  ["127.0.0.1:6443", true, "https://127.0.0.1:6443"],
  ["http://[::1]:8080", false, "http://[::1]:8080"],
];
for (const [server, tls, expected] of servers) {
  Deno.test(`loadClusterConfig: server ${server}${tls ? " with a CA" : ""}`, async () => {
    const cluster = { server, ...(tls ? { "certificate-authority-data": base64(ca) } : {}) };
    assert.equal(
      (await load({ kubeconfig: "/k" }, new TestHost({ "/k": kubeconfig(cluster, {}) }))).server,
      expected,
    );
  });
}

const server = "https://127.0.0.1";
const users: [
  string,
  user: Record<string, unknown>,
  options: ClusterOptions,
  authorization: string | undefined,
  certificate: unknown,
][] = [
  ["nothing", {}, {}, undefined, undefined],
  ["a token", { token: "t" }, {}, "Bearer t", undefined],
  ["a token file comes before a token", { token: "t", tokenFile: "token" }, {}, "Bearer file", undefined],
  ["a password", { username: "jané", password: "p:q" }, {}, `Basic ${base64("jané:p:q")}`, undefined],
  [
    "a certificate inline",
    { "client-certificate-data": base64(client.certificate), "client-key-data": base64(client.key) },
    {},
    undefined,
    client,
  ],
  [
    "a certificate in files",
    { "client-certificate": "one.crt", "client-key": "/etc/one.key" },
    {},
    undefined,
    client,
  ],
  [
    "inline comes before files, part by part",
    {
      "client-certificate-data": base64(client.certificate),
      "client-certificate": "none",
      "client-key": "one.key",
    },
    {},
    undefined,
    client,
  ],
  [
    "a token and a certificate",
    { token: "t", "client-certificate": "one.crt", "client-key": "one.key" },
    {},
    "Bearer t",
    client,
  ],
  [
    "the flag's token takes the place of a password",
    { username: "a" },
    { token: "f" },
    "Bearer f",
    undefined,
  ],
  [
    "the flag's token takes the place of a file",
    { tokenFile: "none" },
    { token: "f" },
    "Bearer f",
    undefined,
  ],
  [
    "the flag's token takes the place of a plugin",
    { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "x" } },
    { token: "f" },
    "Bearer f",
    undefined,
  ],
  [
    "the flags' user takes the place of a token",
    { token: "t" },
    { username: "a", password: "b" },
    `Basic ${base64("a:b")}`,
    undefined,
  ],
  [
    "the flags' certificate takes the place of the file's",
    { "client-certificate-data": base64(client.certificate), "client-key-data": base64(client.key) },
    { clientCertificate: "/etc/two.crt", clientKey: "/etc/two.key" },
    undefined,
    otherClient,
  ],
];
const userFiles = {
  "/etc/token": "file\n",
  "/etc/one.crt": client.certificate,
  "/etc/one.key": client.key,
  "/etc/two.crt": otherClient.certificate,
  "/etc/two.key": otherClient.key,
};
for (const [name, user, options, authorization, certificate] of users) {
  Deno.test(`loadClusterConfig: user with ${name}`, async () => {
    const host = new TestHost({ ...userFiles, "/etc/k": kubeconfig({ server }, user) });
    const config = await load({ kubeconfig: "/etc/k", ...options }, host);
    assert.deepEqual(await sent(config), { authorization, certificate });
  });
}

Deno.test("loadClusterConfig: a plugin runs at the first use, with what it may know of the cluster", async () => {
  const cluster = {
    server,
    "certificate-authority-data": base64(ca),
    extensions: [{ name: "client.authentication.k8s.io/exec", extension: { audience: "a" } }],
  };
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command: "login",
    interactiveMode: "IfAvailable",
    provideClusterInfo: true,
  };
  const host = new TestHost({ "/k": kubeconfig(cluster, { exec }) });
  host.onRun = () => ({
    code: 0,
    stdout: JSON.stringify({ apiVersion: exec.apiVersion, kind: "ExecCredential", status: { token: "t" } }),
  });
  const config = await load({ kubeconfig: "/k" }, host);
  assert.equal(host.runs.length, 0);
  assert.equal((await sent(config)).authorization, "Bearer t");
  assert.deepEqual(JSON.parse(host.runs[0]?.env["KUBERNETES_EXEC_INFO"] ?? "").spec.cluster, {
    server,
    "certificate-authority-data": base64(ca),
    config: { audience: "a" },
  });
});

const clusters: [
  string,
  cluster: Record<string, unknown>,
  options: ClusterOptions,
  expected: Partial<ClusterConfig>,
][] = [
  ["a CA file", { "certificate-authority": "ca.crt" }, {}, { caCertificates: ca }],
  ["a CA inline", { "certificate-authority": "none", "certificate-authority-data": base64(ca) }, {}, {
    caCertificates: ca,
  }],
  [
    "the flag's CA",
    { "certificate-authority-data": base64(ca) },
    { certificateAuthority: "/etc/other.crt" },
    { caCertificates: otherCa },
  ],
  [
    "the flag's CA takes the place of no verification",
    { "insecure-skip-tls-verify": true },
    { certificateAuthority: "/etc/ca.crt" },
    { caCertificates: ca },
  ],
  [
    "the flag of no verification takes the place of the CA",
    { "certificate-authority-data": base64(ca) },
    { insecureSkipTlsVerify: true },
    { insecureSkipTlsVerify: true },
  ],
  ["a server name", { "tls-server-name": "a" }, {}, { tlsServerName: "a" }],
  ["the flag's server name", { "tls-server-name": "a" }, { tlsServerName: "b" }, { tlsServerName: "b" }],
  ["a proxy", { "proxy-url": "socks5://127.0.0.1:1" }, {}, { proxyUrl: "socks5://127.0.0.1:1" }],
  ["a time-out", {}, { requestTimeoutMs: 5 }, { requestTimeoutMs: 5 }],
  ["no time-out", {}, { requestTimeoutMs: 0 }, {}],
  ["the context's namespace", {}, {}, {}],
  ["the flag's namespace", {}, { namespace: "f" }, { namespace: "f" }],
];
for (const [name, cluster, options, expected] of clusters) {
  Deno.test(`loadClusterConfig: cluster with ${name}`, async () => {
    const host = new TestHost({
      "/etc/k": kubeconfig({ server, ...cluster }, {}, "ns"),
      "/etc/ca.crt": ca,
      "/etc/other.crt": otherCa,
    });
    const { caSource: _, ...config } = await load({ kubeconfig: "/etc/k", ...options }, host);
    assert.deepEqual(config, { server, namespace: "ns", ...expected });
  });
}

Deno.test("loadClusterConfig: a CA file is read again each minute and by force; one that cannot be used is told", async () => {
  const broken: [string, text: string | undefined, problem: string][] = [
    ["garbage", "hush", "it holds no PEM certificate"],
    ["half written", otherCa.slice(0, 200), "section end"],
    ["half written after a whole one", otherCa + ca.slice(0, 200), "section end"],
    ["no DER", "-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n", "BadEncoding"],
    ["empty", "", "it holds no PEM certificate"],
    ["gone", undefined, "it does not exist"],
  ];
  for (const [name, text, problem] of broken) {
    const host = new TestHost({
      "/etc/k": kubeconfig({ server: "https://a", "certificate-authority": "ca.crt" }, {}),
      "/etc/ca.crt": ca,
    });
    const clock = new FakeClock();
    const lines: string[] = [];
    const log = createLogger({ format: "text", level: 1, clock, write: (line) => lines.push(line) });
    const { caSource } = await loadClusterConfig({ kubeconfig: "/etc/k" }, { host, clock, log });
    assert(caSource !== undefined);
    if (text === undefined) delete host.files["/etc/ca.crt"];
    else host.files["/etc/ca.crt"] = text;
    for (const force of [true, true]) assert.equal(await caSource({ force }), ca, name);
    assert.equal(lines.length, 1, name);
    assert(lines[0]?.includes("stays in use") && lines[0].includes(problem), lines[0]);
    assert.doesNotMatch(lines.join(), /hush|aHVzaA/);
    host.files["/etc/ca.crt"] = otherCa;
    assert.equal(await caSource({ force: false }), ca, name);
    await clock.advance(60_000);
    assert.equal(await caSource({ force: false }), otherCa, name);
  }
});

Deno.test("loadClusterConfig: impersonation", async () => {
  const user = {
    as: "jane",
    "as-uid": "7",
    "as-groups": ["a", "b"],
    "as-user-extra": { "acme.com/Scope (x)": ["v", "w"] },
  };
  const host = new TestHost({ "/k": kubeconfig({ server }, user) });
  assert.deepEqual((await load({ kubeconfig: "/k" }, host)).impersonate, [
    ["Impersonate-User", "jane"],
    ["Impersonate-Uid", "7"],
    ["Impersonate-Group", "a"],
    ["Impersonate-Group", "b"],
    ["Impersonate-Extra-acme.com%2FScope%20%28x%29", "v"],
    ["Impersonate-Extra-acme.com%2FScope%20%28x%29", "w"],
  ]);
  assert.deepEqual((await load({ kubeconfig: "/k", as: "joe", asGroups: ["c"] }, host)).impersonate, [
    ["Impersonate-User", "joe"],
    ["Impersonate-Group", "c"],
  ]);
});

Deno.test("loadClusterConfig: other contexts, clusters and users than the current ones", async () => {
  const text = JSON.stringify({
    clusters: [{ name: "c1", cluster: { server: "https://c1" } }, {
      name: "c2",
      cluster: { server: "https://c2" },
    }],
    users: [{ name: "u1", user: { token: "t1" } }, { name: "u2", user: { token: "t2" } }],
    contexts: [{ name: "x1", context: { cluster: "c1", user: "u1" } }],
  });
  const chosen: [ClusterOptions, server: string, authorization: string | undefined][] = [
    [{ context: "x1" }, "https://c1", "Bearer t1"],
    [{ context: "x1", cluster: "c2" }, "https://c2", "Bearer t1"],
    [{ context: "x1", user: "u2" }, "https://c1", "Bearer t2"],
    [{ cluster: "c2", user: "u2" }, "https://c2", "Bearer t2"],
    [{ server: "https://s", user: "u2" }, "https://s", "Bearer t2"],
  ];
  for (const [options, server, authorization] of chosen) {
    const config = await load({ kubeconfig: "/k", ...options }, new TestHost({ "/k": text }));
    assert.deepEqual([config.server, (await sent(config)).authorization], [server, authorization]);
  }
});

/** Of a kubeconfig /k with cluster c and user u, whose secrets all hold "hush". */
const refused: [string, cluster: Record<string, unknown>, user: Record<string, unknown>, message: string][] =
  [
    ["a cluster without server", { server: "" }, {}, 'Cluster "c" has no server'],
    [
      "a server that is no URL",
      { server: "https://" },
      {},
      'The server of cluster "c" is not an http or https URL',
    ],
    ["another scheme", { server: "ftp://a" }, {}, 'The server of cluster "c" is not an http or https URL'],
    [
      "a server with a password",
      { server: "https://u:hush@127.0.0.1" },
      {},
      'The server URL of cluster "c" must have no user, query or fragment',
    ],
    [
      "a missing CA file",
      { "certificate-authority": "ca.crt" },
      {},
      'Cannot read the certificate authority of cluster "c" from /ca.crt: it does not exist',
    ],
    [
      "a CA that is not base64",
      { "certificate-authority-data": "-----BEGIN" },
      {},
      'certificate-authority-data of cluster "c" is not base64',
    ],
    [
      "a CA that is not PEM",
      { "certificate-authority-data": base64("hush") },
      {},
      'The certificate authority of cluster "c" cannot be used: it holds no PEM certificate',
    ],
    [
      "a CA that is no certificate",
      {
        "certificate-authority-data": base64(
          "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
      },
      {},
      'The certificate authority of cluster "c" cannot be used: invalid peer certificate: BadEncoding',
    ],
    [
      "a CA that is not to be looked at",
      { "certificate-authority-data": base64(ca), "insecure-skip-tls-verify": true },
      {},
      'Cluster "c" has both insecure-skip-tls-verify and a certificate authority: remove one of them',
    ],
    [
      "a bad proxy",
      { "proxy-url": "hush://hush@127.0.0.1" },
      {},
      'The proxy-url of cluster "c" is not an http, https or socks5 URL',
    ],
    [
      "a proxy with a server name",
      { "proxy-url": "http://u:hush@127.0.0.1", "tls-server-name": "a" },
      {},
      'Cluster "c" has proxy-url together with tls-server-name or insecure-skip-tls-verify, which is not supported',
    ],
    [
      "an auth-provider",
      {},
      { "auth-provider": { name: "gcp", config: { "access-token": "hush" } } },
      'User "u" has the auth-provider gcp, which Kubernetes 1.26 removed: use its exec plugin',
    ],
    [
      "two authorizations",
      {},
      { token: "hush", username: "a", password: "hush" },
      'User "u" has both a token and a username: remove one of them',
    ],
    [
      "a bad token",
      {},
      { token: "hush hush" },
      'The token of user "u" has characters that an HTTP header cannot carry',
    ],
    ["a missing token file", {}, { tokenFile: "t" }, "Cannot read the token from /t: it does not exist"],
    [
      "a certificate without key",
      {},
      { "client-certificate-data": base64(client.certificate) },
      'User "u" has a client certificate without its key',
    ],
    [
      "a key without certificate",
      {},
      { "client-key-data": base64("hush") },
      'User "u" has a client key without its certificate',
    ],
    [
      "a key that is none",
      {},
      { "client-certificate-data": base64(client.certificate), "client-key-data": base64("hush") },
      'The client certificate of user "u" cannot be used: No keys found in key data',
    ],
    [
      "a key of another certificate",
      {},
      { "client-certificate-data": base64(client.certificate), "client-key-data": base64(otherClient.key) },
      'The client certificate of user "u" cannot be used: keys may not be consistent: KeyMismatch',
    ],
    [
      "an encrypted key",
      {},
      {
        "client-certificate-data": base64(client.certificate),
        "client-key-data": base64(
          "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhush\n-----END ENCRYPTED PRIVATE KEY-----\n",
        ),
      },
      'The client certificate of user "u" cannot be used: the key is encrypted, which is not supported',
    ],
    [
      "a missing key file",
      {},
      { "client-certificate-data": base64(client.certificate), "client-key": "k.key" },
      'Cannot read the client-key of user "u" from /k.key: it does not exist',
    ],
    [
      "groups without user",
      {},
      { "as-groups": ["a"] },
      'User "u" impersonates a uid, groups or extras, but no user',
    ],
    [
      "a user with an umlaut",
      {},
      { as: "jané" },
      'User "u" impersonates with characters that an HTTP header cannot carry',
    ],
    [
      "a plugin that may not be run",
      {},
      { exec: { apiVersion: "client.authentication.k8s.io/v1", command: "bin/login", args: ["hush"] } },
      'The credential plugin /bin/login of user "u" may not be run: start Deno with --allow-run=/bin/login, or use a token or a client certificate',
    ],
  ];
for (const [name, cluster, user, message] of refused) {
  Deno.test(`loadClusterConfig refuses ${name}`, async () => {
    const host = new TestHost({ "/k": kubeconfig({ server, ...cluster }, user) });
    host.mayRunAll = false;
    await assert.rejects(load({ kubeconfig: "/k" }, host), (error) => {
      assert(error instanceof ClusterConfigError);
      assert.equal(error.message, message);
      return true;
    });
  });
}

const contexts = JSON.stringify({
  "current-context": "gone",
  clusters: [{ name: "c", cluster: { server } }],
  users: [{ name: "u", user: {} }],
  contexts: [
    { name: "no-cluster", context: { cluster: "gone", user: "u" } },
    { name: "no-user", context: { cluster: "c", user: "gone" } },
  ],
});
const nowhere: [
  string,
  options: ClusterOptions,
  files: Record<string, string | Error>,
  variables: Record<string, string>,
  message: string,
][] = [
  [
    "a kubeconfig that is missing",
    { kubeconfig: "/k" },
    {},
    {},
    "Cannot read the kubeconfig /k: it does not exist",
  ],
  [
    "a kubeconfig that may not be read",
    {},
    { "/home/.kube/config": new Deno.errors.PermissionDenied("x") },
    { HOME },
    "Cannot read the kubeconfig /home/.kube/config: its file permissions forbid it",
  ],
  [
    "nothing at all",
    {},
    {},
    { HOME },
    "No cluster to connect to: /home/.kube/config does not exist, KUBERNETES_SERVICE_HOST is not set. Name a kubeconfig, set KUBECONFIG, or run in a cluster",
  ],
  [
    "KUBECONFIG alone, of files that are missing",
    {},
    home,
    { HOME, KUBECONFIG: "/1:/2" },
    "No cluster to connect to: /1 does not exist, /2 does not exist, KUBERNETES_SERVICE_HOST is not set. Name a kubeconfig, set KUBECONFIG, or run in a cluster",
  ],
  [
    "a pod without token",
    {},
    {},
    pod,
    `No cluster to connect to: ${account}/token does not exist although KUBERNETES_SERVICE_HOST is set: let the pod mount its service account's token (automountServiceAccountToken). Name a kubeconfig, set KUBECONFIG, or run in a cluster`,
  ],
  [
    "a current-context that does not exist",
    { kubeconfig: "/k" },
    { "/k": contexts },
    {},
    'There is no context "gone" in /k: choose another (there are: no-cluster, no-user)',
  ],
  [
    "no current-context",
    {},
    { "/k": contexts.replace("current-context", "x"), "/l": "" },
    { KUBECONFIG: "/k:/l" },
    "There is no current-context in /k, /l: choose a context (there are: no-cluster, no-user)",
  ],
  [
    "a cluster that does not exist",
    { kubeconfig: "/k", context: "no-cluster" },
    { "/k": contexts },
    {},
    'There is no cluster "gone" in /k: add it, or choose another context (clusters: c)',
  ],
  [
    "a user that does not exist",
    { kubeconfig: "/k", context: "no-user" },
    { "/k": contexts },
    {},
    'There is no user "gone" in /k: add it, or choose another context (users: u)',
  ],
];
for (const [name, options, files, variables, message] of nowhere) {
  Deno.test(`loadClusterConfig refuses ${name}`, async () => {
    await assert.rejects(load(options, new TestHost(files, variables)), (error) => {
      assert(error instanceof ClusterConfigError, String(error));
      assert.equal(error.message, message);
      return true;
    });
  });
}
