package main

import (
	"bytes"
	"errors"
	"log/slog"

	"github.com/go-logr/logr"
)

type logRequest struct {
	Format    string `json:"format"`
	Level     int    `json:"level"`
	Verbosity int    `json:"verbosity"`
	Message   string `json:"message"`
	// If set, the line tells an error.
	Error *string `json:"error"`
	// Keys and values, one after the other: of the logger, and of the line.
	With   []any `json:"with"`
	Fields []any `json:"fields"`
}

// logged is what the Go project logs: its options.NewLogger, which writes to standard output, put together in the same way.
func logged(r logRequest) answer {
	var output bytes.Buffer
	opts := &slog.HandlerOptions{Level: slog.Level(-r.Level)}
	var handler slog.Handler = slog.NewTextHandler(&output, opts)
	if r.Format == "json" {
		handler = slog.NewJSONHandler(&output, opts)
	}
	log := logr.FromSlogHandler(handler).WithValues(r.With...)
	if r.Error != nil {
		log.Error(errors.New(*r.Error), r.Message, r.Fields...)
	} else {
		log.V(r.Verbosity).Info(r.Message, r.Fields...)
	}
	return answer{Text: output.String()}
}
