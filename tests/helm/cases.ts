/** Values, as in a values file. */
export type Values = Readonly<Record<string, unknown>>;

/**
 * Values that the chart is rendered with: the defaults, each feature by itself, and as many as go together. Every one must render to
 * what an API server takes, and to a command line that the operator takes.
 */
export const CASES: Readonly<Record<string, Values>> = {
  "defaults": {},
  "no RBAC": { global: { rbac: { create: false } } },
  "no aggregation": { global: { rbac: { aggregateClusterRoles: false } } },
  "no CRD": { crds: { enabled: false } },
  "a CRD that goes": { crds: { keep: false } },
  "another name and namespace": { nameOverride: "trust", namespace: "elsewhere" },
  "replicas left out": { replicaCount: null, revisionHistoryLimit: null },
  "no old ReplicaSets": { revisionHistoryLimit: 0 },
  "images": {
    imageRegistry: "registry.example.com/mirror",
    imageNamespace: "",
    imagePullSecrets: [{ name: "pull" }],
    image: { tag: "v9", pullPolicy: "Always" },
    defaultPackageImage: { repository: "example.com/package", digest: `sha256:${"0".repeat(64)}` },
  },
  "somebody else's ServiceAccount": { serviceAccount: { create: false, name: "mine" } },
  "a ServiceAccount of another name": {
    serviceAccount: { name: "mine", automountServiceAccountToken: false },
    automountServiceAccountToken: false,
  },
  "scheduling": {
    priorityClassName: "system-cluster-critical",
    nodeSelector: { disk: "fast" },
    affinity: { podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    tolerations: [{ key: "node-role.kubernetes.io/control-plane", operator: "Exists", effect: "NoSchedule" }],
    topologySpreadConstraints: [{
      maxSkew: 1,
      topologyKey: "topology.kubernetes.io/zone",
      whenUnsatisfiable: "ScheduleAnyway",
      labelSelector: { matchLabels: { app: "trust-manager" } },
    }],
    resources: { limits: { memory: "128Mi" }, requests: { cpu: "25m", memory: "64Mi" } },
    podSecurityContext: { fsGroup: 1000 },
  },
  "volumes": {
    volumes: [{ name: "more", emptyDir: {} }],
    volumeMounts: [{ name: "more", mountPath: "/more" }],
  },
  "no package": { defaultPackage: { enabled: false } },
  "the package as an image volume": { defaultPackage: { imageVolume: { enabled: true } } },
  "the package's container": {
    defaultPackage: { resources: { limits: { memory: "16Mi" } }, securityContext: { runAsUser: 1000 } },
  },
  "Secret targets of all names": { secretTargets: { enabled: true, authorizedSecretsAll: true } },
  "Secret targets by name": { secretTargets: { enabled: true, authorizedSecrets: ["one", "two", "one"] } },
  "Secret targets of no name": { secretTargets: { enabled: true } },
  "filters": { filterExpiredCertificates: { enabled: true }, filterNonCACerts: { enabled: true } },
  "negative serial numbers": { allowNegativeSerialNumbers: { enabled: true } },
  "target namespaces": { app: { targetNamespaces: ["ns-a", "ns-b", "ns-a"] } },
  "target namespaces with the trust namespace": { app: { targetNamespaces: ["ns-a", "cert-manager"] } },
  "target namespaces and Secret targets by name": {
    app: { targetNamespaces: ["ns-a"] },
    secretTargets: { enabled: true, authorizedSecrets: ["one"] },
  },
  "another trust namespace": { app: { trust: { namespace: "trust" } } },
  "flags": {
    app: {
      minTLSVersion: "VersionTLS13",
      logFormat: "json",
      logLevel: 5,
      leaderElection: { enabled: false, leaseDuration: "1m30s", renewDeadline: "1m" },
      readinessProbe: { port: 6061, path: "/ready" },
      webhook: { host: "127.0.0.1", port: 10250, timeoutSeconds: 10, hostNetwork: true },
      metrics: { port: 9403 },
      podLabels: { team: "blue" },
      podAnnotations: { "example.com/note": "x" },
    },
  },
  "Services": {
    app: {
      webhook: {
        service: { type: "NodePort", nodePort: 30443, ipFamilyPolicy: "SingleStack", ipFamilies: ["IPv4"] },
      },
      metrics: {
        service: { type: "NodePort", ipFamilyPolicy: "SingleStack", ipFamilies: ["IPv4"] },
      },
    },
  },
  "no metrics": { app: { metrics: { port: 0 } } },
  "no metrics Service": {
    app: { metrics: { service: { enabled: false, servicemonitor: { enabled: true } } } },
  },
  "monitoring": {
    app: {
      metrics: {
        service: {
          servicemonitor: {
            enabled: true,
            prometheusInstance: "main",
            interval: "30s",
            scrapeTimeout: "10s",
            labels: { release: "prometheus" },
            endpointAdditionalProperties: {
              honorLabels: true,
              relabelings: [{ action: "replace", sourceLabels: ["a"], targetLabel: "b" }],
            },
          },
        },
        prometheusRule: { enabled: true, labels: { release: "prometheus" } },
        dashboard: { enabled: true, annotations: { grafana_folder: "TLS" } },
      },
    },
  },
  "a certificate of cert-manager with more": {
    app: {
      webhook: {
        tls: {
          certificate: {
            duration: "8766h",
            secretTemplate: { annotations: { note: "x" }, labels: { color: "red" } },
          },
        },
      },
    },
  },
  "approver-policy": { app: { webhook: { tls: { approverPolicy: { enabled: true } } } } },
  "a certificate of Helm": { app: { webhook: { tls: { helmCert: { enabled: true } } } } },
  "a certificate of the operator": { app: { webhook: { tls: { selfManaged: { enabled: true } } } } },
  "no webhook": { app: { webhook: { enabled: false } } },
  "a PodDisruptionBudget": { podDisruptionBudget: { enabled: true } },
  "a PodDisruptionBudget with a maximum": { podDisruptionBudget: { enabled: true, maxUnavailable: 0 } },
  "a PodDisruptionBudget with a minimum": { podDisruptionBudget: { enabled: true, minAvailable: "50%" } },
  "a NetworkPolicy": { networkPolicy: { enabled: true } },
  "a NetworkPolicy with more": {
    networkPolicy: {
      enabled: true,
      apiServerPorts: [8443],
      apiServerPeers: [{ ipBlock: { cidr: "192.0.2.1/32" } }],
      metricsFrom: [{ namespaceSelector: { matchLabels: { name: "monitoring" } } }],
      extraIngress: [{ ports: [{ port: 1, protocol: "TCP" }] }],
      extraEgress: [{ to: [{ ipBlock: { cidr: "192.0.2.0/24" } }] }],
    },
  },
  "labels and annotations for all": {
    commonLabels: { team: "blue", "app.kubernetes.io/part-of": "pki" },
    commonAnnotations: { "example.com/note": "x" },
    app: { podLabels: { team: "red" } },
  },
  "more objects": {
    extraObjects: [
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "{{ .Release.Name }}-extra", namespace: "{{ .Release.Namespace }}" },
      },
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: written, namespace: '{{ .Release.Namespace }}'}\n",
    ],
  },
  "all at once": {
    replicaCount: 2,
    imagePullSecrets: [{ name: "pull" }],
    commonLabels: { team: "blue" },
    commonAnnotations: { "example.com/note": "x" },
    priorityClassName: "system-cluster-critical",
    podDisruptionBudget: { enabled: true },
    networkPolicy: { enabled: true },
    secretTargets: { enabled: true, authorizedSecrets: ["one"] },
    filterExpiredCertificates: { enabled: true },
    filterNonCACerts: { enabled: true },
    allowNegativeSerialNumbers: { enabled: true },
    defaultPackage: { imageVolume: { enabled: true } },
    app: {
      targetNamespaces: ["ns-a"],
      logFormat: "json",
      webhook: {
        hostNetwork: true,
        service: { ipFamilyPolicy: "SingleStack", ipFamilies: ["IPv4"] },
        tls: { approverPolicy: { enabled: true }, certificate: { duration: "2160h" } },
      },
      metrics: {
        service: { servicemonitor: { enabled: true } },
        prometheusRule: { enabled: true },
        dashboard: { enabled: true },
      },
    },
    extraObjects: [{
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "extra", namespace: "cert-manager" },
    }],
  },
};

