package bus

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
)

// run starts a server that is not the embedded one, as an operator would.
func run(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.JetStream, o.StoreDir = "127.0.0.1", true, true, t.TempDir()
	if o.Port == 0 {
		o.Port = -1
	}
	s, err := server.NewServer(o)
	check(t, err)
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	for !s.ReadyForConnections(time.Second) {
		check(t, testContext(t).Err())
	}
	return s
}

// freePorts gives ports that nobody listens on now.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		check(t, err)
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// With three servers and three replicas the rules are the same, and hold when the leader of a stream goes away.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	const n = 3
	ports := freePorts(t, n)
	var routes []*url.URL
	for _, port := range ports {
		routes = append(routes, must[*url.URL](t)(url.Parse(fmt.Sprintf("nats://127.0.0.1:%d", port))))
	}
	var servers []*server.Server
	var urls []string
	for i := range n {
		s := run(t, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Routes: routes,
			Cluster: server.ClusterOpts{Name: "shoplake", Host: "127.0.0.1", Port: ports[i]},
		})
		servers = append(servers, s)
		urls = append(urls, s.ClientURL())
	}
	b := connect(t, Config{URL: strings.Join(urls, ","), Replicas: 3})
	check(t, b.Setup(ctx))
	s, err := b.js.Stream(ctx, runStream)
	check(t, err)
	if got := s.CachedInfo().Config.Replicas; got != 3 {
		t.Errorf("%d replicas", got)
	}
	// A process that does not say how many replicas leaves them.
	check(t, connect(t, Config{URL: urls[0]}).Setup(ctx))
	info, err := s.Info(ctx)
	check(t, err)
	if info.Config.Replicas != 3 {
		t.Errorf("%d replicas are left", info.Config.Replicas)
	}

	race := func(after uint64) uint64 {
		t.Helper()
		var wg sync.WaitGroup
		seqs, errs := make([]uint64, 10), make([]error, 10)
		for i := range errs {
			wg.Go(func() { seqs[i], errs[i] = b.AppendRun(ctx, "RUN1", after, submitted(fmt.Sprint(i))) })
		}
		wg.Wait()
		var won []uint64
		for i, err := range errs {
			if err == nil {
				won = append(won, seqs[i])
			} else {
				wantError(t, err, ErrConflict)
			}
		}
		if len(won) != 1 {
			t.Fatalf("%d appends won after sequence %d", len(won), after)
		}
		return won[0]
	}
	seq := race(0)
	seq = race(seq)
	revision := must[uint64](t)(b.MovePublished(ctx, &dispatchv1.Published{Version: 1}, 0))
	_, err = b.MovePublished(ctx, &dispatchv1.Published{Version: 2}, 0)
	wantError(t, err, ErrConflict)
	lease := must[*Lease](t)(b.Campaign(ctx, "a", 10*time.Second))
	source := must[*TaskSource](t)(b.Tasks(ctx, "default", TaskOptions{}))
	watched := must[<-chan LoggedEvents](t)(b.WatchRun(ctx, "RUN1", seq))

	leader := info.Cluster.Leader
	for _, s := range servers {
		if s.Name() == leader {
			s.Shutdown()
		}
	}
	seq = race(seq)
	if got := receive(t, ctx, watched); got.Seq != seq {
		t.Errorf("watched %d, want %d", got.Seq, seq)
	}
	if got := must[[]LoggedEvents](t)(b.ReadRun(ctx, "RUN1", 0)); len(got) != 3 {
		t.Errorf("log has %d messages", len(got))
	}
	must[uint64](t)(b.MovePublished(ctx, &dispatchv1.Published{Version: 2}, revision))
	check(t, b.Release(ctx, "default", task("RUN1", "t1", 1)))
	check(t, must[*Delivery](t)(source.Next(ctx)).Ack(ctx))
	select {
	case <-lease.Lost():
		t.Error("the lease was lost with a server")
	default:
	}
	check(t, lease.Resign(ctx))
}

// certificates writes an authority's certificate, and a certificate and key that it signed for 127.0.0.1.
func certificates(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		check(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return file
	}
	caKey := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	caDER := must[[]byte](t)(x509.CreateCertificate(rand.Reader, authority, authority, &caKey.PublicKey, caKey))
	ownKey := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	own := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, own, authority, &ownKey.PublicKey, caKey))
	keyDER := must[[]byte](t)(x509.MarshalECPrivateKey(ownKey))
	return write("ca.pem", "CERTIFICATE", caDER), write("cert.pem", "CERTIFICATE", der), write("key.pem", "EC PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	ca, cert, key := certificates(t)
	pair := must[tls.Certificate](t)(tls.LoadX509KeyPair(cert, key))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(must[[]byte](t)(os.ReadFile(ca)))
	s := run(t, &server.Options{
		TLSConfig:  &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
		TLSTimeout: 5,
	})
	where := strings.Replace(s.ClientURL(), "nats://", "tls://", 1)
	check(t, connect(t, Config{URL: where, TLSCA: ca, TLSCert: cert, TLSKey: key}).Setup(ctx))

	for name, c := range map[string]Config{
		"an unknown authority":     {URL: where},
		"no certificate":           {URL: where, TLSCA: ca},
		"a certificate and no key": {URL: where, TLSCA: ca, TLSCert: cert},
		"a file that is not there": {URL: where, TLSCA: ca + "x"},
	} {
		if _, err := Connect(ctx, c); err == nil || ctx.Err() != nil {
			t.Errorf("with %s: %v", name, err)
		}
	}
}
