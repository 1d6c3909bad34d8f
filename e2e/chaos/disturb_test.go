//go:build unix

package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// disturbance is something done to a shop, when an event happens.
type disturbance struct {
	name string
	on   string // the event
	do   func()
}

func (d disturbance) String() string { return d.name + " on " + d.on }

// stageTables and stageStates make up the events that disturbances wait for.
var (
	stageTables = []string{"bronze.sales", "silver.sales", "gold.daily_sales"}
	stageStates = []string{"RUNNING", "CHECKING", "COMMITTING", "SUCCEEDED"}
)

// draw draws what happens during a run, and when.
func (s *shop) draw(rng *rand.Rand) []disturbance {
	var drawn []disturbance
	for range []int{0, 1, 1, 2, 3}[rng.IntN(5)] {
		d := s.drawOne(rng)
		switch rng.IntN(8) {
		case 0:
			d.on = "lead"
		case 1:
			d.on = "run/RUNNING"
		default:
			d.on = "stage/" + stageTables[rng.IntN(len(stageTables))] + "/" + stageStates[rng.IntN(len(stageStates))]
		}
		drawn = append(drawn, d)
	}
	return drawn
}

func (s *shop) drawOne(rng *rand.Rand) disturbance {
	long := time.Duration(500+rng.IntN(1500)) * time.Millisecond
	past := leaseTTL + time.Duration(500+rng.IntN(2000))*time.Millisecond
	worker := s.workers[rng.IntN(len(s.workers))]
	stall, resume := rng.IntN(2) == 0, rng.IntN(2) == 0
	all := s.possible(worker, long, past, stall, resume)
	return all[rng.IntN(len(all))]
}

// possible are all things that may be done to the shop; what lasts lasts long, or past a lease.
func (s *shop) possible(worker *member, long, past time.Duration, stall, resume bool) []disturbance {
	cut := func(m *member, d time.Duration) {
		m.proxy.cut(stall)
		s.pause(d)
		m.proxy.heal(resume)
	}
	how := map[bool]string{true: "stalled", false: "cut off"}[stall]
	leader := func() *member { m, _ := s.roles(); return m }
	standby := func() *member { _, m := s.roles(); return m }
	all := []disturbance{
		{name: "a worker is killed", do: worker.kill},
		{name: "a worker freezes", do: func() { worker.freeze(ackWait+long, false) }},
		{name: "a worker is " + how, do: func() { cut(worker, ackWait+long) }},
		{name: "the coordinator is killed", do: func() { leader().kill() }},
		{name: "the coordinator freezes", do: func() { leader().freeze(past, false) }},
		{name: "the coordinator is " + how + " for a moment", do: func() { cut(leader(), long) }},
		{name: "the coordinator is " + how + " for long", do: func() { cut(leader(), past) }},
		{name: "the other control plane is killed", do: func() { standby().kill() }},
		{name: "the other control plane is " + how, do: func() { cut(standby(), past) }},
		{name: "all control planes are killed", do: func() {
			for _, m := range s.controls {
				m.kill()
			}
		}},
		{name: "all workers are killed", do: func() {
			for _, m := range s.workers {
				m.kill()
			}
		}},
		{name: "NATS is killed", do: s.nats.kill},
		{name: "NATS freezes", do: func() { s.nats.freeze(long, false) }},
		{name: "NATS freezes for long", do: func() { s.nats.freeze(past, false) }},
		{name: "everything is killed", do: func() {
			for _, m := range s.members() {
				m.kill()
			}
		}},
	}
	if s.ownDisk {
		full := disturbance{name: "the disk is full", do: func() { s.fillDisk(2 * long) }}
		all = append(all, full, full)
	}
	return all
}

// kinds are the names of all things that may be done to a shop.
func kinds(ownDisk bool) []string {
	s := &shop{ownDisk: ownDisk}
	var names []string
	for _, stall := range []bool{true, false} {
		for _, d := range s.possible(nil, 0, 0, stall, false) {
			names = append(names, d.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// fillDisk takes all room of the shop's disk for a while.
func (s *shop) fillDisk(d time.Duration) {
	s.mu.Lock()
	busy := s.diskFull
	s.diskFull, s.mayFail = true, true
	s.mu.Unlock()
	if busy {
		return
	}
	free, err := fill(s.dir)
	if err != nil {
		s.problem("fill the disk: %v", err)
		return
	}
	s.pause(d)
	if err := free(); err != nil {
		s.problem("give the disk's room back: %v", err)
	}
	s.note("the disk has room again")
	s.mu.Lock()
	s.diskFull = false
	s.mu.Unlock()
}

// arm lets a disturbance happen at its event, unless ended is closed before.
func (s *shop) arm(d disturbance, ended <-chan struct{}) {
	next := s.next(d.on)
	s.under.Go(func() {
		select {
		case <-next:
		case <-ended:
			return
		case <-s.ctx.Done():
			return
		}
		s.note("%v", d)
		s.tally.count(func(c *tally) { c.disturbances[d.name]++ })
		s.disturbing.Add(1)
		defer s.disturbing.Done()
		d.do()
	})
}

// drawShots gives what a seed arms: three of all kills and freezes, in turn, and now and then an error or a full disk.
func drawShots(seed uint64, rng *rand.Rand, ownDisk bool) (armed []shot, texts []string, mayFail bool) {
	all := shots()
	points := map[string]bool{}
	add := func(sh shot, passages string) {
		if points[sh.point] {
			return
		}
		points[sh.point] = true
		armed = append(armed, sh)
		texts = append(texts, sh.String()+passages)
	}
	blocks := blocksOf(all)
	for _, sh := range blocks[seed%uint64(len(blocks))] {
		// The first passage is what each run has; later ones are drawn where a point is passed often.
		n := 1
		if often[pointStep(sh.point)] {
			n = 1 + rng.IntN(6)
		}
		add(sh, fmt.Sprintf("@%d", n))
	}
	for _, sh := range armed {
		if pointStep(sh.point) == "report.failed" {
			mayFail = true
			add(shot{"write.parquet.before", fail}, "@1")
		}
	}
	if rng.IntN(5) < 2 {
		mayFail = true
		action := []string{fail, noSpace}[rng.IntN(2)]
		n := 1 + rng.IntN(4)
		add(shot{all[rng.IntN(len(all))].point, action}, fmt.Sprintf("@%d-%d", n, n+rng.IntN(4)))
	}
	if !ownDisk {
		mayFail = true
		add(shot{"write.object.before", noSpace}, "@4-12")
		add(shot{"write.parquet.before", noSpace}, "@3-5")
	}
	return armed, texts, mayFail
}
