{{/* Name of all objects. */}}
{{- define "trust-manager.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Namespace of all objects. */}}
{{- define "trust-manager.namespace" -}}
{{- .Values.namespace | default .Release.Namespace -}}
{{- end -}}

{{/* Name of the ServiceAccount, whoever creates it. */}}
{{- define "trust-manager.serviceAccountName" -}}
{{- $otherwise := ternary (include "trust-manager.name" .) "default" .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default $otherwise -}}
{{- end -}}

{{/* The ServiceAccount as the only subject of a binding. */}}
{{- define "trust-manager.subjects" -}}
- kind: ServiceAccount
  name: {{ include "trust-manager.serviceAccountName" . }}
  namespace: {{ include "trust-manager.namespace" . }}
{{- end -}}

{{/* Labels of all objects. */}}
{{- define "trust-manager.labels" -}}
{{- $labels := dict
  "app.kubernetes.io/name" (include "trust-manager.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- toYaml (merge (dict) (.Values.commonLabels | default dict) $labels) -}}
{{- end -}}

{{/*
Metadata of an object. Takes a dict: "top", "name", "namespace" (none for cluster-scoped objects), and more "labels" and
"annotations", which win over the common ones.
*/}}
{{- define "trust-manager.metadata" -}}
name: {{ .name }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- toYaml (merge (dict) (.labels | default dict) (include "trust-manager.labels" .top | fromYaml)) | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) (.top.Values.commonAnnotations | default dict) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The label that the pods are found by. */}}
{{- define "trust-manager.selectorLabels" -}}
app: {{ include "trust-manager.name" . }}
{{- end -}}

{{/*
Reference of an image. Takes a dict: "top", "image" (a value such as .Values.image), and "otherwise", which follows the name if
there is neither a tag nor a digest.
*/}}
{{- define "trust-manager.image" -}}
{{- $image := .image -}}
{{- $path := list -}}
{{- if $image.repository -}}
  {{- $path = list $image.registry $image.repository -}}
{{- else -}}
  {{- $name := required "image.name and defaultPackageImage.name must not be empty where the repository is" $image.name -}}
  {{- $path = list $image.registry .top.Values.imageRegistry .top.Values.imageNamespace $name -}}
{{- end -}}
{{- $suffix := "" -}}
{{- with $image.tag }}{{ $suffix = printf ":%s" . }}{{ end -}}
{{- with $image.digest }}{{ $suffix = printf "%s@%s" $suffix . }}{{ end -}}
{{- printf "%s%s" (compact $path | join "/") ($suffix | default .otherwise) -}}
{{- end -}}

{{/* "true" if a value is set; 0 is one. */}}
{{- define "trust-manager.isSet" -}}
{{- if not (or (kindIs "invalid" .) (eq (toString .) "")) }}true{{ end -}}
{{- end -}}

{{/*
Where the webhook's certificate comes from: "cert-manager", "helm", "self", or "none" if there is no webhook. All templates ask
here, so that values which contradict each other never render.
*/}}
{{- define "trust-manager.certificateSource" -}}
{{- if not (hasKey .Values "networkPolicy") -}}
  {{- fail "Values of another chart are in use instead of this chart's defaults: upgrade with --reset-then-reuse-values, or with a values file, instead of --reuse-values" -}}
{{- end -}}
{{- $tls := .Values.app.webhook.tls -}}
{{- $ways := list -}}
{{- range $name := list "selfManaged" "helmCert" "approverPolicy" -}}
  {{- if (index $tls $name).enabled }}{{ $ways = append $ways (printf "app.webhook.tls.%s.enabled" $name) }}{{ end -}}
{{- end -}}
{{- if gt (len $ways) 1 -}}
  {{- fail (printf "Only one of these may be true, as each is another way to the webhook's certificate: %s" (join ", " $ways)) -}}
{{- end -}}
{{- if not .Values.app.webhook.enabled }}none
{{- else if $tls.selfManaged.enabled }}self
{{- else if $tls.helmCert.enabled }}helm
{{- else }}cert-manager
{{- end -}}
{{- end -}}

{{/* Name of the Secret with the webhook's certificate. */}}
{{- define "trust-manager.certificateSecretName" -}}
{{- $suffix := ternary "webhook" "tls" (eq (include "trust-manager.certificateSource" .) "self") -}}
{{- printf "%s-%s" (include "trust-manager.name" .) $suffix -}}
{{- end -}}

{{/* DNS name that the API server calls the webhook by. */}}
{{- define "trust-manager.webhookHost" -}}
{{- printf "%s.%s.svc" (include "trust-manager.name" .) (include "trust-manager.namespace" .) -}}
{{- end -}}

{{/*
The certificate that Helm makes: data of its Secret, as YAML. An existing one is kept, so that an upgrade changes nothing; one that
is made now is remembered, so that all templates have the same.
*/}}
{{- define "trust-manager.helmCertificate" -}}
{{- $helmCert := .Values.app.webhook.tls.helmCert -}}
{{- if not (hasKey $helmCert "issued") -}}
  {{- $name := include "trust-manager.certificateSecretName" . -}}
  {{- $existing := lookup "v1" "Secret" (include "trust-manager.namespace" .) $name | default dict -}}
  {{- $data := $existing.data | default dict -}}
  {{- if and (index $data "ca.crt") (index $data "tls.crt") (index $data "tls.key") -}}
    {{- $data = pick $data "ca.crt" "tls.crt" "tls.key" -}}
  {{- else -}}
    {{- $host := include "trust-manager.webhookHost" . -}}
    {{- /* The CA's private key is kept nowhere. */ -}}
    {{- $ca := genCA (printf "%s-ca" (include "trust-manager.name" .)) 3650 -}}
    {{- $issued := genSignedCert $host nil (list $host) 3650 $ca -}}
    {{- $data = dict "ca.crt" (b64enc $ca.Cert) "tls.crt" (b64enc $issued.Cert) "tls.key" (b64enc $issued.Key) -}}
  {{- end -}}
  {{- $_ := set $helmCert "issued" (toYaml $data) -}}
{{- end -}}
{{- $helmCert.issued -}}
{{- end -}}

{{/* Which Secrets may be targets: "all", "named", or "none". */}}
{{- define "trust-manager.secretTargets" -}}
{{- with .Values.secretTargets -}}
{{- if not .enabled }}none
{{- else if .authorizedSecretsAll }}all
{{- else if .authorizedSecrets }}named
{{- else }}none
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Rights on targets, in whatever scope. */}}
{{- define "trust-manager.targetRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
{{- $secretTargets := include "trust-manager.secretTargets" . }}
{{- if ne $secretTargets "none" }}
- apiGroups: [""]
  resources: [secrets]
  {{- if eq $secretTargets "named" }}
  # Holds for lists and watches too, as each of the operator's asks for one name.
  resourceNames:
    {{- toYaml (.Values.secretTargets.authorizedSecrets | uniq) | nindent 4 }}
  verbs: [list, watch, create, patch, delete]
  {{- else }}
  verbs: [get, list, watch, create, patch, delete]
  {{- end }}
{{- end }}
{{- end -}}

{{/* "true" if extraObjects has Bundles. */}}
{{- define "trust-manager.hasExtraBundles" -}}
{{- $found := false -}}
{{- range .Values.extraObjects -}}
  {{- $text := tpl (ternary . (toYaml .) (kindIs "string" .)) $ -}}
  {{- if and (contains "trust.cert-manager.io/" $text) (regexMatch "(?m)^[\"']?kind[\"']?: *[\"']?Bundle[\"']?\\s*$" $text) -}}
    {{- $found = true -}}
  {{- end -}}
{{- end -}}
{{- if $found }}true{{ end -}}
{{- end -}}

{{/*
What the API server does with a Bundle while nobody answers its webhook: "Fail", it refuses it, but for releases with Bundles in
extraObjects, which Helm writes right after the configuration of the webhook. If no pod is ready to answer, that could never succeed,
and a rollback neither: so "Ignore", until the next upgrade, with a ValidatingAdmissionPolicy beside it. (ADR 19)
*/}}
{{- define "trust-manager.failurePolicy" -}}
{{- $isAnswered := and (include "trust-manager.webhookIsThere" .) (include "trust-manager.podIsReady" .) -}}
{{- if and (include "trust-manager.writesExtraBundles" .) (not $isAnswered) }}Ignore{{ else }}Fail{{ end -}}
{{- end -}}

{{/* "true" if extraObjects has Bundles, and Helm asks a cluster: a mere rendering finds nothing in it. */}}
{{- define "trust-manager.writesExtraBundles" -}}
{{- if include "trust-manager.hasExtraBundles" . -}}
  {{- if lookup "v1" "Namespace" "" "default" }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* "true" if the cluster has the webhook's configuration already. */}}
{{- define "trust-manager.webhookIsThere" -}}
{{- if lookup "admissionregistration.k8s.io/v1" "ValidatingWebhookConfiguration" "" (include "trust-manager.name" .) }}true{{ end -}}
{{- end -}}

{{/* "true" if a pod is ready to answer the webhook. */}}
{{- define "trust-manager.podIsReady" -}}
{{- $deployment := lookup "apps/v1" "Deployment" (include "trust-manager.namespace" .) (include "trust-manager.name" .) -}}
{{- $status := ($deployment | default dict).status | default dict -}}
{{- if gt (int $status.readyReplicas) 0 }}true{{ end -}}
{{- end -}}

{{/* Namespaces that targets are limited to, each once; as a JSON list. */}}
{{- define "trust-manager.targetNamespaces" -}}
{{- .Values.app.targetNamespaces | default list | uniq | toJson -}}
{{- end -}}

{{/* "true" if metrics are served. */}}
{{- define "trust-manager.hasMetrics" -}}
{{- if gt (int .Values.app.metrics.port) 0 }}true{{ end -}}
{{- end -}}
