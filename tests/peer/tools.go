//go:build tools

// Package tools pins the Go trust-manager that tests run beside this one.
package tools

import _ "github.com/cert-manager/trust-manager/cmd/trust-manager"
