module crds

go 1.26.0

// Only downloaded, for the CustomResourceDefinitions in them: of Issuer and Certificate, CertificateRequestPolicy,
// ServiceMonitor and PrometheusRule.
require (
	github.com/cert-manager/approver-policy v0.28.0
	github.com/cert-manager/cert-manager v1.21.2
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
