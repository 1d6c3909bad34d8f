package runs

import (
	"time"

	dispatchv1 "github.com/shoplake/shoplake/gen/shoplake/dispatch/v1"
	shoplakev1 "github.com/shoplake/shoplake/gen/shoplake/v1"
)

// suspend lets another run go first. Stages that have begun and not been announced are planned again afterwards.
func (s *State) suspend(k *dispatchv1.RunSuspended) {
	reason := "run " + k.GetBy() + " went first"
	s.Suspended, s.Notices = true, append(s.Notices, reason)
	for _, st := range s.Stages {
		if st.State == shoplakev1.StageState_STAGE_STATE_RUNNING || st.State == shoplakev1.StageState_STAGE_STATE_CHECKING {
			st.reset(reason)
			st.Started = time.Time{} // its timeout does not count what others take
		}
	}
}

// resume lets a run go on from what the tables are by now: those that it wrote may have moved.
func (s *State) resume(k *dispatchv1.RunResumed) {
	s.Suspended, s.Pinned = false, k.GetPinned()
	for _, st := range s.Stages {
		st.Settled = st.Terminal()
	}
}
