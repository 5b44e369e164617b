// Package keys makes the throw-away keys that one control plane needs: nothing secret is kept anywhere.
package keys

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Main writes sa.key (signs service-account tokens), tls.key and tls.crt (self-signed, for
// localhost) into the folder args[1] and returns the exit status.
func Main(args []string) int {
	if len(args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: controlplane keys FOLDER")
		return 2
	}
	if err := write(args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "keys:", err)
		return 1
	}
	return 0
}

func write(folder string) error {
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	server, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(48 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &server.PublicKey, server)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"sa.key":  {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(signer)},
		"tls.key": {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(server)},
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