/** Values files as users of the Go project's chart have them. */
export const PEER_VALUES_FILES: Readonly<Record<string, string>> = {
  "highly available, with monitoring": `
replicaCount: 3
podDisruptionBudget:
  enabled: true
  minAvailable: 2
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: DoNotSchedule
    labelSelector:
      matchLabels:
        app: trust-manager
resources:
  requests: {cpu: 25m, memory: 32Mi}
  limits: {memory: 128Mi}
app:
  metrics:
    service:
      servicemonitor:
        enabled: true
        labels: {release: kube-prometheus-stack}
  leaderElection:
    leaseDuration: 60s
    renewDeadline: 40s
`,
  "no cert-manager, a private registry": `
imagePullSecrets:
  - name: regcred
image:
  repository: registry.example.com/jetstack/trust-manager
  tag: v0.25.0
defaultPackageImage:
  registry: registry.example.com
  repository: jetstack/trust-pkg-debian-bookworm
  tag: 20230311-deb12u1.0
crds:
  enabled: true
  keep: false
app:
  webhook:
    tls:
      helmCert:
        enabled: true
`,
  "Secret targets and another trust namespace": `
secretTargets:
  enabled: true
  authorizedSecrets: [internal-ca, public-ca]
app:
  trust:
    namespace: pki
  logLevel: 2
  podLabels: {sidecar.istio.io/inject: "false"}
  webhook:
    hostNetwork: true
    port: 10260
filterExpiredCertificates:
  enabled: true
commonLabels: {team: platform}
nodeSelector:
  kubernetes.io/os: linux
  node-role.kubernetes.io/infra: ""
tolerations:
  - key: node-role.kubernetes.io/infra
    effect: NoSchedule
`,
};
