package pipeline

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Work says how the tasks of a table are done. It changes no row, so that it is not part of a fingerprint.
type Work struct {
	// Pool is the pool of workers that does them; the control plane's where empty.
	Pool string
	// Slots is how many slots of a worker a task takes, with the memory and the processors of as many; 1 at least.
	Slots int
	// Attempts is how often a task is tried before its stage fails.
	Attempts int
	// Timeout bounds an attempt, StageTimeout all tasks of a stage together, the waiting for workers included; 0 is no bound.
	Timeout, StageTimeout time.Duration
}

// DefaultWork is how tasks are done where the pipeline says nothing.
var DefaultWork = Work{Slots: 1, Attempts: 3}

const (
	maxSlots    = 1024
	maxAttempts = 100
)

// workKeys are the keys of tasks in pipeline.yaml, and the words of the header line tasks.
var workKeys = []string{"pool", "slots", "attempts", "timeout", "stage_timeout"}

// set gives one of the keys its value, and says what is wrong with it.
func (w *Work) set(key, value string) (fault string) {
	switch key {
	case "pool":
		if !namePattern.MatchString(value) {
			return shorten(value) + " is no name of a pool: use " + nameRule
		}
		w.Pool = value
	case "slots":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxSlots {
			return "slots is a number from 1 to " + strconv.Itoa(maxSlots) + ", not " + shorten(value)
		}
		w.Slots = n
	case "attempts":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxAttempts {
			return "attempts is a number from 1 to " + strconv.Itoa(maxAttempts) + ", not " + shorten(value)
		}
		w.Attempts = n
	case "timeout", "stage_timeout":
		d, err := time.ParseDuration(value)
		if err != nil || d < time.Second {
			return key + " is a time of 1s at least, for example 30m or 2h, not " + shorten(value)
		}
		if key == "timeout" {
			w.Timeout = d
		} else {
			w.StageTimeout = d
		}
	default:
		return "unknown key " + shorten(key) + ": known are " + strings.Join(workKeys, ", ")
	}
	return ""
}

// work reads the tasks of pipeline.yaml: what holds for all tables.
func (r *mappingReader) work(root map[string]any) Work {
	w := DefaultWork
	value, there := root["tasks"]
	if !there {
		return w
	}
	mapping, ok := value.(map[string]any)
	if !ok {
		r.fault([]string{"tasks"}, "tasks must map %s to values", strings.Join(workKeys, ", "))
		return w
	}
	r.known(mapping, workKeys, "tasks")
	for _, key := range workKeys {
		value, there := mapping[key]
		if !there {
			continue
		}
		text, ok := value.(string)
		if n, isInt := value.(int); isInt {
			text, ok = strconv.Itoa(n), true
		}
		if !ok {
			r.fault([]string{"tasks", key}, "%s must be a word or a number", key)
			continue
		}
		if fault := w.set(key, text); fault != "" {
			r.fault([]string{"tasks", key}, "%s", fault)
		}
	}
	return w
}

var workWord = regexp.MustCompile(`^(\w+)\s+(\S+)$`)

// workOverrides are what a header line says of a model's tasks, by key: `-- tasks: pool large, slots 2, timeout 30m`.
func workOverrides(reader *headerReader, line *headerLine) map[string]string {
	set := map[string]string{}
	for part := range strings.SplitSeq(line.value, ",") {
		match := workWord.FindStringSubmatch(strings.TrimSpace(part))
		if match == nil {
			reader.faultValue(line, "tasks is a list such as `pool large, slots 2, timeout 30m`, not %s", shorten(line.value))
			return nil
		}
		key, value := strings.ToLower(match[1]), match[2]
		var w Work
		if fault := w.set(key, value); fault != "" {
			reader.faultValue(line, "%s", fault)
			continue
		}
		set[key] = value
	}
	return set
}

// Work says how the tasks of a table are done.
func (p *Pipeline) Work(table string) Work {
	w := p.Tasks
	if w.Attempts == 0 {
		w = DefaultWork
	}
	if model := p.Model(table); model != nil {
		for _, key := range workKeys {
			if value, there := model.Tasks[key]; there {
				_ = w.set(key, value) // it was checked when it was read
			}
		}
	}
	return w
}

// Pools are the pools that the pipeline names, sorted.
func (p *Pipeline) Pools() []string {
	var pools []string
	for _, table := range p.Tables() {
		if pool := p.Work(table).Pool; pool != "" && !slices.Contains(pools, pool) {
			pools = append(pools, pool)
		}
	}
	slices.Sort(pools)
	return pools
}
