package main

import (
	"slices"

	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// node is a stage's place in the drawing. Each stage stands once: below the stage that it depends on and that comes last, which is
// the one it mostly waits for. The others it reads from are named beside it.
type node struct {
	stage *shoplakev1.Stage
	// trunk is drawn before the stage, below before further lines that belong to it.
	trunk, below string
	also         []string
}

// treeOf lays a run's stages out, each after the one that it stands below.
func treeOf(stages []*shoplakev1.Stage) []node {
	depth := map[string]int{}
	children := map[string][]*shoplakev1.Stage{}
	also := map[string][]string{}
	for _, s := range stages { // in the order of dependencies, so that the depth of those that come first is known
		parent := ""
		for _, d := range s.GetDependsOn() {
			if depth[d] > 0 && (parent == "" || depth[d] >= depth[parent]) {
				parent = d
			}
		}
		depth[s.GetTable()] = depth[parent] + 1
		children[parent] = append(children[parent], s)
		for _, d := range s.GetDependsOn() {
			if d != parent {
				also[s.GetTable()] = append(also[s.GetTable()], d)
			}
		}
	}
	nodes := make([]node, 0, len(stages))
	var walk func(parent, indent string)
	walk = func(parent, indent string) {
		for i, s := range children[parent] {
			n := node{stage: s, trunk: indent, below: indent, also: slices.Sorted(slices.Values(also[s.GetTable()]))}
			inner := ""
			if parent != "" {
				n.trunk, inner = indent+"├─ ", indent+"│  "
				if i == len(children[parent])-1 {
					n.trunk, inner = indent+"└─ ", indent+"   "
				}
			}
			n.below = inner + "   "
			if len(children[s.GetTable()]) > 0 {
				n.below = inner + "│  "
			}
			nodes = append(nodes, n)
			walk(s.GetTable(), inner)
		}
	}
	walk("", "")
	return nodes
}
