package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

type keyStoreRequest struct {
	// jks, LegacyRC2, LegacyDES, Modern2023 or Passwordless.
	Format       string   `json:"format"`
	Password     string   `json:"password"`
	Certificates [][]byte `json:"certificates"`
	// What the library draws salts and IVs from, in order.
	Random []byte `json:"random"`
}

// encodeKeyStore makes a trust store as the Go project does, with fixed randomness.
func encodeKeyStore(r keyStoreRequest) answer {
	var entries []pkcs12.TrustStoreEntry
	jks := keystore.New(keystore.WithOrderedAliases())
	for _, der := range r.Certificates {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return answer{Error: err.Error()}
		}
		hash := sha256.Sum256(der)
		alias := hex.EncodeToString(hash[:4]) + "|" + certificate.Subject.String()
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: certificate, FriendlyName: alias})
		if err := jks.SetTrustedCertificateEntry(alias, keystore.TrustedCertificateEntry{
			CreationTime: certificate.NotBefore,
			Certificate:  keystore.Certificate{Type: "X509", Content: der},
		}); err != nil {
			return answer{Error: err.Error()}
		}
	}
	if r.Format == "jks" {
		var buffer bytes.Buffer
		if err := jks.Store(&buffer, []byte(r.Password)); err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Bytes: buffer.Bytes()}
	}
	encoder, ok := map[string]*pkcs12.Encoder{
		"LegacyRC2":    pkcs12.LegacyRC2,
		"LegacyDES":    pkcs12.LegacyDES,
		"Modern2023":   pkcs12.Modern2023,
		"Passwordless": pkcs12.Passwordless,
	}[r.Format]
	if !ok {
		return answer{Error: "unknown format " + r.Format}
	}
	encoded, err := encoder.WithRand(bytes.NewReader(r.Random)).EncodeTrustStoreEntries(entries, r.Password)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return answer{Bytes: encoded}
}
