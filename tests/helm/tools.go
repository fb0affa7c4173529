//go:build tools

// Keeps the programs that tests build in go.mod.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
