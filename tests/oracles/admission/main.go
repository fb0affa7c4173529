// Command admission answers AdmissionReviews, one JSON object a line, with the webhook of the Go trust-manager: its real
// handler behind controller-runtime's HTTP server, without TLS and without a cluster. Each line of its output has the HTTP
// status and the body of one answer.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cert-manager/trust-manager/pkg/apis/trust/v1alpha1"
	"github.com/cert-manager/trust-manager/pkg/webhook"
)

type answer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctrl.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	manager, err := ctrl.NewManager(&rest.Config{Host: "http://127.0.0.1:1"}, ctrl.Options{
		Scheme:  scheme,
		Logger:  logr.Discard(),
		Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		return err
	}
	if err := webhook.SetupWebhookWithManager(manager); err != nil {
		return err
	}
	handler := manager.GetWebhookServer().WebhookMux()

	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	encoder := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		request := httptest.NewRequest("POST", "/validate-trust-cert-manager-io-v1alpha1-bundle", bytes.NewReader(lines.Bytes()))
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		if err := encoder.Encode(answer{Status: recorder.Code, Body: recorder.Body.Bytes()}); err != nil {
			return err
		}
	}
	return lines.Err()
}
