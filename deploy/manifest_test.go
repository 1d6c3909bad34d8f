package deploy

import (
	"fmt"
	"slices"
	"testing"

	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlays are the folders that people apply.
var overlays = []string{"base", "keda", "keda-nats"}

// cluster is what a folder makes, by kind and name.
type cluster map[string]metav1.Object

// kinds are what the manifests may hold; another kind needs its type here, else it would go unchecked.
var kinds = map[string]func() metav1.Object{
	"v1 Namespace":                       func() metav1.Object { return &corev1.Namespace{} },
	"v1 ConfigMap":                       func() metav1.Object { return &corev1.ConfigMap{} },
	"v1 Service":                         func() metav1.Object { return &corev1.Service{} },
	"v1 PersistentVolumeClaim":           func() metav1.Object { return &corev1.PersistentVolumeClaim{} },
	"apps/v1 StatefulSet":                func() metav1.Object { return &appsv1.StatefulSet{} },
	"apps/v1 Deployment":                 func() metav1.Object { return &appsv1.Deployment{} },
	"policy/v1 PodDisruptionBudget":      func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1 NetworkPolicy": func() metav1.Object { return &networkingv1.NetworkPolicy{} },
	"keda.sh/v1alpha1 ScaledObject":      func() metav1.Object { return &kedav1alpha1.ScaledObject{} },
}

// built is what `kubectl apply -k` would send: fields that the API does not have fail the test.
func built(t *testing.T, overlay string) cluster {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "kubernetes/"+overlay)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{}
	for _, r := range made.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		gvk := r.GetGvk()
		what := gvk.ApiVersion() + " " + gvk.Kind
		object, known := kinds[what]
		if !known {
			t.Errorf("%s: nothing checks a %s", r.GetName(), what)
			continue
		}
		o := object()
		text, err = yaml.YAMLToJSONStrict(text)
		if err != nil {
			t.Fatal(err)
		}
		// As the API server decodes: the case of a field's name counts.
		if strict, err := json.UnmarshalStrict(text, o); err != nil || len(strict) > 0 {
			t.Errorf("%s %s: %v", what, r.GetName(), append(strict, err))
			continue
		}
		if o.GetNamespace() != "shoplake" && gvk.Kind != "Namespace" {
			t.Errorf("%s %s is in the namespace %q", what, o.GetName(), o.GetNamespace())
		}
		c[gvk.Kind+"/"+o.GetName()] = o
	}
	return c
}

// pods are the templates of the workloads, by the workload's name.
func (c cluster) pods() map[string]corev1.PodTemplateSpec {
	all := map[string]corev1.PodTemplateSpec{}
	for _, o := range c {
		switch w := o.(type) {
		case *appsv1.StatefulSet:
			all[w.Name] = w.Spec.Template
		case *appsv1.Deployment:
			all[w.Name] = w.Spec.Template
		}
	}
	return all
}

// selected are the workloads whose pods a selector takes.
func (c cluster) selected(t *testing.T, selector *metav1.LabelSelector) []string {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, pod := range c.pods() {
		if s.Matches(labels.Set(pod.Labels)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// portOf finds a container's port by number or name.
func portOf(pod corev1.PodTemplateSpec, port string) bool {
	for _, container := range pod.Spec.Containers {
		for _, p := range container.Ports {
			if p.Name == port || fmt.Sprint(p.ContainerPort) == port {
				return true
			}
		}
	}
	return false
}

func TestManifestsFitTogether(t *testing.T) {
	t.Parallel()
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			c := built(t, overlay)
			if len(c.pods()) != 3 {
				t.Errorf("there are the workloads %v, not NATS, control plane and workers", c.pods())
			}
			for name, o := range c {
				switch o := o.(type) {
				case *corev1.Service:
					c.checkService(t, o)
				case *policyv1.PodDisruptionBudget:
					if got := c.selected(t, o.Spec.Selector); !slices.Equal(got, []string{o.Name}) {
						t.Errorf("%s protects %v", name, got)
					}
				case *networkingv1.NetworkPolicy:
					c.checkPolicy(t, o)
				case *appsv1.StatefulSet:
					if _, there := c["Service/"+o.Spec.ServiceName]; !there {
						t.Errorf("%s: there is no service %s", name, o.Spec.ServiceName)
					}
					if got := c.selected(t, o.Spec.Selector); !slices.Equal(got, []string{o.Name}) {
						t.Errorf("%s selects %v", name, got)
					}
				case *appsv1.Deployment:
					if got := c.selected(t, o.Spec.Selector); !slices.Equal(got, []string{o.Name}) {
						t.Errorf("%s selects %v", name, got)
					}
					if scaled := overlay != "base"; scaled != (o.Spec.Replicas == nil) {
						t.Errorf("%s: replicas are %v: KEDA's to say, or else the manifest's", name, o.Spec.Replicas)
					}
				}
			}
			for name, pod := range c.pods() {
				c.checkPod(t, name, pod)
			}
		})
	}
}

