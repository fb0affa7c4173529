//go:build tools

// Package tools pins the approver-policy that tests run.
package tools

import _ "github.com/cert-manager/approver-policy/cmd"
