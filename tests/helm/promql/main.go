// Command promql reads a file of rules and expressions by themselves as Prometheus does: one JSON object in, one out.
package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

type question struct {
	Rules       string   `json:"rules"`
	Expressions []string `json:"expressions"`
}

type answer struct {
	RuleErrors  []string     `json:"ruleErrors"`
	Expressions []expression `json:"expressions"`
}

// expression is what one names.
type expression struct {
	Error     string     `json:"error,omitempty"`
	Type      string     `json:"type,omitempty"`
	Selectors []selector `json:"selectors,omitempty"`
	// Grouped is the labels that operators keep, or match by.
	Grouped []string `json:"grouped,omitempty"`
}

type selector struct {
	Metric string   `json:"metric"`
	Labels []string `json:"labels"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	prom := parser.NewParser(parser.Options{})
	answered := answer{RuleErrors: []string{}, Expressions: []expression{}}
	_, errs := rulefmt.Parse([]byte(asked.Rules), false, model.LegacyValidation, prom, slog.Default())
	for _, err := range errs {
		answered.RuleErrors = append(answered.RuleErrors, err.Error())
	}
	for _, text := range asked.Expressions {
		answered.Expressions = append(answered.Expressions, read(prom, text))
	}
	return json.NewEncoder(os.Stdout).Encode(answered)
}

func read(prom parser.Parser, text string) expression {
	parsed, err := prom.ParseExpr(text)
	if err != nil {
		return expression{Error: err.Error()}
	}
	found := expression{Type: string(parsed.Type())}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			one := selector{Metric: node.Name, Labels: []string{}}
			for _, matcher := range node.LabelMatchers {
				if matcher.Name != labels.MetricName {
					one.Labels = append(one.Labels, matcher.Name)
				}
			}
			found.Selectors = append(found.Selectors, one)
		case *parser.AggregateExpr:
			found.Grouped = append(found.Grouped, node.Grouping...)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				found.Grouped = append(found.Grouped, node.VectorMatching.MatchingLabels...)
				found.Grouped = append(found.Grouped, node.VectorMatching.Include...)
			}
		}
		return nil
	})
	return found
}