func (c cluster) checkService(t *testing.T, s *corev1.Service) {
	t.Helper()
	pods := c.selected(t, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
	if len(pods) != 1 {
		t.Errorf("service %s goes to %v", s.Name, pods)
		return
	}
	for _, p := range s.Spec.Ports {
		if !portOf(c.pods()[pods[0]], p.TargetPort.String()) {
			t.Errorf("service %s: %s has no port %s", s.Name, pods[0], p.TargetPort.String())
		}
	}
}

func (c cluster) checkPolicy(t *testing.T, p *networkingv1.NetworkPolicy) {
	t.Helper()
	pods := c.selected(t, &p.Spec.PodSelector)
	if len(pods) == 0 {
		t.Errorf("network policy %s is about nobody", p.Name)
	}
	for _, rule := range p.Spec.Ingress {
		for _, port := range rule.Ports {
			for _, pod := range pods {
				if !portOf(c.pods()[pod], port.Port.String()) {
					t.Errorf("network policy %s: %s has no port %s", p.Name, pod, port.Port)
				}
			}
		}
	}
}

// checkPod holds a pod against what it mounts, what its probes ask and what the namespace demands.
func (c cluster) checkPod(t *testing.T, name string, pod corev1.PodTemplateSpec) {
	t.Helper()
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.PersistentVolumeClaim != nil && c["PersistentVolumeClaim/"+v.PersistentVolumeClaim.ClaimName] == nil {
			t.Errorf("%s: there is no claim %s", name, v.PersistentVolumeClaim.ClaimName)
		}
		if v.ConfigMap != nil && c["ConfigMap/"+v.ConfigMap.Name] == nil {
			t.Errorf("%s: there is no config map %s", name, v.ConfigMap.Name)
		}
	}
	if s, ok := c["StatefulSet/"+name].(*appsv1.StatefulSet); ok {
		for _, v := range s.Spec.VolumeClaimTemplates {
			volumes[v.Name] = true
		}
	}
	s := pod.Spec.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: its pods do not meet the namespace's security standard: %+v", name, s)
	}
	if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
		t.Errorf("%s: the environment of services would be read as settings: set enableServiceLinks to false", name)
	}
	for _, container := range pod.Spec.Containers {
		for _, m := range container.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s: there is no volume %s", name, m.Name)
			}
		}
		for what, probe := range map[string]*corev1.Probe{"startup": container.StartupProbe, "readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
			switch {
			case probe == nil:
				t.Errorf("%s has no %s probe", name, what)
			case probe.HTTPGet != nil && !portOf(pod, probe.HTTPGet.Port.String()):
				t.Errorf("%s: the %s probe asks port %s, which is not there", name, what, probe.HTTPGet.Port.String())
			case probe.GRPC != nil && !portOf(pod, fmt.Sprint(probe.GRPC.Port)):
				t.Errorf("%s: the %s probe asks port %d, which is not there", name, what, probe.GRPC.Port)
			}
		}
		own := container.SecurityContext
		if own == nil || own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation || own.Capabilities == nil || !slices.Contains(own.Capabilities.Drop, "ALL") {
			t.Errorf("%s: its container may become more than it is: %+v", name, own)
		}
		if request, limit := container.Resources.Requests.Memory(), container.Resources.Limits.Memory(); limit.IsZero() || request.Cmp(*limit) != 0 {
			t.Errorf("%s: it asks for %s of memory and may have %s", name, request, limit)
		}
	}
	if port := pod.Annotations["prometheus.io/port"]; port != "" && !portOf(pod, port) {
		t.Errorf("%s: Prometheus would ask port %s", name, port)
	}
}
