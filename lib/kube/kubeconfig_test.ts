import assert from "node:assert/strict";
import { ClusterConfigError } from "./config.ts";
import { mergeKubeconfigs, parseKubeconfig } from "./kubeconfig.ts";

const whole = `
apiVersion: v1
kind: Config
current-context: one
preferences: {}
clusters:
- name: c
  cluster:
    server: https://127.0.0.1:6443
    certificate-authority: pki/ca.crt
    certificate-authority-data: QUJD
    insecure-skip-tls-verify: false
    tls-server-name: kubernetes
    proxy-url: http://127.0.0.1:3128
    extensions:
    - name: other
      extension: {a: 1}
    - name: client.authentication.k8s.io/exec
      extension: {audience: x}
users:
- name: u
  user:
    tokenFile: /abs/token
    client-certificate: u.crt
    client-key: ../u.key
    as: jane
    as-uid: "7"
    as-groups: [a, b]
    as-user-extra: {scopes: [view, edit]}
- name: plugin
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: ./bin/login
      args: [--quiet]
      env: [{name: REGION, value: x}]
      interactiveMode: Never
      provideClusterInfo: true
      installHint: get it
- name: path-plugin
  user: {exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: login, args: null}}
- name: empty
  user:
contexts:
- name: one
  context: {cluster: c, user: u, namespace: n}
`;

Deno.test("parseKubeconfig reads all that is used; relative paths start at the file", async () => {
  const config = await parseKubeconfig(whole, "/home/a/.kube/config");
  assert.deepEqual(config, {
    files: ["/home/a/.kube/config"],
    currentContext: "one",
    clusters: new Map([["c", {
      server: "https://127.0.0.1:6443",
      certificateAuthority: "/home/a/.kube/pki/ca.crt",
      certificateAuthorityData: "QUJD",
      insecureSkipTlsVerify: false,
      tlsServerName: "kubernetes",
      proxyUrl: "http://127.0.0.1:3128",
      execConfig: { audience: "x" },
    }]]),
    users: new Map<string, unknown>([
      ["u", {
        tokenFile: "/abs/token",
        clientCertificate: "/home/a/.kube/u.crt",
        clientKey: "/home/a/.kube/../u.key",
        as: "jane",
        asUid: "7",
        asGroups: ["a", "b"],
        asUserExtra: { scopes: ["view", "edit"] },
      }],
      ["plugin", {
        exec: {
          apiVersion: "client.authentication.k8s.io/v1",
          command: "/home/a/.kube/./bin/login",
          args: ["--quiet"],
          env: { REGION: "x" },
          provideClusterInfo: true,
          installHint: "get it",
        },
      }],
      ["path-plugin", {
        exec: {
          apiVersion: "client.authentication.k8s.io/v1beta1",
          command: "login",
          args: [],
          env: {},
          provideClusterInfo: false,
        },
      }],
      ["empty", {}],
    ]),
    contexts: new Map([["one", { cluster: "c", user: "u", namespace: "n" }]]),
  });
});

Deno.test("parseKubeconfig: a file in the working directory, JSON, and an empty file", async () => {
  const json = JSON.stringify({ kind: "Config", users: [{ name: "u", user: { tokenFile: "token" } }] });
  assert.deepEqual((await parseKubeconfig(json, "config")).users.get("u"), { tokenFile: "token" });
  assert.deepEqual((await parseKubeconfig("", "/x")).clusters.size, 0);
});

const bad: [string, text: string, message: string][] = [
  ["syntax", "users:\n- name: [hush-hush\nx: y", "/etc/k is not YAML: line 3, column 1: BAD_INDENT"],
  [
    "a key that is there twice",
    "users:\n- user: {token: hush-hush, token: hush}",
    "/etc/k is not YAML: line 2, column 28: DUPLICATE_KEY",
  ],
  [
    "an alias without anchor",
    "users: *hush-hush",
    "/etc/k is not YAML: it has an alias without its anchor, or too many aliases",
  ],
  ["a scalar", "hush-hush", "/etc/k must be a mapping"],
  ["another kind", "kind: Secret\ndata: {a: hush-hush}", "/etc/k is no kubeconfig: its kind is not Config"],
  ["users that are no list", "users: {hush-hush: 1}", "users in /etc/k must be a list"],
  ["a user that is no mapping", "users: [hush-hush]", "users[0] in /etc/k must be a mapping"],
  ["a user without name", "users: [{user: {token: hush-hush}}]", "users[0] in /etc/k has no name"],
  [
    "a token that is a number",
    "users: [{name: u, user: {token: 4711}}]",
    "users[u].user.token in /etc/k must be a string (in quotes if it looks like a number)",
  ],
  [
    "a flag that is a string",
    "clusters: [{name: c, cluster: {insecure-skip-tls-verify: 'hush-hush'}}]",
    "clusters[c].cluster.insecure-skip-tls-verify in /etc/k must be true or false",
  ],
  [
    "groups that are no strings",
    "users: [{name: u, user: {as-groups: [1]}}]",
    "users[u].user.as-groups in /etc/k must be a list of strings",
  ],
  [
    "a name twice",
    "users: [{name: u}, {name: u, user: {token: hush-hush}}]",
    '/etc/k has two users named "u"',
  ],
  [
    "a plugin of a removed version",
    "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1alpha1, command: x, args: [hush-hush]}}}]",
    "users[u].user.exec in /etc/k has an apiVersion other than client.authentication.k8s.io/v1 and v1beta1: update the plugin's configuration",
  ],
  [
    "a plugin without command",
    "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1}}}]",
    "users[u].user.exec in /etc/k has no command",
  ],
  [
    "a plugin that must ask",
    "users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Always}}}]",
    "users[u].user.exec in /etc/k has interactiveMode Always, but this process cannot ask its user anything",
  ],
];
for (const [name, text, message] of bad) {
  Deno.test(`parseKubeconfig refuses ${name}, and quotes no value`, async () => {
    await assert.rejects(parseKubeconfig(text, "/etc/k"), (error) => {
      assert(error instanceof ClusterConfigError);
      assert.equal(error.message, message);
      return true;
    });
  });
}

Deno.test("mergeKubeconfigs: the first file counts, name by name", async () => {
  const first = await parseKubeconfig(
    "clusters: [{name: a, cluster: {server: 'https://first'}}]\nusers: [{name: u, user: {token: t1}}]",
    "/1",
  );
  const second = await parseKubeconfig(
    `current-context: x
clusters: [{name: a, cluster: {server: 'https://second', tls-server-name: n}}, {name: b, cluster: {server: 'https://b'}}]
contexts: [{name: x, context: {cluster: a, user: u}}]`,
    "/2",
  );
  const third = await parseKubeconfig("current-context: y\nusers: [{name: u, user: {token: t3}}]", "/3");
  assert.deepEqual(mergeKubeconfigs([first, second, third]), {
    files: ["/1", "/2", "/3"],
    currentContext: "x",
    clusters: new Map([["a", { server: "https://first" }], ["b", { server: "https://b" }]]),
    users: new Map([["u", { token: "t1" }]]),
    contexts: new Map([["x", { cluster: "a", user: "u" }]]),
  });
});
