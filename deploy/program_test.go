package deploy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/docker/go-units"
	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

var programDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "shoplake-deploy-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a folder for the program:", err)
		os.Exit(1)
	}
	programDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// program is the path of the program, built once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(programDir, "shoplake")
	build := exec.Command("go", "build", "-o", path, "./cmd/shoplake")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w: %s", err, out)
	}
	return path, nil
})

func programPath(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// flagsOf are the flags that a verb's help names.
func flagsOf(t *testing.T, verb string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), programPath(t), verb, "--help").Output()
	if err != nil {
		t.Fatalf("shoplake %s --help: %v", verb, err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?(--[a-z-]+)`).FindAllStringSubmatch(string(out), -1) {
		names = append(names, m[1])
	}
	return names
}

// settings are a command's flags with their values; those that the program does not know fail the test.
func settings(t *testing.T, what string, args []string) map[string]string {
	t.Helper()
	known, set := flagsOf(t, args[0]), map[string]string{}
	for _, a := range args[1:] {
		name, value, _ := strings.Cut(a, "=")
		if !slices.Contains(known, name) {
			t.Errorf("%s: `shoplake %s` has no %s", what, args[0], name)
		}
		set[name] = value
	}
	return set
}

// commands are the containers that run the program.
func (c cluster) commands(t *testing.T) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for name, pod := range c.pods() {
		if container := pod.Spec.Containers[0]; strings.Contains(container.Image, "/shoplake:") {
			all[name] = settings(t, name, container.Args)
			c.checkPaths(t, name, pod, all[name])
		}
	}
	return all
}

// checkPaths wants a volume behind each folder and file that a pod is told to use, and its ports where it listens.
func (c cluster) checkPaths(t *testing.T, name string, pod corev1.PodTemplateSpec, set map[string]string) {
	t.Helper()
	for _, flag := range []string{"--data-dir", "--scratch-dir", "--nats-credentials", "--nats-ca"} {
		mounted := slices.ContainsFunc(pod.Spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool {
			return set[flag] == m.MountPath || strings.HasPrefix(set[flag], m.MountPath+"/")
		})
		if !mounted {
			t.Errorf("%s: no volume is mounted for %s=%s", name, flag, set[flag])
		}
	}
	if _, port, err := net.SplitHostPort(set["--listen"]); err != nil || !portOf(pod, port) {
		t.Errorf("%s listens at %s, which is none of its ports", name, set["--listen"])
	}
	nats, _ := c["StatefulSet/nats"].(*appsv1.StatefulSet)
	var want []string
	for i := range *nats.Spec.Replicas {
		want = append(want, fmt.Sprintf("tls://nats-%d.%s.%s.svc:4222", i, nats.Spec.ServiceName, nats.Namespace))
	}
	if got := set["--nats"]; got != strings.Join(want, ",") {
		t.Errorf("%s asks NATS at %s, which is at %s", name, got, strings.Join(want, ","))
	}
}

func bytesOf(t *testing.T, size string) int64 {
	t.Helper()
	n, err := units.RAMInBytes(size)
	if err != nil {
		t.Fatalf("%q is no size: %v", size, err)
	}
	return n
}

func TestArgumentsAreTheProgramsAndFitTheirPods(t *testing.T) {
	t.Parallel()
	c := built(t, "base")
	commands, pods := c.commands(t), c.pods()
	control, work := commands["shoplake-controlplane"], commands["shoplake-worker"]
	if control == nil || work == nil || len(commands) != 2 {
		t.Fatalf("the program runs as %v", commands)
	}
	if control["--data-dir"] != work["--data-dir"] {
		t.Errorf("the control plane's folder is %s, the workers' %s: tables name their files by absolute paths", control["--data-dir"], work["--data-dir"])
	}
	deployment := c["Deployment/shoplake-worker"].(*appsv1.Deployment)
	if pool := deployment.Labels["shoplake.dev/pool"]; work["--pool"] != pool {
		t.Errorf("the workers are of the pool %s, their label says %s", work["--pool"], pool)
	}
	drain, err := time.ParseDuration(work["--drain"])
	if err != nil {
		t.Fatal(err)
	}
	if grace := pods["shoplake-worker"].Spec.TerminationGracePeriodSeconds; grace == nil || time.Duration(*grace)*time.Second < drain+15*time.Second {
		t.Errorf("workers are killed before they can end tasks for %v and hand back the others", drain)
	}
	for name, flag := range map[string]string{"shoplake-worker": "--worker-memory", "shoplake-controlplane": "--query-memory"} {
		limit := pods[name].Spec.Containers[0].Resources.Limits.Memory().Value()
		if own := bytesOf(t, commands[name][flag]); own > limit*55/100 {
			t.Errorf("%s: %s of %d leaves too little of %d bytes for what is no query", name, flag, own, limit)
		}
	}
	// The catalog is a SQLite file: more control planes than one stand on one machine, or not at all.
	plane := c["StatefulSet/shoplake-controlplane"].(*appsv1.StatefulSet)
	terms := plane.Spec.Template.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if len(terms) != 1 || terms[0].TopologyKey != corev1.LabelHostname || !slices.Equal(c.selected(t, terms[0].LabelSelector), []string{plane.Name}) {
		t.Errorf("nothing keeps control planes on one machine: %v", terms)
	}
	claim := c["PersistentVolumeClaim/shoplake-data"].(*corev1.PersistentVolumeClaim)
	if !slices.Equal(claim.Spec.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}) {
		t.Errorf("the lake's volume is %v", claim.Spec.AccessModes)
	}
}

func TestSecretsAreExplained(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, pod := range built(t, "base").pods() {
		secrets := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			if v.Secret != nil {
				secrets[v.Secret.SecretName] = true
			}
		}
		for _, e := range pod.Spec.Containers[0].Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				secrets[e.ValueFrom.SecretKeyRef.Name] = true
			}
		}
		for secret := range secrets {
			if !strings.Contains(string(readme), "create secret generic "+secret+" ") {
				t.Errorf("%s needs the secret %s, and README.md does not say how to make it", name, secret)
			}
		}
	}
}

// metrics are what a control plane of no workers and no runs tells, as /metrics has it.
func metrics(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.CommandContext(ctx, programPath(t), "controlplane", "--data-dir", t.TempDir(), "--listen", address, "--nats-port", "-1", "--query-memory", "256MiB")
	var said strings.Builder
	cmd.Stderr, cmd.WaitDelay = &said, time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			text, err := io.ReadAll(response.Body)
			response.Body.Close()
			// It serves before it coordinates.
			if err == nil && strings.Contains(string(text), "shoplake_tasks_waiting{") {
				return string(text)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the control plane tells nothing of tasks:\n%s", said.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func TestAutoscalersAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	told := metrics(t)
	for _, overlay := range overlays[1:] {
		c := built(t, overlay)
		scaled, ok := c["ScaledObject/shoplake-worker"].(*kedav1alpha1.ScaledObject)
		if !ok {
			t.Errorf("%s scales nothing", overlay)
			continue
		}
		if c["Deployment/"+scaled.Spec.ScaleTargetRef.Name] == nil {
			t.Errorf("%s scales %s, which is not there", overlay, scaled.Spec.ScaleTargetRef.Name)
		}
		if n := scaled.Spec.MinReplicaCount; n == nil || *n != 0 {
			t.Errorf("%s does not scale to zero: %v", overlay, n)
		}
		for _, err := range []error{kedav1alpha1.CheckFallbackValid(scaled), kedav1alpha1.ValidateTriggers(scaled.Spec.Triggers)} {
			if err != nil {
				t.Errorf("%s: %v", overlay, err)
			}
		}
		for _, trigger := range scaled.Spec.Triggers {
			checkTrigger(t, trigger, told, c)
		}
	}
}

func checkTrigger(t *testing.T, trigger kedav1alpha1.ScaleTriggers, told string, c cluster) {
	t.Helper()
	known := knownMetadata(t, trigger.Type)
	for key := range trigger.Metadata {
		if !slices.Contains(known, key) {
			t.Errorf("KEDA's scaler %s knows %v, not %s", trigger.Type, known, key)
		}
	}
	switch trigger.Type {
	case "prometheus":
		asked := regexp.MustCompile(`(shoplake_\w+)\{(.*?)\}`).FindAllStringSubmatch(trigger.Metadata["query"], -1)
		if len(asked) == 0 {
			t.Errorf("the query %q asks for nothing of ours", trigger.Metadata["query"])
		}
		for _, a := range asked {
			// With no worker there, zero must be told, not nothing: else the workers never go, or never come.
			if !regexp.MustCompile(`(?m)^` + a[1] + `\{[^}]*` + regexp.QuoteMeta(a[2]) + `[^}]*\} 0$`).MatchString(told) {
				t.Errorf("a control plane at rest does not tell that %s is 0", a[0])
			}
		}
	case "nats-jetstream":
		source, err := os.ReadFile("../internal/bus/setup.go")
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`taskStream\s+= "` + trigger.Metadata["stream"] + `"`).Match(source) {
			t.Errorf("tasks are in no stream %s", trigger.Metadata["stream"])
		}
		if pool := c["Deployment/shoplake-worker"].GetLabels()["shoplake.dev/pool"]; trigger.Metadata["consumer"] != "pool-"+pool {
			t.Errorf("the pool %s has no consumer %s", pool, trigger.Metadata["consumer"])
		}
		host, port, err := net.SplitHostPort(trigger.Metadata["natsServerMonitoringEndpoint"])
		if err != nil || host != "nats.shoplake.svc" || !portOf(c.pods()["nats"], port) {
			t.Errorf("NATS is not monitored at %s", trigger.Metadata["natsServerMonitoringEndpoint"])
		}
	default:
		t.Errorf("nothing checks the scaler %s", trigger.Type)
	}
}

// kedaFile is a file of KEDA's own repository, of the version that go.mod names.
func kedaFile(t *testing.T, path ...string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(append([]string{strings.TrimSpace(string(out))}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// knownMetadata are the keys that a scaler of KEDA reads, from its source: its schema leaves them open.
func knownMetadata(t *testing.T, scaler string) []string {
	t.Helper()
	source := kedaFile(t, "pkg", "scalers", strings.ReplaceAll(scaler, "-", "_")+"_scaler.go")
	var keys []string
	for _, m := range regexp.MustCompile(`keda:"name=(\w+)[^"]*triggerMetadata`).FindAllStringSubmatch(string(source), -1) {
		keys = append(keys, m[1])
	}
	return keys
}

// TestScaledObjectsMeetTheirSchema holds values, as those of enumerations, against the schema that KEDA gives the cluster.
func TestScaledObjectsMeetTheirSchema(t *testing.T) {
	t.Parallel()
	var definition struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct{ OpenAPIV3Schema any }
			}
		}
	}
	if err := yaml.Unmarshal(kedaFile(t, "config", "crd", "bases", "keda.sh_scaledobjects.yaml"), &definition); err != nil {
		t.Fatal(err)
	}
	if v := definition.Spec.Versions; len(v) != 1 || v[0].Name != "v1alpha1" {
		t.Fatalf("KEDA has the versions %v", v)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("scaledobject.json", definition.Spec.Versions[0].Schema.OpenAPIV3Schema); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("scaledobject.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, overlay := range overlays[1:] {
		text, err := os.ReadFile(filepath.Join("kubernetes", overlay, "scaledobject.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var object any
		if err := yaml.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(object); err != nil {
			t.Errorf("%s: %v", overlay, err)
		}
	}
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	options, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithName("shoplake"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context()) // holds it against the schema of Compose
	if err != nil {
		t.Fatal(err)
	}
	own := project.Services["shoplake"]
	set := settings(t, "shoplake", own.Command)
	drain, err := time.ParseDuration(set["--drain"])
	if err != nil {
		t.Fatal(err)
	}
	if own.StopGracePeriod == nil || time.Duration(*own.StopGracePeriod) < drain+10*time.Second {
		t.Errorf("the process is killed after %v, while its workers end tasks for %v", own.StopGracePeriod, drain)
	}
	for name, service := range project.Services {
		for _, p := range service.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: other machines reach port %s", name, p.Published)
			}
		}
	}
	prometheus, err := os.ReadFile("compose/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	if _, port, _ := net.SplitHostPort(set["--listen"]); !strings.Contains(string(prometheus), "shoplake:"+port) {
		t.Errorf("Prometheus does not ask port %s of shoplake", port)
	}
}
