package main

import (
	"context"

	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
	"github.com/go-logr/logr"
)

// runWebhook runs cert-manager's webhook, which validates its objects and notes in each CertificateRequest who made it.
func runWebhook(ctx context.Context, args []string) error {
	config, err := options.NewWebhookConfiguration()
	if err != nil {
		return err
	}
	flags := newFlags("webhook")
	options.AddConfigFlags(flags, config)
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, err := webhook.NewCertManagerWebhookServer(logr.FromContextOrDiscard(ctx), *config)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
