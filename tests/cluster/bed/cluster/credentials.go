package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"time"
)

// serviceRange is the range of service addresses; its first one is the API
// server's own.
const (
	serviceRange = "10.96.0.0/16"
	serviceIP    = "10.96.0.1"
)

// lifetime of the certificates: far longer than any cluster here lives.
const lifetime = 30 * 24 * time.Hour

// user is an identity known to the API server by a token.
type user struct {
	name  string
	group string
	token string
}

// The identities. Each client has its own, so that the audit log tells whose
// request was whose.
const (
	admin     = "admin"
	manager   = "system:kube-controller-manager"
	scheduler = "system:kube-scheduler"
	kubelets  = "bed:kubelets"
	proxy     = "system:kube-proxy"
)

type credentials struct {
	authority []byte // the certificate all clients trust, PEM
	users     map[string]user
}

// newCredentials makes keys, certificates and tokens and writes those the
// components read to the state directory.
func newCredentials(at layout, where address, realNodes []string) (*credentials, error) {
	authority, authorityKey, err := issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "quayctl-bed"},
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IsCA: true, BasicConstraintsValid: true,
	}, nil, nil)
	if err != nil {
		return nil, err
	}
	serving, servingKey, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(serviceIP), where.AsSlice()},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}, authority, authorityKey)
	if err != nil {
		return nil, err
	}
	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	c := &credentials{authority: certificatePEM(authority), users: newUsers(realNodes)}
	for name, data := range map[string][]byte{
		"ca.crt":     c.authority,
		"server.crt": certificatePEM(serving),
		"server.key": keyPEM(servingKey),
		"sa.key":     keyPEM(accountKey),
		"tokens.csv": c.tokenFile(),
	} {
		if err := os.WriteFile(at.state(name), data, 0o600); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return c, nil
}

// kubeletOf is a real kubelet's name and nodesGroup its group, by which the node
// authorizer knows it.
func kubeletOf(node string) string { return "system:node:" + node }

const nodesGroup = "system:nodes"

func newUsers(realNodes []string) map[string]user {
	groups := map[string]string{
		admin:     "system:masters",
		manager:   "",
		scheduler: "",
		kubelets:  "system:masters",
		proxy:     "",
	}
	for _, node := range realNodes {
		groups[kubeletOf(node)] = nodesGroup
	}
	users := map[string]user{}
	for name, group := range groups {
		users[name] = user{name: name, group: group, token: rand.Text()}
	}
	return users
}

func (c *credentials) tokenFile() []byte {
	var lines strings.Builder
	for _, u := range c.users {
		fmt.Fprintf(&lines, "%s,%s,%s,\"%s\"\n", u.token, u.name, u.name, u.group)
	}
	return []byte(lines.String())
}

// issue makes a key and a certificate for it, signed by the parent or, without
// one, by itself.
func issue(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, fmt.Errorf("choosing a serial number: %w", err)
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour) // clocks of tests may be set back
	template.NotAfter = time.Now().Add(lifetime)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, fmt.Errorf("signing a certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("reading back a certificate: %w", err)
	}
	return certificate, key, nil
}

func certificatePEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

func keyPEM(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil // cannot be: the curve is a named one
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}
