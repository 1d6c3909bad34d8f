// Package deploy holds what runs Shoplake on other machines, and tests that hold it against the schemas of Kubernetes, KEDA and
// Compose and against the program itself. It is a module of its own, so that their libraries do not become the program's.
package deploy
