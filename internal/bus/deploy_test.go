package bus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// The servers that deploy/kubernetes describes serve control planes and workers, and let workers do what those of the embedded server may.
func TestDeployedServers(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	ca, cert, key := certificates(t)
	text := string(must[[]byte](t)(os.ReadFile(filepath.FromSlash("../../deploy/kubernetes/base/nats.conf"))))
	for old, here := range map[string]string{
		"$POD_NAME": "nats-0", "$COORDINATOR_PASSWORD": "p1e9c", "$WORKER_PASSWORD": "p2e9w",
		"/etc/nats/tls/tls.crt": cert, "/etc/nats/tls/tls.key": key, "/etc/nats/tls/ca.crt": ca,
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("nats.conf does not say %s", old)
		}
		text = strings.ReplaceAll(text, old, here)
	}
	file := filepath.Join(t.TempDir(), "nats.conf")
	check(t, os.WriteFile(file, []byte(text), 0o600))
	o := must[*server.Options](t)(server.ProcessConfigFile(file))
	if len(o.Routes) != 3 || !o.JetStream || o.Cluster.TLSConfig == nil {
		t.Errorf("no cluster of three with JetStream and TLS: routes %v", o.Routes)
	}

	var got *server.Permissions
	for _, u := range o.Users {
		if u.Username == "worker" {
			got = u.Permissions
		} else if u.Permissions != nil {
			t.Errorf("the user %s may do only %v", u.Username, u.Permissions)
		}
	}
	if got == nil {
		t.Fatal("a worker may do everything")
	}
	want := workerPermissions()
	for what, lists := range map[string][2][]string{
		"publish": {got.Publish.Allow, want.Publish.Allow}, "subscribe": {got.Subscribe.Allow, want.Subscribe.Allow},
	} {
		slices.Sort(lists[0])
		slices.Sort(lists[1])
		if !slices.Equal(lists[0], lists[1]) {
			t.Errorf("deploy/kubernetes/base/nats.conf lets a worker %s\n%s\nit needs\n%s", what, strings.Join(lists[0], "\n"), strings.Join(lists[1], "\n"))
		}
	}

	// One of them alone: without the other two there would be no majority.
	o.Routes, o.Cluster, o.HTTPPort, o.Port, o.PidFile = nil, server.ClusterOpts{}, 0, -1, ""
	where := strings.Replace(run(t, o).ClientURL(), "nats://", "tls://", 1)
	login := func(user, password string) Config {
		file := filepath.Join(t.TempDir(), user+".json")
		check(t, os.WriteFile(file, fmt.Appendf(nil, `{"user":%q,"password":%q}`, user, password), 0o600))
		return Config{URL: where, CredentialsFile: file, TLSCA: ca}
	}
	control := connect(t, login("coordinator", "p1e9c"))
	check(t, control.Setup(ctx))
	check(t, control.Release(ctx, "default", task("RUN1", "t1", 1)))
	worker := connect(t, login("worker", "p2e9w"))
	check(t, must[*Delivery](t)(must[*TaskSource](t)(worker.Tasks(ctx, "default", TaskOptions{})).Next(ctx)).Ack(ctx))
	if err := worker.Release(ctx, "default", task("RUN1", "t2", 1)); !errors.Is(err, ErrNotPermitted) {
		t.Errorf("a worker released a task: %v", err)
	}

	// The image is of the version that the tests run with.
	manifest := must[[]byte](t)(os.ReadFile(filepath.FromSlash("../../deploy/kubernetes/base/nats.yaml")))
	if image := regexp.MustCompile(`image: nats:([\d.]+)-`).FindSubmatch(manifest); image == nil || string(image[1]) != server.VERSION {
		t.Errorf("the image is %s, the server that the tests run is %s", image, server.VERSION)
	}
}
