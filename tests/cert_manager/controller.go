package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// runController runs cert-manager's controllers, without leader election. Of the issuers it knows those that need no
// service outside the cluster.
func runController(ctx context.Context, args []string) error {
	flags := newFlags("controller")
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig file; in-cluster without one")
	namespace := flags.String("cluster-resource-namespace", "kube-system", "where the Secrets of ClusterIssuers are")
	probes := flags.String("probe-address", "", "address that answers probes")
	controllers := flags.StringSlice("controllers", nil, "-NAME leaves that controller out")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := serveProbes(ctx, *probes); err != nil {
		return err
	}

	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		Kubeconfig:         *kubeconfig,
		KubernetesAPIQPS:   20,
		KubernetesAPIBurst: 50,
		IssuerOptions:      controller.IssuerOptions{ClusterResourceNamespace: *namespace},
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
		},
	})
	if err != nil {
		return err
	}

	group, ctx := errgroup.WithContext(ctx)
	for name, construct := range controller.Known() {
		if slices.Contains(*controllers, "-"+name) {
			continue
		}
		// These sign CertificateSigningRequests, a feature that is off by default.
		if strings.HasPrefix(name, "certificatesigningrequests-") {
			continue
		}
		loop, err := construct(factory)
		if err != nil {
			return fmt.Errorf("cannot make controller %s: %w", name, err)
		}
		group.Go(func() error { return loop.Run(5, ctx) })
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	return group.Wait()
}
