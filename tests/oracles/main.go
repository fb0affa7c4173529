// Answers what Go and the Go project make of an input: one JSON request a line on standard input, one JSON answer a line on
// standard output. The tests of this project compare their own answers with these.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"

	"github.com/cert-manager/trust-manager/pkg/util"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

type request struct {
	// One of these is set. Bytes are base64 in JSON.
	PEM         []byte           `json:"pem"`
	Certificate []byte           `json:"certificate"`
	Selector    *selectorRequest `json:"selector"`
	Quote       *string          `json:"quote"`
	KeyStore    *keyStoreRequest `json:"keyStore"`
	Log         *logRequest      `json:"log"`
}

type selectorRequest struct {
	// Absent means no selector at all.
	Selector *metav1.LabelSelector `json:"selector"`
	Labels   []map[string]string   `json:"labels"`
}

type answer struct {
	Error       string             `json:"error,omitempty"`
	Text        string             `json:"text"`
	Matches     []bool             `json:"matches,omitempty"`
	Certificate *certificateAnswer `json:"certificate,omitempty"`
	Bytes       []byte             `json:"bytes,omitempty"`
}

type certificateAnswer struct {
	SHA256    string `json:"sha256"`
	NotBefore int64  `json:"notBefore"`
	NotAfter  int64  `json:"notAfter"`
	IsCA      bool   `json:"isCa"`
	Subject   string `json:"subject"`
}

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	decoder := json.NewDecoder(input)
	encoder := json.NewEncoder(output)
	for decoder.More() {
		var r request
		if err := decoder.Decode(&r); err != nil {
			fmt.Fprintln(os.Stderr, "bad request:", err)
			os.Exit(1)
		}
		if err := encoder.Encode(respond(r)); err != nil {
			fmt.Fprintln(os.Stderr, "cannot answer:", err)
			os.Exit(1)
		}
	}
}

func respond(r request) answer {
	switch {
	case r.PEM != nil:
		pool := util.NewCertPool()
		if err := pool.AddCertsFromPEM(r.PEM); err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Text: pool.PEM()}
	case r.Certificate != nil:
		certificate, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			return answer{Error: err.Error()}
		}
		hash := sha256.Sum256(certificate.Raw)
		return answer{Certificate: &certificateAnswer{
			SHA256:    hex.EncodeToString(hash[:]),
			NotBefore: certificate.NotBefore.UnixMilli(),
			NotAfter:  certificate.NotAfter.UnixMilli(),
			IsCA:      certificate.IsCA,
			Subject:   certificate.Subject.String(),
		}}
	case r.Selector != nil:
		selector, err := metav1.LabelSelectorAsSelector(r.Selector.Selector)
		if err != nil {
			return answer{Error: err.Error()}
		}
		matches := make([]bool, len(r.Selector.Labels))
		for i, set := range r.Selector.Labels {
			matches[i] = selector.Matches(labels.Set(set))
		}
		return answer{Text: selector.String(), Matches: matches}
	case r.Quote != nil:
		return answer{Text: fmt.Sprintf("%q", *r.Quote)}
	case r.KeyStore != nil:
		return encodeKeyStore(*r.KeyStore)
	case r.Log != nil:
		return logged(*r.Log)
	default:
		return answer{Error: "empty request"}
	}
}
