package result

// Violates says whether the run violated safety, so that no number of it may be shown.
func (r *Result) Violates() bool {
	return r.Safety.Verdict == Violated || r.Safety.Linearizable == Violated
}

// Say gives the verdicts on a run as lines, a name and a sentence each; a nameless one belongs to the one before.
func (r *Result) Say(say func(name, format string, args ...any)) {
	s, p := &r.Safety, &r.Throughput
	if r.Violates() {
		say("SAFETY", "VIOLATED: of %s acknowledged writes %d lost, %d doubled, %d otherwise wrong; performance numbers are withheld", Count(float64(s.Acked)), s.Lost, s.Duplicated, s.Wrong)
		for _, d := range s.Details {
			say("", "%s", d)
		}
		return
	}
	if s.Verdict == OK {
		say("SAFETY", "ok: all %s acknowledged writes were read back from %d replicas: 0 lost, 0 doubled; %s of unknown outcome", Count(float64(s.Acked)), s.Replicas, Count(float64(s.Unknown)))
	} else {
		say("SAFETY", "%s", s.Verdict)
	}
	say("OPS", "%s acknowledged, %s failed, %s of unknown outcome", Count(float64(p.Ops)), Count(float64(p.Failed)), Count(float64(p.Unknown)))
	for _, slo := range r.SLOs {
		word := "met"
		if !slo.Met {
			word = "MISSED"
		}
		say("SLO", "%s: %s", word, slo.Text)
	}
	say("VALIDITY", "%s", r.Validity.Verdict)
	for _, reason := range r.Validity.Reasons {
		say("", "%s", reason)
	}
}
