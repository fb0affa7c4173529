// Command cert-manager is cert-manager for tests: its own controllers, CA injector and webhook in one program, the first
// argument says which. The programs that cert-manager releases are in no module that Go could fetch; all that they do is.
//
// The flags are those that cert-manager's chart sets; of them, what does not matter here is ignored.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	parts := map[string]func(context.Context, []string) error{
		"controller": runController,
		"cainjector": runInjector,
		"webhook":    runWebhook,
	}
	var name string
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	run, ok := parts[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "usage: %s controller|cainjector|webhook [flags]\n", os.Args[0])
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	log := klog.Background().WithName(name)
	ctrl.SetLogger(log)
	err := run(logr.NewContext(ctx, log), os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s failed: %v\n", name, err)
		os.Exit(1)
	}
}

// newFlags returns a flag set that passes over flags it does not know.
func newFlags(name string) *pflag.FlagSet {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	return flags
}

// serveProbes answers every probe with success until the context ends. An empty address serves nothing.
func serveProbes(ctx context.Context, address string) error {
	if address == "" {
		return nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cannot listen for probes: %w", err)
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go http.Serve(listener, http.HandlerFunc(func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(answer, "ok")
	}))
	return nil
}
